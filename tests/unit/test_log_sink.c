/* Unit tests of where the log goes: descriptors that are full, slow or gone, and what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "log.h"
#include "log_sink.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define WRITERS 4
#define LINES 3000

static char directory[] = "/tmp/enchufe-test-log-XXXXXX";
static char path[sizeof directory + 8], moved[sizeof directory + 8];
static int real_stderr;
static char text[4 << 20];

static int begin(void **state)
{
    (void)state;
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/x.log", directory);
    snprintf(moved, sizeof moved, "%s/x.old", directory);
    log_setup(ENCHUFE_LOG_INFO, LOG_TEXT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    log_sink_close();
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    unlink(path);
    unlink(moved);
    return rmdir(directory);
}

/* The log goes to fd as standard error, which the caller gives away. */
static void log_to_stderr(int fd)
{
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
    assert_int_equal(log_sink_open(NULL), 0);
}

/* Adds what can be read now to text[len]. Returns the new length. */
static size_t read_all(int fd, size_t len)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    ssize_t n = 1;

    while (n > 0 && poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLIN)) {
        n = read(fd, text + len, sizeof text - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    text[len] = '\0';
    return len;
}

static const char *read_file(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);

    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void log_numbered(uint64_t n)
{
    log_event(ENCHUFE_LOG_INFO, "numbered", LOG_NUM("n", n), LOG_STR("end", "whole"));
}

/* What stands in text: whole lines of log_numbered, the sum of the reports, and lines that are neither. */
struct tally {
    uint64_t whole, reported, torn;
};

static bool matches(const char *line, const char *pattern, unsigned long long *n)
{
    int len = 0;

    return sscanf(line, pattern, n, &len) == 1 && len != 0 && line[len] == '\0';
}

static struct tally count_lines(void)
{
    struct tally tally = { .whole = 0 };

    for (char *line = text, *next; *line != '\0'; line = next) {
        unsigned long long n = 0;
        next = strchr(line, '\n');
        assert_non_null(next);
        *next++ = '\0';
        assert_true(*line != '\0'); /* no empty line */
        if (matches(line, "%*24c info numbered n=%llu end=whole%n", &n))
            tally.whole++;
        else if (matches(line, "%*24c warning log lines lost count=%llu%n", &n))
            tally.reported += n;
        else
            tally.torn++;
    }
    return tally;
}

/* ---- one writer ---- */

static void a_line_to_a_closed_pipe_is_counted(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    log_to_stderr(ends[1]);
    errno = 4711;
    log_line(ENCHUFE_LOG_INFO, "to nobody");
    assert_int_equal(errno, 4711);
    assert_int_equal(log_sink_lost(), 1);
}

static void a_line_to_a_full_device_is_counted(void **state)
{
    (void)state;
    if (log_sink_open("/dev/full") != 0)
        skip();
    for (uint64_t i = 0; i < 100; i++)
        log_numbered(i);
    assert_int_equal(log_sink_lost(), 100);
}

/* Fills what nobody reads at the other end, then reads, and sees every line there or reported. */
static void fill_and_drain(int reader, bool tears)
{
    uint64_t sent = 0;

    while (log_sink_lost() < 1000 && sent < 1000000)
        log_numbered(sent++);
    assert_int_equal(log_sink_lost(), 1000);
    size_t len = read_all(reader, 0);
    log_report_lost();
    assert_int_equal(log_sink_lost(), 0);
    log_numbered(sent++);
    read_all(reader, len);
    struct tally tally = count_lines();
    assert_int_equal(tally.reported, 1000);
    assert_int_equal(tally.whole + tally.reported, sent);
    assert_in_range(tally.torn, 0, tears);
}

static void a_pipe_that_nobody_reads_does_not_block(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    log_to_stderr(ends[1]);
    /* Who shares our standard error still blocks on it. */
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    fill_and_drain(ends[0], false);
    close(ends[0]);
}

static void a_socket_that_nobody_reads_does_not_block(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    log_to_stderr(ends[1]);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    fill_and_drain(ends[0], true);
    close(ends[0]);
}

/* Returns the side of the one who looks at it. */
static int open_terminal(void)
{
    int looker = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), terminal;
    struct termios settings;

    assert_true(looker >= 0 && grantpt(looker) == 0 && unlockpt(looker) == 0);
    terminal = open(ptsname(looker), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    tcgetattr(terminal, &settings);
    settings.c_oflag &= ~(tcflag_t)OPOST;
    settings.c_lflag &= ~(tcflag_t)ECHO;
    settings.c_iflag |= IXON;
    tcsetattr(terminal, TCSANOW, &settings);
    log_to_stderr(terminal);
    return looker;
}

static void a_stopped_terminal_does_not_block(void **state)
{
    int looker = open_terminal();
    struct tally tally;

    (void)state;
    assert_int_equal(tcflow(STDERR_FILENO, TCOOFF), 0); /* as Ctrl-S does */
    for (uint64_t i = 0; i < 1000; i++)
        log_numbered(i);
    assert_int_equal(log_sink_lost(), 1000);
    assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
    log_report_lost();
    assert_int_equal(log_sink_lost(), 0);
    read_all(looker, 0);
    tally = count_lines();
    assert_int_equal(tally.whole + tally.reported, 1000);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(looker);
}

/* Opening it anew makes a description of one's own, but a pipe of another user cannot be opened. */
static void what_cannot_be_opened_anew_does_not_block(void **state)
{
    int ends[2];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(seteuid(65534), 0);
    log_to_stderr(ends[1]);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    fill_and_drain(ends[0], false);
    assert_int_equal(seteuid(0), 0);
    close(ends[0]);
}

/* ---- torn lines ---- */

/* A file that may have `size` bytes takes a part of the line. */
static void tear_at(rlim_t size)
{
    assert_int_equal(log_sink_open(path), 0);
    limit_files(size);
    log_numbered(1);
    log_numbered(2);
    limit_files(RLIM_INFINITY);
}

static void a_torn_line_is_ended_and_counted(void **state)
{
    struct tally tally;

    (void)state;
    tear_at(40);
    assert_int_equal(log_sink_lost(), 2);
    log_numbered(3);
    read_file(path);
    assert_int_equal(text[40], '\n');
    tally = count_lines();
    assert_int_equal(tally.torn, 1);
    assert_int_equal(tally.reported, 2);
    assert_int_equal(tally.whole, 1);
}

static void a_line_that_lacks_only_its_newline_is_no_loss(void **state)
{
    struct tally tally;

    (void)state;
    tear_at(30 + sizeof "numbered n=1 end=whole" - 1);
    assert_int_equal(log_sink_lost(), 1);
    log_numbered(3);
    read_file(path);
    tally = count_lines();
    assert_int_equal(tally.torn, 0);
    assert_int_equal(tally.reported, 1);
    assert_int_equal(tally.whole, 2);
}

static void a_file_that_was_emptied_begins_with_a_line(void **state)
{
    struct tally tally;

    (void)state;
    tear_at(40);
    assert_int_equal(truncate(path, 0), 0);
    log_numbered(3);
    read_file(path);
    tally = count_lines();
    assert_int_equal(tally.torn, 0);
    assert_int_equal(tally.reported + tally.whole, 3);
}

static void a_torn_line_stays_with_its_file(void **state)
{
    struct tally tally;

    (void)state;
    tear_at(40);
    int old = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(rename(path, moved), 0);
    int fd = log_sink_open_file(path);
    log_sink_take(fd); /* as the master does */
    log_numbered(3);
    log_sink_take(old); /* a worker that has not taken the new one yet */
    log_numbered(4);
    log_sink_take(fd);
    log_numbered(5);
    read_file(moved);
    tally = count_lines();
    assert_int_equal(tally.torn, 1);
    assert_int_equal(tally.whole, 1);
    read_file(path);
    tally = count_lines();
    assert_int_equal(tally.torn, 0);
    assert_int_equal(tally.whole, 2);
    assert_int_equal(tally.reported, 2);
    close(old);
    close(fd);
}

static void what_an_earlier_server_tore_is_ended(void **state)
{
    FILE *file = fopen(path, "we");
    struct tally tally;

    (void)state;
    assert_non_null(file);
    fputs("2026-11-22T14:55:00.123Z info numb", file);
    fclose(file);
    assert_int_equal(log_sink_open(path), 0);
    log_numbered(3);
    read_file(path);
    tally = count_lines();
    assert_int_equal(tally.torn, 1);
    assert_int_equal(tally.whole, 1);
}

static void a_file_is_for_its_owner_and_group(void **state)
{
    mode_t mask = umask(0);
    struct stat status;

    (void)state;
    assert_int_equal(log_sink_open(path), 0);
    umask(mask);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(log_sink_open("/no/such/folder/x.log"), -ENOENT);
    log_numbered(1); /* where it went before */
    read_file(path);
    assert_int_equal(count_lines().whole, 1);
}

/* ---- many writers ---- */

static void *log_much(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < LINES; i++)
        log_numbered(i);
    return NULL;
}

