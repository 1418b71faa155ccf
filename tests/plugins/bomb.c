/* Forks without end, its children too: any input starts it, and the answer is how many processes there are
 * when the worker gets no more. The children go on trying, a hundred times a second. So that it stays a test
 * where nothing contains it, it ends at 500 processes, and after half a minute. */
#include <enchufe/plugin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 500
#define SECONDS 30

static _Atomic int *made; /* by all of them */

/* Returns a pid, 0 in the child, or -1 where there is no more to be had. */
static pid_t make_one(void)
{
    if (atomic_fetch_add(made, 1) >= MOST) {
        atomic_fetch_sub(made, 1);
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0)
        atomic_fetch_sub(made, 1);
    else if (pid == 0)
        alarm(SECONDS);
    return pid;
}

static _Noreturn void go_on(void)
{
    for (;;)
        if (make_one() < 0)
            usleep(10000);
}

static int bomb_start(enchufe_service *service)
{
    (void)service;
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return made == MAP_FAILED ? -1 : 0;
}

static size_t bomb_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    char text[16];
    pid_t pid;

    (void)data;
    while ((pid = make_one()) > 0)
        continue;
    if (pid == 0)
        go_on();
    enchufe_write(conn, text, (size_t)snprintf(text, sizeof text, "%d\n", atomic_load(made)));
    return len;
}

ENCHUFE_PLUGIN(.name = "bomb", .summary = "forks without end", .start = bomb_start,
               .on_data = bomb_on_data);
