/* Talking to the service manager: sd_notify(3) tells the words. */
#include "notify.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path]; /* "" without a service manager */
    uint64_t watchdog_us;                                    /* 0: it does not watch */
    struct timer timer;
    struct loop *loop;
} manager;

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (path != NULL && (*path == '/' || *path == '@') && strlen(path) < sizeof manager.path)
        strcpy(manager.path, path);
    if (period != NULL && (pid == NULL || strtol(pid, NULL, 10) == getpid()))
        manager.watchdog_us = strtoull(period, NULL, 10);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_restore_environment(pid_t pid)
{
    char number[32];

    if (*manager.path != '\0')
        setenv("NOTIFY_SOCKET", manager.path, 1);
    if (manager.watchdog_us == 0)
        return;
    snprintf(number, sizeof number, "%" PRIu64, manager.watchdog_us);
    setenv("WATCHDOG_USEC", number, 1);
    snprintf(number, sizeof number, "%d", (int)pid);
    setenv("WATCHDOG_PID", number, 1);
}

static void tell(const char *text)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(manager.path);
    int fd;

    if (len == 0 || (fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
        return;
    memcpy(address.sun_path, manager.path, len);
    if (*manager.path == '@')
        address.sun_path[0] = '\0'; /* an abstract name, which has no NUL at its end either */
    sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

void notify_ready(void)
{
    tell("READY=1");
}

void notify_reloading(void)
{
    char text[64];
    /* The manager compares it with the time of its own request. */
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ms() * 1000);
    tell(text);
}

void notify_stopping(void)
{
    tell("STOPPING=1");
}

void notify_main_pid(pid_t pid)
{
    char text[64];

    snprintf(text, sizeof text, "MAINPID=%d", (int)pid);
    tell(text);
}

static void watchdog(struct timer *timer)
{
    tell("WATCHDOG=1");
    loop_timer(manager.loop, timer, clock_ms() + manager.watchdog_us / 2000);
}

void notify_watchdog(struct loop *loop)
{
    if (manager.watchdog_us == 0)
        return;
    manager.loop = loop;
    manager.timer.fire = watchdog;
    watchdog(&manager.timer);
}

void notify_watchdog_stop(struct loop *loop)
{
    timer_cancel(&loop->timers, &manager.timer);
}
