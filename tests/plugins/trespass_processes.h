/* The attempts of trespass.c that are about processes and threads, and their share of the machine. */
#ifndef TRESPASS_PROCESSES_H
#define TRESPASS_PROCESSES_H

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long number(const char *word)
{
    return strtol(word, NULL, 10);
}

static long try_exec(const char *word)
{
    char *const argv[] = { (char *)"true", NULL };

    (void)word;
    return execv("/bin/true", argv);
}

static long try_execveat(const char *word)
{
    char *const argv[] = { (char *)"true", NULL };

    (void)word;
    return syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
}

static long end_child(pid_t pid)
{
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid;
}

static long try_fork(const char *word)
{
    (void)word;
    return end_child(fork());
}

static long try_kill(const char *word)
{
    return kill((pid_t)number(word), 0);
}

/* The whole group, the master among it. */
static long try_group(const char *word)
{
    (void)word;
    return kill(0, 0);
}

static long try_queue(const char *word)
{
    return sigqueue((pid_t)number(word), SIGWINCH, (union sigval){ .sival_int = 0 });
}

static long try_ptrace(const char *word)
{
    return ptrace(PTRACE_ATTACH, (pid_t)number(word), NULL, NULL);
}

static long try_peek(const char *word)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (void *)&try_peek, 1 };

    return process_vm_readv((pid_t)number(word), &here, 1, &there, 1, 0);
}

static void *run_thread(void *arg)
{
    return arg;
}

/* Allowed. */
static long try_thread(const char *word)
{
    pthread_t thread;

    (void)word;
    errno = pthread_create(&thread, NULL, run_thread, NULL);
    return errno == 0 ? -pthread_join(thread, NULL) : -1;
}

static long try_abort(const char *word)
{
    (void)word;
    abort();
}

/* ---- shares ---- */

/* What would change a process's share of the machine, if it said anything else. */
static long try_nice(const char *word)
{
    return setpriority(PRIO_PROCESS, (id_t)number(word), getpriority(PRIO_PROCESS, 0));
}

static long try_policy(const char *word)
{
    return sched_setscheduler((pid_t)number(word), SCHED_OTHER,
                              &(struct sched_param){ .sched_priority = 0 });
}

static long try_param(const char *word)
{
    return sched_setparam((pid_t)number(word), &(struct sched_param){ .sched_priority = 0 });
}

static long try_attr(const char *word)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = { .size = sizeof attr };

    return syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0
               ? -1
               : syscall(SYS_sched_setattr, number(word), &attr, 0);
}

static long try_bind(const char *word)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) != 0
               ? -1
               : sched_setaffinity((pid_t)number(word), sizeof set, &set);
}

static long try_ioprio(const char *word)
{
    return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, number(word), 0);
}

/* The same of all processes of a group, or of a user. */
static long try_nice_group(const char *word)
{
    return setpriority(PRIO_PGRP, (id_t)number(word), getpriority(PRIO_PROCESS, 0));
}

static long try_nice_user(const char *word)
{
    return setpriority(PRIO_USER, (id_t)number(word), getpriority(PRIO_PROCESS, 0));
}

static long try_ioprio_group(const char *word)
{
    return syscall(SYS_ioprio_set, IOPRIO_WHO_PGRP, number(word), 0);
}

static long try_ioprio_user(const char *word)
{
    return syscall(SYS_ioprio_set, IOPRIO_WHO_USER, number(word), 0);
}

#endif
