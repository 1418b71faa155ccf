/* The frames of an interrupted thread: addresses from the unwinder, modules from the dynamic linker, both
 * without locks in glibc 2.35 and later, and names from the modules' own files. */
#include "backtrace.h"
#include "log.h"
#include "symbol.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* The handler's own frames, which come first and are left out. */
#define HANDLER_FRAMES 8

#define PROGRAM "/proc/self/exe"
#define PROGRAM_NAME "enchufe"
/* Where the dynamic linker found plugins: a link to a memory file, which has their name. */
#define MEMORY_FILES "/proc/self/fd/"
#define LINK_START "/memfd:"
#define LINK_END " (deleted)"

/* Where a worker begins: what called this is the master's, which forked it. */
#define OUTERMOST "worker_run"

static uint64_t interrupted_at(const void *context)
{
    const ucontext_t *interrupted = context;

#if defined(__x86_64__)
    return (uint64_t)interrupted->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return interrupted->uc_mcontext.pc;
#else
#error "say where the program counter is"
#endif
}

/* Whoever called an address that is none: nothing was pushed since. */
static uint64_t caller_of_nowhere(const void *context)
{
    const ucontext_t *interrupted = context;

#if defined(__x86_64__)
    return *(const uint64_t *)interrupted->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return interrupted->uc_mcontext.regs[30];
#endif
}

static const struct link_map *module_of(uint64_t address)
{
    struct dl_find_object found;

    return _dl_find_object((void *)(uintptr_t)address, &found) == 0 ? found.dlfo_link_map : NULL;
}

static void copy_text(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size)
        len = size - 1;
    memcpy(to, from, len);
    to[len] = '\0';
}

static void name_module(struct backtrace_frame *frame, const char *path)
{
    char target[256];
    ssize_t len;

    if (strncmp(path, MEMORY_FILES, strlen(MEMORY_FILES)) == 0 &&
        (len = readlink(path, target, sizeof target - 1)) > 0) {
        size_t start = strlen(LINK_START), end = strlen(LINK_END), n = (size_t)len;
        target[n] = '\0';
        if (n > start + end && strncmp(target, LINK_START, start) == 0) {
            copy_text(frame->module, sizeof frame->module, target + start, n - start - end);
            return;
        }
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    copy_text(frame->module, sizeof frame->module, name, strlen(name));
}

/* at: the instruction, or one byte of it. Returns whether it is in a module. */
static bool add(struct backtrace *taken, uint64_t at)
{
    unsigned count = taken->count;
    const struct link_map *module = module_of(at);

    if (count > 0 && taken->frames[count - 1].address == at) {
        taken->frames[count - 1].times++;
        return true;
    }
    if (count == BACKTRACE_MAX)
        return false;
    struct backtrace_frame *frame = &taken->frames[count];
    *frame = (struct backtrace_frame){ .address = at, .times = 1 };
    if (module != NULL) {
        frame->offset = at - module->l_addr;
        name_module(frame, *module->l_name != '\0' ? module->l_name : PROGRAM_NAME);
    }
    taken->count = count + 1;
    return module != NULL;
}

/* Last, because it reads files that nobody checked. */
static void name_symbols(struct backtrace *taken)
{
    for (unsigned i = 0; i < taken->count; i++) {
        struct backtrace_frame *frame = &taken->frames[i];
        const struct link_map *module = module_of(frame->address);
        const char *file = module == NULL ? "" : *module->l_name ? module->l_name : PROGRAM;
        if (*file == '/')
            symbol_find(file, frame->offset, frame->symbol, sizeof frame->symbol);
    }
}

void backtrace_prepare(void)
{
    void *one[1];

    backtrace(one, 1);
}

void backtrace_take(struct backtrace *taken, const void *context)
{
    void *stack[HANDLER_FRAMES + BACKTRACE_MAX];
    uint64_t at = interrupted_at(context);

    taken->count = 0;
    if (!add(taken, at)) {
        add(taken, caller_of_nowhere(context) - 1);
    } else {
        int n = backtrace(stack, HANDLER_FRAMES + BACKTRACE_MAX), i = 0;
        while (i < n && (uint64_t)(uintptr_t)stack[i] != at)
            i++;
        /* A return address is behind its call, which may be the last thing in its function. */
        for (i++; i < n; i++)
            add(taken, (uint64_t)(uintptr_t)stack[i] - 1);
    }
    name_symbols(taken);
}

void backtrace_log(const struct backtrace *taken, const char *worker, int pid)
{
    bool outermost = false;

    for (unsigned i = 0; i < taken->count && i < BACKTRACE_MAX && !outermost; i++) {
        struct backtrace_frame frame = taken->frames[i];
        char where[32];
        bool known = *frame.module != '\0';
        frame.module[sizeof frame.module - 1] = frame.symbol[sizeof frame.symbol - 1] = '\0';
        snprintf(where, sizeof where, "0x%llx",
                 (unsigned long long)(known ? frame.offset : frame.address));
        const struct log_field fields[] = {
            LOG_STR("worker", worker),
            LOG_INT("pid", pid),
            LOG_NUM("n", i),
            LOG_STR("module", known ? frame.module : NULL),
            LOG_STR(known ? "offset" : "address", where),
            LOG_STR("symbol", *frame.symbol != '\0' ? frame.symbol : NULL),
            LOG_NUM("times", frame.times), /* last, and left out where it is 1 */
        };
        size_t count = sizeof fields / sizeof *fields;
        outermost = strcmp(frame.symbol, OUTERMOST) == 0 && strcmp(frame.module, PROGRAM_NAME) == 0;
        log_write(ENCHUFE_LOG_ERROR, "frame", fields, frame.times > 1 ? count : count - 1);
    }
}
