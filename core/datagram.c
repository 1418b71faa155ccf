/* Datagram sockets: recvmmsg, the plugin's on_datagram for each, sendmmsg.
 *
 * A reply that is (a part of) the datagram itself is sent from where it was received; any other is
 * copied into the batch's arena. Both end with the batch. */
#include "datagram.h"
#include "amplification.h"
#include "container.h"
#include "datagram_refusal.h"
#include "log.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#define BATCH 64
#define DATAGRAM_MAX 65507
#define SLOT 65536
#define ARENA (4 * (size_t)SLOT)

/* Batches that a leaving worker still handles, so that a flood cannot keep it. */
#define DRAIN_BATCHES 4096

/* In enchufe_route.flags: what came was sent to multicast or broadcast, and is not answered from there. */
#define ROUTE_OF_GROUP 1u

/* Room for both: a socket of both families tells both of IPv4. */
union control {
    struct cmsghdr align;
    unsigned char
        room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

struct message {
    struct iovec part;
    struct sockaddr_storage address;
    union control control;
};

struct datagram_batch {
    struct loop *loop;
    struct reflection reflection;
    struct mmsghdr in_headers[BATCH], out_headers[BATCH];
    struct message in[BATCH], out[BATCH];
    unsigned char *input; /* BATCH slots; the system gives memory to those that are used */
    unsigned char *arena;
    size_t arena_used;
    unsigned out_count;
    struct datagram_socket *out_socket; /* whose the queued ones are */
    struct datagram_socket *in_socket;  /* whose datagram is handled now */
    uint64_t budget;                    /* bytes that may be sent because of the datagram that is
                                           handled (amplification.h); none between datagrams */
    uint64_t arrived;      /* when this batch was received, by clock_ms(); 0: nobody asked yet */
    struct loop_task task; /* flushes what was sent outside of a batch */
};

/* ---- out ---- */

static void flush(struct datagram_batch *batch)
{
    struct datagram_socket *socket = batch->out_socket;
    unsigned sent = 0, failed = 0;

    while (sent + failed < batch->out_count) {
        unsigned at = sent + failed;
        int n = sendmmsg(socket->source.fd, batch->out_headers + at, batch->out_count - at,
                         MSG_NOSIGNAL);
        if (n > 0)
            sent += (unsigned)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            failed =
                batch->out_count - sent; /* a full network loses datagrams, here as elsewhere */
        else if (errno != EINTR)
            failed++; /* this one cannot be sent; the next may */
    }
    if (sent != 0)
        stats_add(&socket->at->stats->datagrams_out, sent);
    if (failed != 0)
        stats_add(&socket->at->stats->datagrams_unsent, failed);
    batch->out_count = 0;
    batch->arena_used = 0;
}

static void flush_task(struct loop_task *task)
{
    flush(CONTAINER_OF(task, struct datagram_batch, task));
}

/* The address that we answer from, where the socket is bound to all. */
static void set_source(struct msghdr *header, union control *control, const enchufe_address *local,
                       bool as_ipv6)
{
    struct sockaddr_storage address;
    struct cmsghdr *cmsg = &control->align;

    if (address_to_sockaddr(local, as_ipv6, &address) == 0)
        return;
    header->msg_control = control;
    if (as_ipv6) {
        struct in6_pktinfo info = { .ipi6_addr = ((struct sockaddr_in6 *)&address)->sin6_addr,
                                    .ipi6_ifindex = local->scope };
        header->msg_controllen = CMSG_SPACE(sizeof info);
        *cmsg = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof info),
                                  .cmsg_level = IPPROTO_IPV6,
                                  .cmsg_type = IPV6_PKTINFO };
        memcpy(CMSG_DATA(cmsg), &info, sizeof info);
    } else {
        struct in_pktinfo info = { .ipi_spec_dst = ((struct sockaddr_in *)&address)->sin_addr };
        header->msg_controllen = CMSG_SPACE(sizeof info);
        *cmsg = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof info),
                                  .cmsg_level = IPPROTO_IP,
                                  .cmsg_type = IP_PKTINFO };
        memcpy(CMSG_DATA(cmsg), &info, sizeof info);
    }
}

/* Room for one more of len bytes, flushing first where there is none. Returns where to copy them. */
static unsigned char *make_room(struct datagram_batch *batch, struct datagram_socket *socket,
                                size_t len)
{
    if (batch->out_count != 0 && (batch->out_count == BATCH || batch->out_socket != socket ||
                                  batch->arena_used + len > ARENA))
        flush(batch);
    batch->out_socket = socket;
    return batch->arena + batch->arena_used;
}

static bool is_received(const struct datagram_batch *batch, const void *data)
{
    const unsigned char *at = data;

    return at >= batch->input && at < batch->input + (size_t)BATCH * SLOT;
}

