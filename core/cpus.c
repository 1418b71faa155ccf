/* Which processors there are for us, and whether we get all of their time. */
#include "cpus.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define CGROUPS "/sys/fs/cgroup"

void cpus_find(struct cpus *cpus)
{
    cpu_set_t set;

    cpus->count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET((size_t)cpu, &set))
                cpus->numbers[cpus->count++] = cpu;
    if (cpus->count == 0)
        cpus->numbers[cpus->count++] = 0;
}

bool cpus_quota_below(const char *cpu_max, size_t count)
{
    unsigned long long quota, period;

    return sscanf(cpu_max, "%llu %llu", &quota, &period) == 2 && quota < period * count;
}

static bool file_rations(const char *path, size_t count)
{
    char text[64] = "";
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    bool read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return read && cpus_quota_below(text, count);
}

/* The group's own quota, and that of what a container shows as the root. */
bool cpus_rationed(const struct cpus *cpus)
{
    char line[PATH_MAX], path[PATH_MAX + 64];
    bool rationed = file_rations(CGROUPS "/cpu.max", cpus->count);
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file != NULL && !rationed && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::", 3) != 0)
            continue;
        snprintf(path, sizeof path, CGROUPS "%s/cpu.max", line + 3);
        rationed = file_rations(path, cpus->count);
    }
    if (file != NULL)
        fclose(file);
    return rationed;
}