static void start_threads(pthread_t threads[WRITERS])
{
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, NULL), 0);
}

static void join_threads(pthread_t threads[WRITERS])
{
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void log_in_process(void)
{
    pthread_t threads[WRITERS];

    for (size_t i = 0; i < WRITERS; i++)
        if (pthread_create(&threads[i], NULL, log_much, NULL) != 0)
            _exit(1);
    join_threads(threads);
    _exit(0);
}

static void the_count_is_exact_over_processes_and_threads(void **state)
{
    struct tally tally;
    pid_t pids[WRITERS];

    (void)state;
    for (rlim_t size = 65536; size < 65536 + 60; size += 7) {
        unlink(path);
        assert_int_equal(log_sink_open(path), 0);
        limit_files(size);
        for (size_t i = 0; i < WRITERS; i++)
            if ((pids[i] = fork()) == 0)
                log_in_process();
        for (size_t i = 0; i < WRITERS; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        limit_files(RLIM_INFINITY);
        log_report_lost();
        assert_int_equal(log_sink_lost(), 0);
        read_file(path);
        tally = count_lines();
        assert_in_range(tally.torn, 0, 1);
        assert_true(tally.whole > 500 && tally.reported > 0);
        assert_int_equal(tally.whole + tally.reported, WRITERS * WRITERS * LINES);
    }
}

static atomic_bool enough;

/* Returns how many. */
static void *log_until_enough(void *arg)
{
    uint64_t n = 0;

    (void)arg;
    while (!enough)
        log_numbered(n++);
    return (void *)(uintptr_t)n;
}

static void a_terminal_shared_by_threads_loses_nothing_uncounted(void **state)
{
    pthread_t threads[WRITERS];
    int looker = open_terminal();
    uint64_t sent = 0;
    struct tally tally;
    size_t len = 0;
    void *count;

    (void)state;
    enough = false;
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_until_enough, NULL), 0);
    while (len < sizeof text / 2)
        len = read_all(looker, len);
    enough = true;
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], &count);
        sent += (uint64_t)(uintptr_t)count;
    }
    len = read_all(looker, len);
    log_report_lost();
    read_all(looker, len);
    assert_int_equal(log_sink_lost(), 0);
    tally = count_lines();
    assert_int_equal(tally.whole + tally.reported, sent);
    close(looker);
}

