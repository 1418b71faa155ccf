/* Fuzzer of the configuration: whole files, with what they include. The input is the main file and up to two
 * for services/, divided by lines of `%%`. Every error has a place in one of the files; a configuration
 * without any is written anew from what was understood and must mean the same.
 *
 * Files are read in a folder of their own; glob() and getaddrinfo() see nothing else. */
#include "config.h"
#include "config_keys.h"
#include "fuzz.h"
#include "resolver.h"
#include <dlfcn.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *const files[] = { "e.ini", "services/a.ini", "services/b.ini" };
static char folder[] = "/dev/shm/enchufe-fuzz-XXXXXX";

int glob(const char *pattern, int flags, int (*failed)(const char *path, int error), glob_t *out)
{
    int (*real)(const char *, int, int (*)(const char *, int), glob_t *) =
        (int (*)(const char *, int, int (*)(const char *, int), glob_t *))dlsym(RTLD_NEXT, "glob");

    if (*pattern == '/' || strstr(pattern, "..") != NULL)
        return GLOB_NOMATCH;
    return real(pattern, flags, failed, out);
}

static void remove_folder(void)
{
    for (size_t i = 0; i < 3; i++)
        unlink(files[i]);
    rmdir("services");
    if (chdir("/") == 0)
        rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0 && mkdir("services", 0700) == 0);
    atexit(remove_folder);
    return 0;
}

static void write_file(const char *file, const void *bytes, size_t len)
{
    FILE *out = fopen(file, "w");

    CHECK(out != NULL);
    CHECK(len == 0 || fwrite(bytes, 1, len, out) == len);
    CHECK(fclose(out) == 0);
}

/* The next file's bytes: up to a line of `%%`. */
static struct input next_file(struct input *in)
{
    const uint8_t *mark = in->len != 0 ? memmem(in->data, in->len, "%%\n", 3) : NULL;
    struct input file = input_part(in, mark != NULL ? (size_t)(mark - in->data) : in->len);

    input_part(in, 3);
    return file;
}

static unsigned count_lines(const struct input *file)
{
    unsigned lines = 1;

    for (size_t i = 0; i < file->len; i++)
        lines += file->data[i] == '\n';
    return lines;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void check_report(const struct report *report, const unsigned lines[3])
{
    for (size_t i = 0; i < report->count; i++) {
        const struct report_line *line = &report->lines[i];
        size_t file = 0;
        CHECK(line->file != NULL);
        while (file < 3 && strcmp(line->file, files[file]) != 0)
            file++;
        /* A pattern may name the folder, too, which has no lines. */
        if (file == 3)
            CHECK(line->line == 0 && is_folder(line->file));
        else
            CHECK(line->line <= lines[file]);
        CHECK(strncmp(line->text, line->file, strlen(line->file)) == 0);
        CHECK(strchr(line->text, '\n') == NULL);
    }
}

static void check_service(const struct service_config *service)
{
    CHECK(*service->name != '\0' && strlen(service->name) <= 48);
    CHECK(service->plugin != NULL && *service->plugin != '\0');
    CHECK(service->plugin_is_path == (*service->plugin == '/'));
    CHECK(service->listen_count > 0);
    CHECK(service->limits.threads >= 0 && service->limits.threads <= 1024);
    CHECK(service->limits.max_output > 0 && service->limits.backlog > 0);
    for (size_t i = 0; i < service->setting_count; i++)
        CHECK(options_find(config_service_table, service->settings[i].key) == NULL);
}

/* Only endpoints that can be told apart from what another service has are written: nothing more is known of
 * their order than that. Returns false where a line would be longer than a line may be. */
static bool write_anew(const struct config *config)
{
    FILE *out = fopen(files[0], "w");
    bool fits = true;
    char text[ENDPOINT_TEXT];

    CHECK(out != NULL);
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];
        fits = fits && strlen(service->plugin) < 180;
        fprintf(out, "[%s]\nplugin = %s\n", service->name, service->plugin);
        for (size_t n = 0; n < service->listen_count; n++)
            fprintf(out, "listen = %s\n", endpoint_format(&service->listens[n].endpoint, text));
    }
    CHECK(fclose(out) == 0);
    return fits;
}

static void check_again(const struct config *config)
{
    struct report report = { .lines = NULL };

    if (!write_anew(config))
        return;
    struct config *again = config_read(files[0], NULL, &report);
    report_print(&report, stderr);
    CHECK(again != NULL && report.count == 0);
    CHECK(again->service_count == config->service_count);
    CHECK(again->endpoint_count == config->endpoint_count);
    for (size_t i = 0; i < config->service_count; i++)
        CHECK(strcmp(again->services[i].plugin, config->services[i].plugin) == 0);
    config_free(again);
    report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    struct report report = { .lines = NULL };
    unsigned lines[3];

    for (size_t i = 0; i < 3; i++) {
        struct input file = next_file(&in);
        lines[i] = count_lines(&file);
        write_file(files[i], file.data, file.len);
    }
    struct config *config = config_read(files[0], NULL, &report);
    CHECK(config != NULL);
    check_report(&report, lines);
    if (report.count == 0) {
        CHECK(config->service_count > 0);
        for (size_t i = 0; i < config->service_count; i++)
            check_service(&config->services[i]);
        if (config->endpoint_count < 1000)
            check_again(config);
    }
    config_free(config);
    report_free(&report);
    return 0;
}
