/* For tests that read a configuration: files in an empty folder of their own, so that places
 * read as people type them. Included once, by the test's one source file. */
#ifndef CONFIG_KIT_H
#define CONFIG_KIT_H

#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVICE "plugin = echo\nlisten = tcp://127.0.0.1:0\n"

static char folder[] = "/tmp/enchufe-config-XXXXXX";

/* What reading one file left behind. */
struct read {
    struct config *config;
    struct report report;
    char *printed;
};

static inline void write_bytes(const char *file, const void *bytes, size_t len)
{
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static inline void write_file(const char *file, const char *text)
{
    write_bytes(file, text, strlen(text));
}

static inline struct read read_file(const char *file)
{
    struct read read = { 0 };
    size_t size;

    read.config = config_read(file, NULL, &read.report);
    FILE *out = open_memstream(&read.printed, &size);
    report_print(&read.report, out);
    fclose(out);
    return read;
}

static inline struct read read_text(const char *text)
{
    write_file("e.ini", text);
    return read_file("e.ini");
}

static inline void done(struct read *read)
{
    config_free(read->config);
    report_free(&read->report);
    free(read->printed);
}

static inline void assert_errors(const char *text, const char *errors)
{
    struct read read = read_text(text);

    assert_string_equal(read.printed, errors);
    done(&read);
}

static int enter_folder(void **state)
{
    (void)state;
    return !mkdtemp(folder) || chdir(folder);
}

static int leave_folder(void **state)
{
    static const char *const files[] = { "e.ini",
                                         "conf/e.ini",
                                         "conf/[x]/e.ini",
                                         "conf/[x]/services/a.ini",
                                         "conf/[x]/services/b.ini",
                                         "conf/[x]/services/c.conf" };
    static const char *const folders[] = { "conf/[x]/services", "conf/[x]", "conf", "more" };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        rmdir(folders[i]);
    return chdir("/") || rmdir(folder);
}

#endif
