/* For LD_PRELOAD: the date as an operator may set it while the server runs. CLOCK_REALTIME and what is made of
 * it are off by as many seconds as the file CLOCK_SHIFT_FILE says (a 64-bit number), which is mapped before the
 * sandbox is put on; other clocks are as they are. The server's sleeps need nothing: it has no descriptor or
 * wait that follows the date (and one that did would be started with a wrong time, and be found by that). */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

static const volatile int64_t *mapped;

__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = mmap(NULL, sizeof *mapped, PROT_READ, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        abort();
    mapped = memory;
    close(fd);
}

static time_t shift(void)
{
    return mapped != NULL ? (time_t)*mapped : 0; /* libraries' constructors come before */
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
