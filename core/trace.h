/* Which callback of which service each thread is in, in memory that master and worker share: so that a
 * worker that dies, by whatever means, leaves behind who was running, and so that its watchdog sees a
 * callback that does not return. Entering and leaving a callback is one load and one store each. */
#ifndef TRACE_H
#define TRACE_H

#include "backtrace.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Every callback of the contract, and the opening of a plugin: its constructors, then reading its tables. */
/* clang-format off */
#define CALLBACKS(CALLBACK)                                                                        \
    CALLBACK(open) CALLBACK(check) CALLBACK(start) CALLBACK(stop) CALLBACK(loop_start)             \
    CALLBACK(loop_stop) CALLBACK(on_open) CALLBACK(on_data) CALLBACK(on_message) CALLBACK(on_eof)  \
    CALLBACK(on_drained) CALLBACK(on_timer) CALLBACK(on_event) CALLBACK(on_drain)                  \
    CALLBACK(on_close) CALLBACK(on_datagram) CALLBACK(tables)
/* clang-format on */

enum callback {
    CALLBACK_NONE,
#define CALLBACK_ENUM(name) CALLBACK_##name,
    CALLBACKS(CALLBACK_ENUM)
#undef CALLBACK_ENUM
};

/* The name of a callback, such as `on_data`; NULL for CALLBACK_NONE and unknown numbers. */
const char *callback_name(unsigned callback);

/* What a thread runs. The low half is (service index + 1) << 8 | callback, and 0 outside of callbacks; the
 * high half counts the thread's callbacks, so that a long one can be told from many short ones. A cache
 * line for each thread: all are written all the time. */
struct trace_slot {
    _Alignas(64) _Atomic uint64_t now;
};

#define TRACE_COUNT_SHIFT 32

/* The service's index, or -1 outside of callbacks, and the callback. */
static inline int trace_service(uint64_t slot)
{
    return (int)((slot & UINT32_MAX) >> 8) - 1;
}

static inline enum callback trace_callback(uint64_t slot)
{
    return (enum callback)(slot & 0xff);
}

/* What a worker leaves for the master. Shared memory; zeroed before each start. */
struct trace {
    _Atomic int signal;      /* that killed it; 0: none was caught */
    _Atomic int has_address; /* it was a fault, and the system told of what address */
    _Atomic uint64_t address;
    _Atomic uint32_t culprit;   /* low half of the slot of who crashed, called exit() or is stuck */
    _Atomic uint64_t stuck_ms;  /* the watchdog ended it; for so long the culprit had been stuck */
    _Atomic int finished;       /* it ended in good order */
    struct backtrace backtrace; /* of the thread that crashed or is stuck */
    size_t slot_count;
    struct trace_slot slots[]; /* one for each loop, and the last for the worker's main thread */
};

/* `SIGSEGV`; `SIG?` for one without a name. A static string. */
const char *trace_signal_name(int signal);

/* Zeroed shared memory for a worker with that many loops; NULL without memory. */
struct trace *trace_create(size_t loops);
void trace_destroy(struct trace *trace);
void trace_reset(struct trace *trace);

/* The slot of the running thread; trace_thread() sets it. Never NULL. */
extern _Thread_local struct trace_slot *trace_here;
void trace_thread(struct trace_slot *slot);

/* Nobody else writes to the slot, so a load and a store will do. */
static inline void trace_enter(uint32_t service, enum callback callback)
{
    struct trace_slot *slot = trace_here;
    uint64_t before = atomic_load_explicit(&slot->now, memory_order_relaxed);
    uint64_t what = (uint64_t)(service + 1) << 8 | (uint64_t)callback;

    /* One more in the high half, whatever stands in the low one. */
    atomic_store_explicit(&slot->now, (before | UINT32_MAX) + 1 + what, memory_order_relaxed);
}

/* The same service, in what comes next. */
static inline void trace_go_on(enum callback callback)
{
    uint64_t before = atomic_load_explicit(&trace_here->now, memory_order_relaxed);

    atomic_store_explicit(&trace_here->now, (before & ~UINT64_C(0xff)) | (uint64_t)callback,
                          memory_order_relaxed);
}

static inline void trace_leave(void)
{
    uint64_t before = atomic_load_explicit(&trace_here->now, memory_order_relaxed);

    atomic_store_explicit(&trace_here->now, before >> TRACE_COUNT_SHIFT << TRACE_COUNT_SHIFT,
                          memory_order_relaxed);
}

/* In a worker, once: signal handlers and an exit hook that note down the culprit in trace, and the stack.
 * Handlers that were there before (a sanitizer's) run afterwards. */
void trace_install(struct trace *trace);
void trace_uninstall(void);

/* In each thread that runs plugin code: a stack of its own for the signal handler, so that a stack
 * overflow is noted too. Returns 0 or -ENOMEM. The memory is given back by trace_thread_end(). */
int trace_thread_stack(void);
void trace_thread_end(void);

/* Ends this process because the thread has been stuck for that long: by SIGABRT in that thread, so that
 * its stack is noted and a core file begins there; where it does not come to that, by SIGKILL. */
_Noreturn void trace_end_stuck(pthread_t thread, uint64_t slot, uint64_t ms);

/* Who is to blame, from what was noted or, failing that, from the only thread that was in a callback:
 * returns the service's index or -1, and the callback. */
int trace_blame(const struct trace *trace, enum callback *callback);

#endif
