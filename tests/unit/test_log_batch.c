/* Unit tests of the lines that a thread keeps: when they are written, and what is counted if they cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log.h"
#include "log_batch.h"
#include "log_sink.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int file = -1;
static char text[1 << 16];
static unsigned dues;
static struct log_kept *kept;
static struct log_batch batch;

static void count_due(struct log_batch *which)
{
    assert_ptr_equal(which, &batch);
    dues++;
}

static int begin(void **state)
{
    (void)state;
    file = memfd_create("log", MFD_CLOEXEC);
    kept = log_kept_create(2);
    if (file < 0 || kept == NULL)
        return -1;
    log_sink_take(file);
    log_setup(ENCHUFE_LOG_INFO, LOG_TEXT);
    dues = 0;
    batch = (struct log_batch){ .kept = &kept[0], .due = count_due };
    log_batch_use(&batch);
    return 0;
}

static int end(void **state)
{
    (void)state;
    log_batch_use(NULL);
    log_kept_destroy(kept, 2);
    close(file);
    log_sink_close();
    return 0;
}

static const char *logged(void)
{
    ssize_t n = pread(file, text, sizeof text - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static unsigned count(const char *word)
{
    unsigned found = 0;

    for (const char *at = logged(); (at = strstr(at, word)) != NULL; at++)
        found++;
    return found;
}

static void lines_are_kept_until_they_are_flushed(void **state)
{
    (void)state;
    log_line(ENCHUFE_LOG_INFO, "one");
    log_line(ENCHUFE_LOG_INFO, "two");
    assert_string_equal(logged(), "");
    assert_int_equal(dues, 1);
    log_batch_flush();
    assert_int_equal(count(" info "), 2);
    assert_true(strstr(text, " one\n") < strstr(text, " two\n"));
    log_batch_flush();
    assert_int_equal(count(" info "), 2);
    log_line(ENCHUFE_LOG_INFO, "three");
    assert_int_equal(dues, 2);
}

static void a_warning_is_written_at_once_and_behind_what_was_kept(void **state)
{
    (void)state;
    log_line(ENCHUFE_LOG_INFO, "before");
    log_line(ENCHUFE_LOG_WARNING, "alarm");
    assert_int_equal(count("before\n"), 1);
    assert_non_null(strstr(text, "alarm\n"));
    assert_true(strstr(text, "before\n") < strstr(text, "alarm\n"));
}

static void a_full_batch_makes_room_and_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        log_line(ENCHUFE_LOG_INFO, "number %d.", i);
    log_batch_flush();
    char *line = (char *)logged();
    for (int i = 0; i < 1000; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, " number %d.\n", i);
        char *next = strchr(line, '\n') + 1;
        assert_memory_equal(next - strlen(expected), expected, strlen(expected));
        line = next;
    }
    assert_string_equal(line, "");
}

static void the_thread_writes_what_it_kept_when_it_is_through(void **state)
{
    (void)state;
    log_line(ENCHUFE_LOG_INFO, "kept");
    log_batch_use(NULL);
    assert_int_equal(count("kept\n"), 1);
    log_line(ENCHUFE_LOG_INFO, "direct");
    assert_int_equal(count("direct\n"), 1);
}

static void what_a_dead_process_kept_is_written_by_the_other(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        log_line(ENCHUFE_LOG_INFO, "last words");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(count("last words"), 0);
    log_kept_rescue(kept, 2);
    assert_int_equal(count("last words\n"), 1);
    log_kept_rescue(kept, 2);
    assert_int_equal(count("last words\n"), 1);
}

static void nonsense_that_a_dead_process_left_is_bounded(void **state)
{
    (void)state;
    memset(kept[1].bytes, 'x', sizeof kept[1].bytes);
    kept[1].len = SIZE_MAX;
    log_kept_rescue(kept, 2);
    assert_int_equal(strlen(logged()), sizeof kept[1].bytes);
}

/* The file may grow to size bytes. Returns how many of five lines count as lost. */
static uint64_t lost_of_five(rlim_t size)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 5; i++)
        log_line(ENCHUFE_LOG_INFO, "%d", i);
    log_batch_flush();
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    return log_sink_lost();
}

/* A line of these is a time, a level, a digit and a newline. */
#define LINE (24 + 6 + 2)

static void open_file(char *path)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(log_sink_open(path), 0);
    unlink(path);
}

static void of_a_batch_that_does_not_fit_the_rest_is_lost(void **state)
{
    char path[] = "/tmp/enchufe-test-batch-XXXXXX";

    (void)state;
    open_file(path);
    assert_int_equal(lost_of_five(2 * LINE), 3);
}

static void of_a_batch_that_is_cut_the_torn_line_is_lost_too(void **state)
{
    char path[] = "/tmp/enchufe-test-batch-XXXXXX";

    (void)state;
    open_file(path);
    assert_int_equal(lost_of_five(2 * LINE + 7), 3);
}

static void of_a_batch_a_line_that_lacks_only_its_newline_is_there(void **state)
{
    char path[] = "/tmp/enchufe-test-batch-XXXXXX";

    (void)state;
    open_file(path);
    assert_int_equal(lost_of_five(2 * LINE - 1), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_kept_until_they_are_flushed, begin, end),
        cmocka_unit_test_setup_teardown(a_warning_is_written_at_once_and_behind_what_was_kept,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_full_batch_makes_room_and_loses_nothing, begin, end),
        cmocka_unit_test_setup_teardown(the_thread_writes_what_it_kept_when_it_is_through, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_a_dead_process_kept_is_written_by_the_other, begin,
                                        end),
        cmocka_unit_test_setup_teardown(nonsense_that_a_dead_process_left_is_bounded, begin, end),
        cmocka_unit_test_setup_teardown(of_a_batch_that_does_not_fit_the_rest_is_lost, begin, end),
        cmocka_unit_test_setup_teardown(of_a_batch_that_is_cut_the_torn_line_is_lost_too, begin,
                                        end),
        cmocka_unit_test_setup_teardown(of_a_batch_a_line_that_lacks_only_its_newline_is_there,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
