/* Tries through io_uring what the plugin `trespass` tries with system calls. A line is a command:
 *   open PATH    write PATH    tcp PORT    mptcp PORT    udp PORT    fastopen PORT    datagram PORT
 *   (of 127.0.0.1)             abstract NAME
 * and the answer `done`, or the name of the error; `ring ` before it where there is no ring. Each is tried at
 * once, and by a thread of the kernel's. The calls are made here, since a library might look first. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define ENTRIES 4

struct ring {
    int fd;
    size_t size;
    struct io_uring_params params;
    char *queues; /* both */
    struct io_uring_sqe *entries;
};

static int ring_open(struct ring *ring)
{
    *ring = (struct ring){ .fd = -1 };
    ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring->params);
    if (ring->fd < 0)
        return -errno;
    ring->size =
        ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe) + 4096;
    ring->queues = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                        ring->fd, IORING_OFF_SQ_RING);
    ring->entries = mmap(NULL, ENTRIES * sizeof *ring->entries, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
    return ring->queues == MAP_FAILED || ring->entries == MAP_FAILED ? -errno : 0;
}

static void ring_close(struct ring *ring)
{
    if (ring->entries != NULL && ring->entries != MAP_FAILED)
        munmap(ring->entries, ENTRIES * sizeof *ring->entries);
    if (ring->queues != NULL && ring->queues != MAP_FAILED)
        munmap(ring->queues, ring->size);
    if (ring->fd >= 0)
        close(ring->fd);
}

/* A word of the memory that is shared with the kernel. */
static _Atomic uint32_t *word_at(const struct ring *ring, uint32_t offset)
{
    return (_Atomic uint32_t *)(void *)(ring->queues + offset);
}

/* Hands in one entry and waits for what becomes of it. */
static int ring_carry_out(struct ring *ring, const struct io_uring_sqe *entry)
{
    const struct io_sqring_offsets *sq = &ring->params.sq_off;
    const struct io_cqring_offsets *cq = &ring->params.cq_off;
    uint32_t tail = atomic_load(word_at(ring, sq->tail));
    uint32_t at = tail & atomic_load(word_at(ring, sq->ring_mask));

    ring->entries[at] = *entry;
    atomic_store(word_at(ring, sq->array + at * (uint32_t)sizeof at), at);
    atomic_store(word_at(ring, sq->tail), tail + 1);
    if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -errno;
    uint32_t head = atomic_load(word_at(ring, cq->head));
    if (head == atomic_load(word_at(ring, cq->tail)))
        return -EAGAIN;
    const struct io_uring_cqe *done = (void *)(ring->queues + cq->cqes);
    int result = done[head & atomic_load(word_at(ring, cq->ring_mask))].res;
    atomic_store(word_at(ring, cq->head), head + 1);
    return result;
}

/* Denied only where both ways are. */
static int both_ways(struct ring *ring, struct io_uring_sqe entry)
{
    int result = ring_carry_out(ring, &entry);

    entry.flags = IOSQE_ASYNC;
    return result < 0 ? ring_carry_out(ring, &entry) : result;
}

static int try_open(struct ring *ring, const char *path, int flags)
{
    int fd = both_ways(ring, (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT,
                                                    .fd = AT_FDCWD,
                                                    .addr = (uintptr_t)path,
                                                    .len = 0600,
                                                    .open_flags = (uint32_t)flags });

    if (fd >= 0)
        close(fd);
    return fd;
}

/* The ring makes the socket as well; a kernel before 5.19 cannot. */
static int make_socket(struct ring *ring, int family, int type, int protocol)
{
    int fd = ring_carry_out(ring, &(struct io_uring_sqe){ .opcode = IORING_OP_SOCKET,
                                                          .fd = family,
                                                          .off = (unsigned)(type | SOCK_CLOEXEC),
                                                          .len = (uint32_t)protocol });

    return fd != -EINVAL ? fd : socket(family, type | SOCK_CLOEXEC, protocol);
}

static int try_connect(struct ring *ring, int fd, const void *address, size_t size)
{
    if (fd < 0)
        return fd;
    int result = both_ways(
        ring, (struct io_uring_sqe){
                  .opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)address, .off = size });
    close(fd);
    return result;
}

static int try_send(struct ring *ring, int fd, void *address, size_t size, int flags)
{
    struct iovec text = { (void *)"x", 1 };
    const struct msghdr header = {
        .msg_name = address, .msg_namelen = (socklen_t)size, .msg_iov = &text, .msg_iovlen = 1
    };

    if (fd < 0)
        return fd;
    int result = both_ways(ring, (struct io_uring_sqe){ .opcode = IORING_OP_SENDMSG,
                                                        .fd = fd,
                                                        .addr = (uintptr_t)&header,
                                                        .len = 1,
                                                        .msg_flags = (uint32_t)flags });
    close(fd);
    return result;
}

static int try_abstract(struct ring *ring, const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", name);
    return try_connect(ring, make_socket(ring, AF_UNIX, SOCK_STREAM, 0), &address,
                       offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

/* Returns -EINVAL for what it does not know. */
static int try_internet(struct ring *ring, const char *command, const char *port)
{
    static const struct {
        const char *command;
        int type, protocol;
        bool send;
        int flags;
    } ways[] = {
        { "tcp", SOCK_STREAM, 0, false, 0 },    { "mptcp", SOCK_STREAM, 262, false, 0 },
        { "udp", SOCK_DGRAM, 0, false, 0 },     { "fastopen", SOCK_STREAM, 0, true, MSG_FASTOPEN },
        { "datagram", SOCK_DGRAM, 0, true, 0 },
    };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)strtol(port, NULL, 10)),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(command, ways[i].command) != 0)
            continue;
        int fd = make_socket(ring, AF_INET, ways[i].type, ways[i].protocol);
        return ways[i].send ? try_send(ring, fd, &address, sizeof address, ways[i].flags)
                            : try_connect(ring, fd, &address, sizeof address);
    }
    return -EINVAL;
}

static int carry_out(struct ring *ring, const char *command, const char *word)
{
    if (strcmp(command, "open") == 0)
        return try_open(ring, word, O_RDONLY | O_CLOEXEC);
    if (strcmp(command, "write") == 0)
        return try_open(ring, word, O_WRONLY | O_CREAT | O_CLOEXEC);
    if (strcmp(command, "abstract") == 0)
        return try_abstract(ring, word);
    return try_internet(ring, command, word);
}

static const enchufe_framing lines = { .type = ENCHUFE_FRAMING_LINE, .max = 400 };

static void ring_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    char line[401], answer[64];
    struct ring ring;

    memcpy(line, data, len);
    line[len] = '\0';
    char *word = strchr(line, ' ');
    if (word != NULL)
        *word++ = '\0';
    int none = ring_open(&ring);
    int result = none != 0 ? none : carry_out(&ring, line, word != NULL ? word : "");
    ring_close(&ring);
    const char *name = result < 0 ? strerrorname_np(-result) : "done";
    int n = snprintf(answer, sizeof answer, "%s%s\n", none != 0 ? "ring " : "",
                     name != NULL ? name : "unknown");
    enchufe_write(conn, answer, (size_t)n);
}

ENCHUFE_PLUGIN(.name = "ring", .summary = "tries what it must not, through io_uring",
               .framing = &lines, .on_message = ring_on_message);