static void queue(struct datagram_socket *socket, const enchufe_route *route, const void *data,
                  size_t len, bool in_batch)
{
    struct datagram_batch *batch = socket->batch;
    unsigned char *room = make_room(batch, socket, len);
    struct message *message = &batch->out[batch->out_count];
    struct msghdr *header = &batch->out_headers[batch->out_count].msg_hdr;

    if (in_batch && is_received(batch, data)) {
        message->part.iov_base = (void *)data;
    } else {
        if (len != 0)
            memcpy(room, data, len);
        batch->arena_used += len;
        message->part.iov_base = room;
    }
    message->part.iov_len = len;
    *header = (struct msghdr){ .msg_name = &message->address,
                               .msg_iov = &message->part,
                               .msg_iovlen = 1 };
    header->msg_namelen = address_to_sockaddr(&route->peer, socket->as_ipv6, &message->address);
    if (socket->wildcard && (route->flags & ROUTE_OF_GROUP) == 0)
        set_source(header, &message->control, &route->local, socket->as_ipv6);
    batch->out_count++;
}

/* Most of what is sent answers what is handled; a service may have a socket for each of many ports. */
static struct datagram_socket *find_socket(const enchufe_loop *loop, const enchufe_route *route)
{
    struct datagram_socket *socket;

    if (loop->udp == NULL)
        return NULL;
    socket = loop->udp->batch->in_socket;
    if (socket != NULL && socket->at == loop && socket->endpoint == route->endpoint)
        return socket;
    for (socket = loop->udp; socket != NULL; socket = socket->next)
        if (socket->endpoint == route->endpoint)
            break;
    return socket;
}

/* What is refused for its address costs nothing of the budget. */
static enum refusal find_refusal(const struct datagram_socket *socket, const enchufe_route *route,
                                 size_t len)
{
    struct datagram_batch *batch = socket->batch;

    if (!socket->trusted) {
        if ((route->flags & ROUTE_OF_GROUP) != 0 || !reflection_is_host(&route->peer))
            return REFUSAL_GROUP;
        if (reflection_suspects(&batch->reflection, route))
            return REFUSAL_SERVICE;
    }
    if (socket->at->service->max_reply_ratio != ENCHUFE_RATIO_UNLIMITED &&
        !amplification_spend(&batch->budget, &route->peer, len))
        return REFUSAL_RATIO;
    return REFUSAL_NONE;
}

static int send_along(enchufe_loop *loop, const enchufe_route *route, const void *data, size_t len,
                      bool in_batch)
{
    struct datagram_socket *socket = find_socket(loop, route);

    if (len > DATAGRAM_MAX)
        return -EMSGSIZE;
    if (socket == NULL || route->peer.family == ENCHUFE_FAMILY_NONE)
        return -EINVAL;
    enum refusal why = find_refusal(socket, route, len);
    if (why != REFUSAL_NONE)
        return datagram_refusal_note(loop, why, &route->peer, len);
    queue(socket, route, data, len, in_batch);
    return 0;
}

int enchufe_reply(const enchufe_datagram *datagram, const void *data, size_t len)
{
    return send_along(datagram->loop, &datagram->route, data, len, true);
}

int enchufe_send(enchufe_loop *loop, const enchufe_route *route, const void *data, size_t len)
{
    int err = send_along(loop, route, data, len, false);

    if (err == 0)
        loop_defer(loop->loop, &loop->udp->batch->task);
    return err;
}

/* ---- in ---- */

/* Of what was sent to a group, IPv4 tells the group and our own address in that network, which becomes the
 * local one; and it is the only one that knows the broadcast addresses of all networks. Where both families
 * tell, it comes last. */
static void read_local(const struct msghdr *header, enchufe_route *route)
{
    enchufe_address *local = &route->local;
    uint16_t port = local->port;
    struct sockaddr_storage address;

    address.ss_family = AF_UNSPEC;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL;
         c = CMSG_NXTHDR((struct msghdr *)header, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            *(struct sockaddr_in6 *)&address =
                (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = info.ipi6_addr };
            if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
                route->flags |= ROUTE_OF_GROUP;
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                ((struct sockaddr_in6 *)&address)->sin6_scope_id = info.ipi6_ifindex;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr)
                route->flags |= ROUTE_OF_GROUP;
            *(struct sockaddr_in *)&address =
                (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = info.ipi_spec_dst };
        }
    }
    if (address.ss_family == AF_UNSPEC)
        return;
    address_from_sockaddr(local, (struct sockaddr *)&address);
    local->port = port;
}

/* Whether the sender's network may be served; if not, the datagram is counted and dropped. One look at the
 * clock for a batch. */
static bool may_enter(struct datagram_socket *socket, const enchufe_address *peer)
{
    struct enchufe_service *service = socket->at->service;
    struct stats *stats = socket->at->stats;
    char text[ENCHUFE_ADDRESS_TEXT];

    if (socket->batch->arrived == 0)
        socket->batch->arrived = clock_ms();
    int reason = guard_enter(&service->datagrams, peer, socket->batch->arrived);
    if (reason == 0)
        return true;
    stats_add(reason == ENCHUFE_CLOSED_DENIED ? &stats->datagrams_denied
                                              : &stats->datagrams_over_rate,
              1);
    if (refusals_may_say(&service->refusals, socket->at->loop,
                         source_of(&service->datagrams.prefix, peer)))
        log_event(ENCHUFE_LOG_INFO, "dropped", LOG_STR("service", service->name),
                  LOG_STR("peer", enchufe_address_format(peer, text, sizeof text)),
                  LOG_STR("reason", enchufe_reason_name(reason)));
    return false;
}

