/* Processor time of processes and of a core. The clocks of processes count nanoseconds, where /proc/PID/stat
 * counts ticks of 10 ms. */
#include "processes.h"
#include "common.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 65536

struct process {
    pid_t pid, parent;
    uint64_t
        reaped; /* of children that ended: servers that fork for each connection work in them */
};

static uint64_t ticks_ns(unsigned long long ticks)
{
    return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static bool read_process(const char *name, struct process *process)
{
    char path[320], line[1024];
    unsigned long long user, system;
    int parent;
    bool read = false;

    snprintf(path, sizeof path, "/proc/%s/stat", name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fgets(line, sizeof line, file) != NULL) {
        const char *rest = strrchr(line, ')');
        read = rest != NULL &&
               sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu",
                      &parent, &user, &system) == 3;
    }
    fclose(file);
    if (read)
        *process = (struct process){ .pid = (pid_t)strtol(name, NULL, 10),
                                     .parent = parent,
                                     .reaped = ticks_ns(user + system) };
    return read;
}

static size_t read_processes(struct process *all, size_t max)
{
    size_t count = 0;
    DIR *proc = opendir("/proc");

    if (proc == NULL)
        die("/proc");
    for (struct dirent *entry = readdir(proc); entry != NULL; entry = readdir(proc))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && count < max &&
            read_process(entry->d_name, &all[count]))
            count++;
    closedir(proc);
    return count;
}

static uint64_t own_time(pid_t pid)
{
    struct timespec time;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t process_tree_time(pid_t root)
{
    static struct process all[PROCESSES_MAX];
    static pid_t tree[PROCESSES_MAX];
    size_t count = read_processes(all, PROCESSES_MAX), members = 1;
    uint64_t sum = own_time(root);

    tree[0] = root;
    for (size_t i = 0; i < members; i++) {
        for (size_t k = 0; k < count; k++) {
            if (all[k].pid == tree[i])
                sum += all[k].reaped;
            if (all[k].parent == tree[i] && members < PROCESSES_MAX) {
                sum += own_time(all[k].pid);
                tree[members++] = all[k].pid;
            }
        }
    }
    return sum;
}

struct core_times core_times(int core)
{
    char line[512], key[16];
    unsigned long long idle = 0, waiting = 0, stolen = 0;
    FILE *file = fopen("/proc/stat", "re");
    int len = snprintf(key, sizeof key, "cpu%d ", core);

    if (file == NULL)
        die("/proc/stat");
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, (size_t)len) == 0)
            sscanf(line, "%*s %*u %*u %*u %llu %llu %*u %*u %llu", &idle, &waiting, &stolen);
    fclose(file);
    return (struct core_times){ .idle = ticks_ns(idle + waiting), .stolen = ticks_ns(stolen) };
}
