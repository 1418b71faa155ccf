/* Datagram sockets and their memory, from the start to the drain. */
#include "container.h"
#include "datagram_batch.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#define BATCH_MEMORY ((size_t)BATCH * STRIDE + ARENA)

/* Batches that a leaving worker still handles, so that a flood cannot keep it. */
#define DRAIN_BATCHES 4096

struct datagram_batch *datagram_batch_create(struct loop *loop, const struct sockets *sockets)
{
    struct datagram_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->loop = loop;
    reflection_init(&batch->reflection, sockets);
    batch->task.run = datagram_flush_task;
    /* Shared (with nobody), so that it does not count as the services' max_memory. */
    batch->input = mmap(NULL, BATCH_MEMORY, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (batch->input == MAP_FAILED) {
        free(batch);
        return NULL;
    }
    batch->arena = batch->input + (size_t)BATCH * STRIDE;
    for (unsigned i = 0; i < BATCH; i++) {
        batch->in_parts[i] =
            (struct iovec){ .iov_base = batch->input + (size_t)i * STRIDE, .iov_len = SLOT };
        batch->in_headers[i].msg_hdr = (struct msghdr){ .msg_name = &batch->in_names[i],
                                                        .msg_iov = &batch->in_parts[i],
                                                        .msg_iovlen = 1,
                                                        .msg_control = &batch->in_controls[i] };
        batch->out_headers[i].msg_hdr.msg_control = &batch->out_controls[i];
    }
    datagram_make_ready(batch, BATCH);
    return batch;
}

void datagram_batch_free(struct datagram_batch *batch)
{
    if (batch == NULL)
        return;
    munmap(batch->input, BATCH_MEMORY);
    free(batch);
}

static bool is_unspecified(const enchufe_address *address)
{
    static const uint8_t zero[16];

    return memcmp(address->ip, zero, address->family == ENCHUFE_FAMILY_IPV4 ? 4 : 16) == 0;
}

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* What each datagram of a wildcard socket tells, and whether the system lets us send to the broadcast
 * addresses of its networks, which it knows better than we do. */
static bool set_options(const struct datagram_socket *socket, int fd)
{
    return set_option(fd, SOL_SOCKET, SO_BROADCAST, socket->trusted) &&
           (!socket->wildcard || set_option(fd, IPPROTO_IP, IP_PKTINFO, 1)) &&
           (!socket->wildcard || !socket->as_ipv6 ||
            set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
}

static void ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    datagram_handle_batch(CONTAINER_OF(source, struct datagram_socket, source));
}

/* An earlier generation may have switched it on. */
static bool has_bursts(int fd)
{
    int on = 0;
    socklen_t len = sizeof on;

    return getsockopt(fd, SOL_UDP, UDP_GRO, &on, &len) == 0 && on;
}

int datagram_start(struct datagram_socket *socket, struct enchufe_loop *at,
                   struct datagram_batch *batch, int fd, uint32_t number,
                   const struct bound_endpoint *bound, const _Atomic unsigned char *gone)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return -errno;
    *socket = (struct datagram_socket){
        .source = { .fd = fd, .ready = ready, .set = share_set(&at->share) },
        .at = at,
        .batch = batch,
        .next = at->udp,
        .endpoint = number,
        .gone = gone,
        .as_ipv6 = address.ss_family == AF_INET6,
        .trusted = at->service->config->limits.trust_source_ports,
    };
    address_from_sockaddr(&socket->bound, (struct sockaddr *)&address);
    socket->wildcard = is_unspecified(&socket->bound);
    socket->to_group =
        !socket->wildcard && (!reflection_is_host(&socket->bound) || bound->broadcast);
    socket->bursts = has_bursts(fd);
    if (bound->listener->foreign)
        socket->runs = DATAGRAM_RUNS; /* whoever has it after us may not know bursts */
    if (!set_options(socket, fd))
        return -errno;
    at->udp = socket;
    return loop_watch(at->loop, &socket->source, EPOLLIN);
}

void datagram_drain(struct datagram_socket *socket)
{
    bool gone = *socket->gone;

    for (int i = 0; gone && i < DRAIN_BATCHES && datagram_handle_batch(socket); i++)
        continue;
    loop_watch(socket->at->loop, &socket->source, 0);
}
