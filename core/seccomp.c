/* A filter of system calls, as a small program for the kernel.
 *
 * It lists what is denied, since what plugins' libraries use is not ours to know. A call that is denied
 * fails with EPERM and kills nobody. Calls that are decided by their number alone cost nothing: the kernel
 * remembers the answer, and so the calls of the hot path must never get a rule about their arguments. */
#include "seccomp.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
/* The x32 calls have the same architecture and numbers of their own, from here on. */
#define FOREIGN_NUMBERS 0x40000000u
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* The leak checker of AddressSanitizer traces its process from another. */
#ifdef __SANITIZE_ADDRESS__
#define TRACED 1
#else
#define TRACED 0
#endif

#ifdef ARCHITECTURE

#define PROGRAM_MAX 512

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short len;
};

static void add(struct program *program, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
    if (program->len < PROGRAM_MAX)
        program->code[program->len++] =
            (struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(struct program *program, uint32_t what)
{
    add(program, BPF_RET | BPF_K, 0, 0, what);
}

#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define LACK (SECCOMP_RET_ERRNO | ENOSYS)

/* ---- calls that are denied whatever their arguments are ---- */

/* Numbers that Debian 12's header lacks are the same on every architecture. */
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
#ifndef SYS_fsmount
#define SYS_fsmount 432
#endif

static const int denied[] = {
    /* Other ways to make system calls. */
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    /* Other programs. */
    SYS_execve,
    SYS_execveat,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    /* Other processes. */
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_kcmp,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    /* Another user, other rights, another view of the system. */
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    SYS_setns,
    SYS_personality,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    /* File systems; and files by their handle, which no path leads to. */
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_open_tree_attr,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_fanotify_init,
    SYS_swapon,
    SYS_swapoff,
    /* The kernel: its code, its clocks, its messages, and where its bugs were. */
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_reboot,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_acct,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_vhangup,
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
    /* A file in memory can be written through one mapping and executed through another. */
    SYS_memfd_create,
    SYS_memfd_secret,
};

static void deny_numbers(struct program *program)
{
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)denied[i]);
        answer(program, DENY);
    }
#if !TRACED
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_ptrace);
    answer(program, DENY);
#endif
    /* Its flags lie in memory, where no filter can look. The C library then uses clone. */
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3);
    answer(program, LACK);
}

/* ---- calls that are decided by an argument ---- */

/* Of a call, an argument's low half; flags and numbers lie there, and the kernel looks at no more of
 * those that are asked for here. */
static size_t argument(unsigned n)
{
    return offsetof(struct seccomp_data, args) + n * sizeof(uint64_t);
}

/* Begins what is said about one call; returns what end() wants. */
static unsigned short begin(struct program *program, int number)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, (uint32_t)number);
    return program->len;
}

/* Ends it: what has no answer by now gets this one. Other calls jump to behind it. */
static void end(struct program *program, unsigned short start, uint32_t otherwise)
{
    answer(program, otherwise);
    if (start > 0 && start < PROGRAM_MAX)
        program->code[start - 1].jf = (uint8_t)(program->len - start);
}

static void deny_any_bit(struct program *program, uint32_t bits)
{
    add(program, BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
    answer(program, DENY);
}

static void allow_value(struct program *program, uint32_t value)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    answer(program, ALLOW);
}

static void deny_value(struct program *program, uint32_t value)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    answer(program, DENY);
}

static void filter_memory(struct program *program)
{
    /* Executable: only from a file, privately, and never to be written. */
    unsigned short start = begin(program, SYS_mmap);
    load(program, argument(2));
    add(program, BPF_JMP | BPF_JSET | BPF_K, 1, 0, PROT_EXEC);
    answer(program, ALLOW);
    deny_any_bit(program, PROT_WRITE);
    load(program, argument(3));
    deny_any_bit(program, MAP_SHARED | MAP_ANONYMOUS);
    end(program, start, ALLOW);

    static const int protects[] = { SYS_mprotect, SYS_pkey_mprotect };
    for (size_t i = 0; i < 2; i++) {
        start = begin(program, protects[i]);
        load(program, argument(2));
        deny_any_bit(program, PROT_EXEC);
        end(program, start, ALLOW);
    }
    start = begin(program, SYS_shmat);
    load(program, argument(2));
    deny_any_bit(program, SHM_EXEC);
    end(program, start, ALLOW);
}

