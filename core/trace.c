/* Notes on who runs, and the signal handlers that complete them. */
#include "trace.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Room for a sanitizer's handler, which runs on this stack after ours. */
#define HANDLER_STACK 131072

/* How long a thread may take to note its stack, once told to. */
#define NOTE_MS 200

static struct trace_slot nobody;
_Thread_local struct trace_slot *trace_here = &nobody;
static _Thread_local void *handler_stack;

static struct trace *installed;
static atomic_bool noted;
static pid_t installed_by;
static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
#define FATAL_COUNT (sizeof fatal_signals / sizeof *fatal_signals)
static struct sigaction before[FATAL_COUNT];

const char *callback_name(unsigned callback)
{
#define CALLBACK_NAME(name) [CALLBACK_##name] = #name,
    static const char *const names[] = { CALLBACKS(CALLBACK_NAME) };
#undef CALLBACK_NAME
    return callback < sizeof names / sizeof *names ? names[callback] : NULL;
}

/* clang-format off */
const char *trace_signal_name(int signal)
{
    switch (signal) {
#define SIGNAL(name) case name: return #name;
        SIGNAL(SIGSEGV) SIGNAL(SIGBUS) SIGNAL(SIGILL) SIGNAL(SIGFPE) SIGNAL(SIGABRT)
        SIGNAL(SIGTRAP) SIGNAL(SIGSYS) SIGNAL(SIGKILL) SIGNAL(SIGTERM) SIGNAL(SIGINT)
        SIGNAL(SIGQUIT) SIGNAL(SIGHUP) SIGNAL(SIGPIPE) SIGNAL(SIGALRM) SIGNAL(SIGXCPU)
        SIGNAL(SIGXFSZ) SIGNAL(SIGUSR1) SIGNAL(SIGUSR2) SIGNAL(SIGSTOP) SIGNAL(SIGTSTP)
        SIGNAL(SIGTTIN) SIGNAL(SIGTTOU)
#undef SIGNAL
    default: return "SIG?";
    }
}
/* clang-format on */

static size_t trace_size(size_t slots)
{
    return sizeof(struct trace) + slots * sizeof(struct trace_slot);
}

struct trace *trace_create(size_t loops)
{
    size_t slots = loops + 1;
    struct trace *trace =
        mmap(NULL, trace_size(slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trace == MAP_FAILED)
        return NULL;
    trace->slot_count = slots;
    return trace;
}

void trace_destroy(struct trace *trace)
{
    if (trace != NULL)
        munmap(trace, trace_size(trace->slot_count));
}

void trace_reset(struct trace *trace)
{
    trace->signal = 0;
    trace->has_address = 0;
    trace->address = 0;
    trace->culprit = 0;
    trace->stuck_ms = 0;
    trace->finished = 0;
    trace->backtrace.count = 0;
    for (size_t i = 0; i < trace->slot_count; i++)
        trace->slots[i].now = 0;
}

void trace_thread(struct trace_slot *slot)
{
    trace_here = slot != NULL ? slot : &nobody;
}

static uint32_t running(void)
{
    return (uint32_t)atomic_load_explicit(&trace_here->now, memory_order_relaxed);
}

/* What can go wrong in here (a destroyed stack cannot be walked) comes after what must not be lost. */
static void note(int signal, const siginfo_t *info, const void *context)
{
    static const struct timespec ms = { .tv_nsec = 1000000 };
    int none = 0;

    /* The first crash counts. A second thread that falls lets it finish its note. */
    if (!atomic_compare_exchange_strong(&installed->signal, &none, signal)) {
        for (int i = 0; i < NOTE_MS && !noted; i++)
            nanosleep(&ms, NULL);
        return;
    }
    installed->address = (uint64_t)(uintptr_t)info->si_addr;
    installed->has_address = info->si_code > 0 && info->si_code != SI_KERNEL;
    if (installed->stuck_ms == 0)
        installed->culprit = running();
    backtrace_take(&installed->backtrace, context);
    noted = true;
}

/* Whether the same signal comes again when the handler returns. A breakpoint has been passed by then, and
 * a signal that somebody sent was taken. */
static bool strikes_again(int signal, const siginfo_t *info)
{
    return info->si_code > 0 &&
           (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE);
}

static void on_fatal(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        if (fatal_signals[i] == signal)
            sigaction(signal, &before[i], NULL);
    if (!strikes_again(signal, info))
        raise(signal);
}

_Noreturn void trace_end_stuck(pthread_t thread, uint64_t slot, uint64_t ms)
{
    static const struct timespec patience = { .tv_nsec = NOTE_MS * 1000000 };

    installed->culprit = (uint32_t)slot;
    installed->stuck_ms = ms;
    pthread_kill(thread, SIGABRT);
    nanosleep(&patience, NULL);
    for (;;)
        kill(getpid(), SIGKILL);
}

static void on_exit_call(void)
{
    /* A child that a plugin forked exits too, and means nothing. */
    if (installed != NULL && getpid() == installed_by && !installed->finished &&
        installed->culprit == 0)
        installed->culprit = running();
}

void trace_install(struct trace *trace)
{
    struct sigaction action = { .sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    installed = trace;
    installed_by = getpid();
    backtrace_prepare();
    /* Without its handler, a crash within the handler ends the process at once. */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaddset(&action.sa_mask, fatal_signals[i]);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_signals[i], &action, &before[i]);
    atexit(on_exit_call);
}

int trace_thread_stack(void)
{
    void *memory = malloc(HANDLER_STACK);
    stack_t stack = { .ss_sp = memory, .ss_size = HANDLER_STACK };

    if (memory == NULL)
        return -ENOMEM;
    sigaltstack(&stack, NULL);
    handler_stack = memory;
    return 0;
}

void trace_thread_end(void)
{
    stack_t none = { .ss_flags = SS_DISABLE };

    if (handler_stack != NULL)
        sigaltstack(&none, NULL);
    free(handler_stack);
    handler_stack = NULL;
}

void trace_uninstall(void)
{
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal_signals[i], &before[i], NULL);
    installed = NULL;
}

int trace_blame(const struct trace *trace, enum callback *callback)
{
    uint32_t culprit = trace->culprit;

    /* _exit() and SIGKILL leave no note: then it is known only where all threads that were in a callback
     * were in the same one. */
    if (culprit == 0 && trace->signal == 0) {
        bool several = false;
        for (size_t i = 0; i < trace->slot_count; i++) {
            uint32_t slot = (uint32_t)trace->slots[i].now;
            several = several || (slot != 0 && culprit != 0 && slot != culprit);
            if (slot != 0)
                culprit = slot;
        }
        if (several)
            culprit = 0;
    }
    *callback = trace_callback(culprit);
    return trace_service(culprit);
}
