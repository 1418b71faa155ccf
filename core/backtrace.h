/* Where a thread is, for the log: taken by the handler of a fatal signal, from a stack that may be damaged,
 * so nothing here allocates or locks, and each frame is stored as soon as it is known. */
#ifndef BACKTRACE_H
#define BACKTRACE_H

#include <stdint.h>

#define BACKTRACE_MAX 32

struct backtrace_frame {
    uint64_t address;
    uint64_t times;  /* in a row: a recursion is one frame */
    uint64_t offset; /* in the module, as `addr2line -e MODULE` takes it */
    char module[64]; /* "" where the address is in none */
    char symbol[64]; /* "" where it is not known */
};

/* May lie in memory that another process reads after this one's death. */
struct backtrace {
    _Atomic unsigned count;
    struct backtrace_frame frames[BACKTRACE_MAX];
};

/* Once in a process, before backtrace_take(): the unwinder is a library that is loaded when first used. */
void backtrace_prepare(void);

/* The frames of the code that a signal interrupted, innermost first; context is the handler's. Several of
 * them may be missing at the end. */
void backtrace_take(struct backtrace *taken, const void *context);

/* A line for each frame, in the process that outlived it: whatever stands in there is taken as it is. */
void backtrace_log(const struct backtrace *taken, const char *worker, int pid);

#endif
