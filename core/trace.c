/* Notes on who runs, and the signal handlers that complete them. */
#include "trace.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Room for a sanitizer's handler, which runs on this stack after ours. */
#define HANDLER_STACK 131072

static trace_slot nobody;
_Thread_local trace_slot *trace_here = &nobody;
static _Thread_local void *handler_stack;

static struct trace *installed;
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
        SIGNAL(SIGXFSZ) SIGNAL(SIGUSR1) SIGNAL(SIGUSR2)
#undef SIGNAL
    default: return "SIG?";
    }
}
/* clang-format on */

static size_t trace_size(size_t slots)
{
    return sizeof(struct trace) + slots * sizeof(trace_slot);
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
    trace->address = 0;
    trace->culprit = 0;
    trace->finished = 0;
    for (size_t i = 0; i < trace->slot_count; i++)
        trace->slots[i] = 0;
}

void trace_thread(trace_slot *slot)
{
    trace_here = slot != NULL ? slot : &nobody;
}

static void note(int signal, uint64_t address)
{
    int none = 0;

    /* The first crash counts: a second thread may fall while the first is dying. */
    if (!atomic_compare_exchange_strong(&installed->signal, &none, signal))
        return;
    installed->address = address;
    installed->culprit = *trace_here;
}

static void on_fatal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    note(signal, (uint64_t)(uintptr_t)info->si_addr);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        if (fatal_signals[i] == signal)
            sigaction(signal, &before[i], NULL);
    /* A fault strikes again on return, now with the handler from before; a sent signal and a trap do
     * not. */
    if (info->si_code <= 0 || signal == SIGTRAP || signal == SIGSYS)
        raise(signal);
}

static void on_exit_call(void)
{
    /* A child that a plugin forked exits too, and means nothing. */
    if (installed != NULL && getpid() == installed_by && !installed->finished &&
        installed->culprit == 0)
        installed->culprit = *trace_here;
}

void trace_install(struct trace *trace)
{
    struct sigaction action = { .sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    installed = trace;
    installed_by = getpid();
    sigemptyset(&action.sa_mask);
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

    /* _exit() and SIGKILL leave no note: then it is known only where a single thread was in one. */
    if (culprit == 0 && trace->signal == 0) {
        size_t busy = 0;
        for (size_t i = 0; i < trace->slot_count; i++) {
            uint32_t slot = trace->slots[i];
            if (slot != 0) {
                culprit = slot;
                busy++;
            }
        }
        if (busy != 1)
            culprit = 0;
    }
    *callback = (enum callback)(culprit & 0xff);
    return (int)(culprit >> 8) - 1;
}
