/* load: drives a server and checks every byte of what it answers. `load` alone tells how it is used. */
#include "load.h"
#include "common.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
    "usage: load stream|short|datagram|hold --port PORT [option value]...\n"
    "  --ports N         so many ports from PORT on (1)\n"
    "  --connections N   connections, or sockets that send datagrams (1)\n"
    "  --depth N         requests in flight on each (1)\n"
    "  --size BYTES      of a request of echo, or of a datagram (64)\n"
    "  --protocol NAME   echo, hola, ping (redis) (echo)\n"
    "  --warmup MS       before the window (100)\n"
    "  --window MS       (1000)\n"
    "  --requests N      so many, and no time\n"
    "  --pace US         a request each so many microseconds, and not as fast as answers come\n"
    "  --gso 1           datagrams in bursts (UDP_SEGMENT, UDP_GRO)\n"
    "  --server PID      whose time, and descendants' time, is told (may be repeated)\n"
    "  --helper PID      whose time on the core is no disturbance (may be repeated)\n"
    "  --core N          to run on\n";

static void add_process(pid_t *list, const char *name, const char *value)
{
    for (int i = 0; i < LOAD_PROCESSES; i++) {
        if (list[i] == 0) {
            list[i] = (pid_t)number(name, value, 1, INT32_MAX);
            return;
        }
    }
    die("%s: at most %d", name, LOAD_PROCESSES);
}

static void set_option(struct load_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--port") == 0)
        options->port = (uint16_t)number(name, value, 1, 65535);
    else if (strcmp(name, "--ports") == 0)
        options->ports = (unsigned)number(name, value, 1, 65535);
    else if (strcmp(name, "--connections") == 0)
        options->connections = (unsigned)number(name, value, 1, 1000000);
    else if (strcmp(name, "--depth") == 0)
        options->depth = (unsigned)number(name, value, 1, 4096);
    else if (strcmp(name, "--size") == 0)
        options->size = (size_t)number(name, value, 1, 64u << 20);
    else if (strcmp(name, "--protocol") == 0)
        options->protocol = value;
    else if (strcmp(name, "--warmup") == 0)
        options->warmup_ns = number(name, value, 0, 600000) * 1000000;
    else if (strcmp(name, "--window") == 0)
        options->window_ns = number(name, value, 1, 600000) * 1000000;
    else if (strcmp(name, "--requests") == 0)
        options->requests = number(name, value, 1, UINT32_MAX);
    else if (strcmp(name, "--pace") == 0)
        options->pace_ns = number(name, value, 1, 1000000) * 1000;
    else if (strcmp(name, "--gso") == 0)
        options->gso = number(name, value, 0, 1) != 0;
    else if (strcmp(name, "--server") == 0)
        add_process(options->servers, name, value);
    else if (strcmp(name, "--helper") == 0)
        add_process(options->helpers, name, value);
    else if (strcmp(name, "--core") == 0)
        options->core = (int)number(name, value, 0, CPU_SETSIZE - 1);
    else
        die("%s is no option\n%s", name, usage);
}

static void pin(int core)
{
    cpu_set_t set;

    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("core %d", core);
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int load_connect(const struct load_options *options, unsigned index)
{
    struct sockaddr_in to = loopback((uint16_t)(options->port + index % options->ports));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket %u", index);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connection %u", index);
    return fd;
}

int main(int argc, char **argv)
{
    static struct run run;
    struct load_options options = { .ports = 1,
                                    .connections = 1,
                                    .depth = 1,
                                    .size = 64,
                                    .protocol = "echo",
                                    .warmup_ns = 100000000,
                                    .window_ns = 1000000000,
                                    .core = -1 };

    if (argc < 2 || argc % 2 != 0) {
        fputs(usage, stderr);
        return 2;
    }
    for (int i = 2; i < argc; i += 2)
        set_option(&options, argv[i], argv[i + 1]);
    if (options.port == 0)
        die("which --port?");
    pin(options.core);
    raise_descriptors();
    if (strcmp(argv[1], "hold") == 0) {
        load_hold(&options);
        return 0;
    }
    run.options = &options;
    if (strcmp(argv[1], "stream") == 0)
        load_stream(&run);
    else if (strcmp(argv[1], "short") == 0)
        load_short(&run);
    else if (strcmp(argv[1], "datagram") == 0)
        load_datagram(&run);
    else
        die("%s is no mode\n%s", argv[1], usage);
    run_report(&run);
    return 0;
}