static void filter_processes(struct program *program)
{
    uint32_t self = (uint32_t)getpid();
    unsigned short start;

#if !TRACED
    start = begin(program, SYS_clone);
    load(program, argument(0));
    add(program, BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_THREAD);
    answer(program, ALLOW);
    end(program, start, DENY);
#endif
    /* Of what can be had alone, only a table of descriptors: worker_orders.c. */
    start = begin(program, SYS_unshare);
    load(program, argument(0));
    allow_value(program, CLONE_FILES);
    end(program, start, DENY);

    static const int signals[] = { SYS_kill, SYS_tgkill };
    for (size_t i = 0; i < 2; i++) {
        start = begin(program, signals[i]);
        load(program, argument(0));
        allow_value(program, self);
        end(program, start, DENY);
    }
    start = begin(program, SYS_prlimit64);
    load(program, argument(0));
    allow_value(program, 0);
    allow_value(program, self);
    end(program, start, DENY);

    /* Of threads only the calling one, 0: of other numbers the filter cannot tell whose they are. */
    static const int by_thread[] = { SYS_sched_setattr, SYS_sched_setscheduler, SYS_sched_setparam,
                                     SYS_sched_setaffinity };
    for (size_t i = 0; i < sizeof by_thread / sizeof *by_thread; i++) {
        start = begin(program, by_thread[i]);
        load(program, argument(0));
        allow_value(program, 0);
        end(program, start, DENY);
    }
    /* The first argument says whose number the second one is. */
    static const struct {
        int number;
        uint32_t thread;
    } by_kind[] = { { SYS_setpriority, PRIO_PROCESS }, { SYS_ioprio_set, IOPRIO_WHO_PROCESS } };
    for (size_t i = 0; i < sizeof by_kind / sizeof *by_kind; i++) {
        start = begin(program, by_kind[i].number);
        load(program, argument(0));
        add(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, by_kind[i].thread);
        answer(program, DENY);
        load(program, argument(1));
        allow_value(program, 0);
        end(program, start, DENY);
    }
    /* Typing into the terminal that the log may be. */
    start = begin(program, SYS_ioctl);
    load(program, argument(1));
    deny_value(program, TIOCSTI);
    deny_value(program, TIOCLINUX);
    end(program, start, ALLOW);
}

/* One kind of Internet sockets; family is what was loaded. The protocol is said or 0: another one of the
 * same type (MPTCP) would not be seen by Landlock. */
static void allow_internet(struct program *program, uint32_t family, uint32_t type,
                           uint32_t protocol)
{
    load(program, argument(0));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 7, family);
    load(program, argument(1));
    add(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf); /* behind it are SOCK_NONBLOCK and so on */
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, type);
    load(program, argument(2));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, protocol);
    answer(program, ALLOW);
}

static void filter_sockets(struct program *program, const struct seccomp_sockets *sockets)
{
    static const uint32_t families[] = { AF_INET, AF_INET6 };
    unsigned short start = begin(program, SYS_socket);

    for (size_t i = 0; i < 2; i++) {
        if (sockets->tcp)
            allow_internet(program, families[i], SOCK_STREAM, 6);
        if (sockets->udp)
            allow_internet(program, families[i], SOCK_DGRAM, 17);
    }
    load(program, argument(0));
    if (sockets->local)
        allow_value(program, AF_UNIX);
    if (sockets->tcp || sockets->udp) {
        /* Looking up names asks for the machine's addresses (NETLINK_ROUTE). */
        add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AF_NETLINK);
        load(program, argument(2));
        allow_value(program, 0);
    }
    end(program, start, DENY);
    /* Nothing but what was accepted could be connected: to someone else, after it was disconnected. */
    if (!sockets->tcp && !sockets->udp && !sockets->local)
        end(program, begin(program, SYS_connect), DENY);
    if (!sockets->tcp)
        return;
    /* Connects without connect(), which Landlock does not see. */
    static const int sends[] = { SYS_sendto, SYS_sendmsg, SYS_sendmmsg };
    static const unsigned places[] = { 3, 2, 3 };
    for (size_t i = 0; i < 3; i++) {
        start = begin(program, sends[i]);
        load(program, argument(places[i]));
        deny_any_bit(program, MSG_FASTOPEN);
        end(program, start, ALLOW);
    }
}

/* ---- the whole ---- */

static void build(struct program *program, const struct seccomp_sockets *sockets)
{
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
    answer(program, DENY);
    load(program, offsetof(struct seccomp_data, nr));
#ifdef FOREIGN_NUMBERS
    add(program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, FOREIGN_NUMBERS);
    answer(program, DENY);
#endif
    deny_numbers(program);
    filter_memory(program);
    filter_processes(program);
    filter_sockets(program, sockets);
    answer(program, ALLOW);
}

/* Asked once, by the master, like Landlock's. */
bool seccomp_is_there(void)
{
    static int there = -1;
    uint32_t action = SECCOMP_RET_ERRNO;

    if (there < 0)
        there = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    return there != 0;
}

int seccomp_enter(const struct seccomp_sockets *sockets)
{
    struct program program = { .len = 0 };

    if (!seccomp_is_there())
        return 0;
    build(&program, sockets);
    if (program.len == PROGRAM_MAX)
        return -E2BIG;
    struct sock_fprog all = { .len = program.len, .filter = program.code };
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all) != 0 ? -errno : 0;
}

#else

bool seccomp_is_there(void)
{
    return false;
}

int seccomp_enter(const struct seccomp_sockets *sockets)
{
    (void)sockets;
    return 0;
}

#endif