static void deliver(struct datagram_socket *socket, unsigned index)
{
    struct datagram_batch *batch = socket->batch;
    const struct mmsghdr *header = &batch->in_headers[index];
    struct enchufe_service *service = socket->at->service;
    enchufe_datagram datagram = {
        .data = batch->in[index].part.iov_base,
        .len = header->msg_len,
        .service = service,
        .loop = socket->at,
        .route = { .local = socket->bound,
                   .endpoint = socket->endpoint,
                   .flags = socket->to_group ? ROUTE_OF_GROUP : 0 },
    };

    address_from_sockaddr(&datagram.route.peer, (const struct sockaddr *)&batch->in[index].address);
    if (service->datagrams.on && !may_enter(socket, &datagram.route.peer))
        return;
    if (socket->wildcard)
        read_local(&header->msg_hdr, &datagram.route);
    batch->in_socket = socket;
    batch->budget =
        amplification_budget(service->max_reply_ratio, &datagram.route.peer, datagram.len);
    service_call(service, on_datagram, service, &datagram);
    batch->in_socket = NULL;
    batch->budget = 0;
}

/* Those that were filled can be filled again. A system call changes no others, and most batches are small. */
static void make_ready(struct datagram_batch *batch, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &batch->in_headers[i].msg_hdr;
        header->msg_namelen = sizeof batch->in[i].address;
        header->msg_controllen = sizeof batch->in[i].control;
    }
}

/* Returns how many datagrams there were; fewer than BATCH: the queue is empty. */
static int handle_batch(struct datagram_socket *socket)
{
    struct datagram_batch *batch = socket->batch;

    int n = recvmmsg(socket->source.fd, batch->in_headers, BATCH, 0, NULL);
    if (n <= 0)
        return 0;
    stats_add(&socket->at->stats->datagrams_in, (uint64_t)n);
    batch->arrived = 0;
    for (int i = 0; i < n; i++)
        deliver(socket, (unsigned)i);
    make_ready(batch, (unsigned)n);
    if (batch->out_count != 0)
        flush(batch);
    return n;
}

static void ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    handle_batch(CONTAINER_OF(source, struct datagram_socket, source));
}

/* ---- life ---- */

struct datagram_batch *datagram_batch_create(struct loop *loop, const struct sockets *sockets)
{
    struct datagram_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->loop = loop;
    reflection_init(&batch->reflection, sockets);
    batch->task.run = flush_task;
    batch->arena = malloc(ARENA);
    batch->input = mmap(NULL, (size_t)BATCH * SLOT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (batch->arena == NULL || batch->input == MAP_FAILED) {
        datagram_batch_free(batch);
        return NULL;
    }
    for (unsigned i = 0; i < BATCH; i++) {
        batch->in[i].part =
            (struct iovec){ .iov_base = batch->input + (size_t)i * SLOT, .iov_len = SLOT };
        batch->in_headers[i].msg_hdr = (struct msghdr){ .msg_name = &batch->in[i].address,
                                                        .msg_iov = &batch->in[i].part,
                                                        .msg_iovlen = 1,
                                                        .msg_control = &batch->in[i].control };
    }
    make_ready(batch, BATCH);
    return batch;
}

void datagram_batch_free(struct datagram_batch *batch)
{
    if (batch == NULL)
        return;
    free(batch->arena);
    if (batch->input != MAP_FAILED && batch->input != NULL)
        munmap(batch->input, (size_t)BATCH * SLOT);
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

int datagram_start(struct datagram_socket *socket, struct enchufe_loop *at,
                   struct datagram_batch *batch, int fd, uint32_t number, bool broadcast,
                   const _Atomic unsigned char *gone)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;

    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return -errno;
    *socket = (struct datagram_socket){
        .source = { .fd = fd, .ready = ready },
        .at = at,
        .batch = batch,
        .next = at->udp,
        .endpoint = number,
        .gone = gone,
        .as_ipv6 = bound.ss_family == AF_INET6,
        .trusted = at->service->config->limits.trust_source_ports,
    };
    address_from_sockaddr(&socket->bound, (struct sockaddr *)&bound);
    socket->wildcard = is_unspecified(&socket->bound);
    socket->to_group = !socket->wildcard && (!reflection_is_host(&socket->bound) || broadcast);
    if (!set_options(socket, fd))
        return -errno;
    at->udp = socket;
    return loop_watch(at->loop, &socket->source, EPOLLIN);
}

void datagram_drain(struct datagram_socket *socket)
{
    bool gone = *socket->gone;

    for (int i = 0; gone && i < DRAIN_BATCHES && handle_batch(socket) == BATCH; i++)
        continue;
    loop_watch(socket->at->loop, &socket->source, 0);
}