static void a_file_moved_under_load_loses_nothing(void **state)
{
    pthread_t threads[WRITERS];
    uint64_t whole = 0;

    (void)state;
    assert_int_equal(log_sink_open(path), 0);
    start_threads(threads);
    usleep(100);
    assert_int_equal(rename(path, moved), 0);
    int fd = log_sink_open_file(path);
    assert_true(fd >= 0);
    log_sink_take(fd);
    close(fd);
    join_threads(threads);
    assert_int_equal(log_sink_lost(), 0);
    for (int i = 0; i < 2; i++) {
        read_file(i == 0 ? path : moved);
        struct tally tally = count_lines();
        assert_int_equal(tally.torn, 0);
        whole += tally.whole;
    }
    assert_int_equal(whole, WRITERS * LINES);
}

static void what_is_lost_during_a_report_is_left_for_the_next(void **state)
{
    struct stat status;

    (void)state;
    tear_at(40);
    uint64_t count = log_sink_claim();
    assert_int_equal(count, 2);
    assert_int_equal(stat(path, &status), 0);
    limit_files((rlim_t)status.st_size);
    log_numbered(3);
    limit_files(RLIM_INFINITY);
    log_sink_report(ENCHUFE_LOG_WARNING, "told\n", 5, count);
    assert_int_equal(log_sink_lost(), 1);
}

/* Whatever a plugin does with its end of the bell. */
static void neither_who_rings_nor_who_hears_waits_for_the_bell(void **state)
{
    (void)state;
    tear_at(40);
    fcntl(log_sink_ringer(), F_SETFL, 0);
    fcntl(log_sink_bell(), F_SETFL, 0);
    alarm(20);
    for (uint64_t n = 0; n < 5000; n++)
        log_numbered(n);
    unsigned rings = 0;
    while (log_sink_take_ring())
        rings++;
    alarm(0);
    assert_true(rings > 0);
}

/* To close one may take as long as its sender chose. */
static void no_descriptor_comes_with_a_ring(void **state)
{
    union {
        struct cmsghdr align;
        unsigned char room[CMSG_SPACE(sizeof(int))];
    } control = { .room = { 0 } };
    struct msghdr header = { .msg_iov = &(struct iovec){ "r", 1 },
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control };
    struct utsname system;
    int major = 0, minor = 0, fd = STDIN_FILENO;

    (void)state;
    assert_int_equal(uname(&system), 0);
    assert_int_equal(sscanf(system.release, "%d.%d", &major, &minor), 2);
    if (major < 6 || (major == 6 && minor < 16))
        skip();
    assert_int_equal(log_sink_open(path), 0);
    *CMSG_FIRSTHDR(&header) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                                .cmsg_type = SCM_RIGHTS,
                                                .cmsg_len = CMSG_LEN(sizeof fd) };
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), &fd, sizeof fd);
    assert_int_equal(sendmsg(log_sink_ringer(), &header, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EPERM);
}

