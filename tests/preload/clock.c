/* For LD_PRELOAD: the date as an operator may set it while the server runs. CLOCK_REALTIME and what is made
 * of it are off by as many seconds as the file CLOCK_SHIFT_FILE says, which is read at each call; other
 * clocks are as they are. The server's sleeps need nothing: it has no descriptor or wait that follows
 * the date (and one that did would be started with a wrong time, and be found by that). */
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

static time_t shift(void)
{
    const char *path = getenv("CLOCK_SHIFT_FILE");
    char text[32] = "0";
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0 && read(fd, text, sizeof text - 1) <= 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    return strtol(text, NULL, 10);
}

static int is_date(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);

    if (result == 0 && is_date(clock))
        out->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    int result = (int)syscall(SYS_gettimeofday, out, zone);

    if (result == 0)
        out->tv_sec += shift();
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
