/* Which callback of which service each thread is in, in memory that master and worker share: so that a
 * worker that dies, by whatever means, leaves behind who was running. Entering and leaving a callback
 * is one store each. */
#ifndef TRACE_H
#define TRACE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Every callback of the contract, and the opening of a plugin (its constructors). */
/* clang-format off */
#define CALLBACKS(CALLBACK)                                                                        \
    CALLBACK(open) CALLBACK(check) CALLBACK(start) CALLBACK(stop) CALLBACK(loop_start)             \
    CALLBACK(loop_stop) CALLBACK(on_open) CALLBACK(on_data) CALLBACK(on_message) CALLBACK(on_eof)  \
    CALLBACK(on_drained) CALLBACK(on_timer) CALLBACK(on_event) CALLBACK(on_drain)                  \
    CALLBACK(on_close) CALLBACK(on_datagram)
/* clang-format on */

enum callback {
    CALLBACK_NONE,
#define CALLBACK_ENUM(name) CALLBACK_##name,
    CALLBACKS(CALLBACK_ENUM)
#undef CALLBACK_ENUM
};

/* The name of a callback, such as `on_data`; NULL for CALLBACK_NONE and unknown numbers. */
const char *callback_name(unsigned callback);

/* (service index + 1) << 8 | callback; 0 outside of callbacks. */
typedef _Atomic uint32_t trace_slot;

/* What a worker leaves for the master. Shared memory; zeroed before each start. */
struct trace {
    _Atomic int signal;       /* that killed it; 0: none was caught */
    _Atomic uint64_t address; /* of the fault */
    _Atomic uint32_t culprit; /* the slot of the thread that crashed or called exit() */
    _Atomic int finished;     /* it ended in good order */
    size_t slot_count;
    trace_slot slots[]; /* one for each loop, and the last for the worker's main thread */
};

/* `SIGSEGV`; `SIG?` for one without a name. A static string. */
const char *trace_signal_name(int signal);

/* Zeroed shared memory for a worker with that many loops; NULL without memory. */
struct trace *trace_create(size_t loops);
void trace_destroy(struct trace *trace);
void trace_reset(struct trace *trace);

/* The slot of the running thread; trace_thread() sets it. Never NULL. */
extern _Thread_local trace_slot *trace_here;
void trace_thread(trace_slot *slot);

static inline void trace_enter(uint32_t service, enum callback callback)
{
    atomic_store_explicit(trace_here, (service + 1) << 8 | (uint32_t)callback,
                          memory_order_relaxed);
}

static inline void trace_leave(void)
{
    atomic_store_explicit(trace_here, 0, memory_order_relaxed);
}

/* In a worker, once: signal handlers and an exit hook that note down the culprit in trace. Handlers that
 * were there before (a sanitizer's) run afterwards. */
void trace_install(struct trace *trace);
void trace_uninstall(void);

/* In each thread that runs plugin code: a stack of its own for the signal handler, so that a stack
 * overflow is noted too. Returns 0 or -ENOMEM. The memory is given back by trace_thread_end(). */
int trace_thread_stack(void);
void trace_thread_end(void);

/* Who is to blame, from what was noted or, failing that, from the only thread that was in a callback:
 * returns the service's index or -1, and the callback. */
int trace_blame(const struct trace *trace, enum callback *callback);

#endif