static void a_process_that_died_within_its_report_is_replaced(void **state)
{
    int status;

    (void)state;
    tear_at(40);
    pid_t pid = fork();
    if (pid == 0)
        _exit(log_sink_claim() == 2 ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    log_report_lost();
    assert_int_equal(log_sink_lost(), 0);
}

/* ---- the system's log ---- */

/* Stands for the system's log. */
static int open_daemon(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, path);
    unlink(path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void open_syslog(void)
{
    setenv("ENCHUFE_SYSLOG_SOCKET", path, 1);
    assert_int_equal(log_sink_open("syslog"), 0);
    assert_true(log_sink_is_syslog());
}

static void daemon_gets(int fd, const char *priority, const char *what)
{
    char expected[300], got[300];
    ssize_t n = recv(fd, got, sizeof got - 1, 0);

    assert_true(n > 0);
    got[n] = '\0';
    snprintf(expected, sizeof expected, "<%s>enchufe[%d]: %s", priority, (int)getpid(), what);
    assert_string_equal(got, expected);
}

static void the_systems_log_gets_a_datagram_for_each_line(void **state)
{
    static const char *const priorities[] = { "27", "28", "30", "31" };
    int fd = open_daemon();

    (void)state;
    open_syslog();
    log_setup(ENCHUFE_LOG_DEBUG, LOG_TEXT);
    for (int level = ENCHUFE_LOG_ERROR; level <= ENCHUFE_LOG_DEBUG; level++) {
        log_event(level, "closed", LOG_STR("service", "e c"), LOG_NUM("in", 4));
        daemon_gets(fd, priorities[level], "closed service=\"e c\" in=4");
    }
    log_setup(ENCHUFE_LOG_INFO, LOG_JSON);
    log_line(ENCHUFE_LOG_INFO, "object");
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "]: {\"time\":\"20"));
    assert_non_null(strstr(text, "\"level\":\"info\",\"message\":\"object\"}"));
    assert_int_equal(text[n - 1], '}');
    close(fd);
}

static void a_systems_log_that_is_away_is_found_again(void **state)
{
    (void)state;
    open_syslog();
    log_line(ENCHUFE_LOG_INFO, "there is none");
    for (int round = 0; round < 3; round++) {
        log_line(ENCHUFE_LOG_INFO, "it is away");
        int fd = open_daemon();
        log_line(ENCHUFE_LOG_INFO, "it is back");
        daemon_gets(fd, "28", round == 0 ? "log lines lost count=2" : "log lines lost count=1");
        daemon_gets(fd, "30", "it is back");
        close(fd);
    }
}

static void a_systems_log_that_does_not_read_does_not_block(void **state)
{
    int fd = open_daemon();
    uint64_t sent = 0, got = 0;
    unsigned long long reported = 0;

    (void)state;
    open_syslog();
    while (log_sink_lost() < 100 && sent < 1000000)
        log_numbered(sent++);
    assert_int_equal(log_sink_lost(), 100);
    for (ssize_t n; (n = recv(fd, text, 300, 0)) > 0; got++)
        continue;
    log_report_lost();
    memset(text, 0, 300);
    assert_true(recv(fd, text, 299, 0) > 0);
    assert_int_equal(sscanf(text, "<28>enchufe[%*d]: log lines lost count=%llu", &reported), 1);
    assert_int_equal(got + reported, sent);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_to_a_closed_pipe_is_counted),
        TEST(a_line_to_a_full_device_is_counted),
        TEST(a_pipe_that_nobody_reads_does_not_block),
        TEST(a_socket_that_nobody_reads_does_not_block),
        TEST(a_stopped_terminal_does_not_block),
        TEST(what_cannot_be_opened_anew_does_not_block),
        TEST(a_torn_line_is_ended_and_counted),
        TEST(a_line_that_lacks_only_its_newline_is_no_loss),
        TEST(a_file_that_was_emptied_begins_with_a_line),
        TEST(a_torn_line_stays_with_its_file),
        TEST(what_an_earlier_server_tore_is_ended),
        TEST(a_file_is_for_its_owner_and_group),
        TEST(the_count_is_exact_over_processes_and_threads),
        TEST(a_terminal_shared_by_threads_loses_nothing_uncounted),
        TEST(a_file_moved_under_load_loses_nothing),
        TEST(what_is_lost_during_a_report_is_left_for_the_next),
        TEST(neither_who_rings_nor_who_hears_waits_for_the_bell),
        TEST(no_descriptor_comes_with_a_ring),
        TEST(a_process_that_died_within_its_report_is_replaced),
        TEST(the_systems_log_gets_a_datagram_for_each_line),
        TEST(a_systems_log_that_is_away_is_found_again),
        TEST(a_systems_log_that_does_not_read_does_not_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
