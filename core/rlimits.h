/* How much of the machine a process of plugins may use. */
#ifndef RLIMITS_H
#define RLIMITS_H

#include "config.h"

/* Who shares a process, and with how many threads. */
struct rlimits_setup {
    const struct config *config;
    const size_t *services;
    size_t service_count;
    size_t loops; /* threads of this process that run plugins */
    size_t tasks; /* threads of all workers of the generation */
};

/* Limits this process for good, which has one thread: its memory, its descriptors, its processes, and core
 * dumps. Returns 0 or -errno. */
int rlimits_enter(const struct rlimits_setup *setup);

#endif
