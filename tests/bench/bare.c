/* bare: the limit that the server is measured against. `bare echo`, `bare hola`, `bare udp` and `bare gso` print
 * their port and serve until they are killed. */
#include "bare.h"
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

void bare_listens(uint16_t port)
{
    printf("port %u\n", port);
    fflush(stdout);
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    unsigned threads = argc > 2 ? (unsigned)number("threads", argv[2], 1, 64) : 1;

    raise_descriptors();
    if (strcmp(mode, "echo") == 0 || strcmp(mode, "hola") == 0)
        bare_stream(threads, strcmp(mode, "hola") == 0);
    if (strcmp(mode, "udp") == 0 || strcmp(mode, "gso") == 0)
        bare_datagram(strcmp(mode, "gso") == 0);
    fputs("usage: bare echo|hola [THREADS]; bare udp|gso\n", stderr);
    return 2;
}
