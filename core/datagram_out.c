/* Datagrams that leave: what may be sent to whom, the queue, and sendmmsg.
 *
 * An answer that is (a part of) the datagram itself is sent from where it was received; any other is copied into
 * the batch's arena. Both end with the batch. One that follows another of the same size to the same peer joins it
 * in a burst, which the system cuts as late as it can. */
#include "amplification.h"
#include "container.h"
#include "datagram_batch.h"
#include "datagram_refusal.h"
#include "system_call.h"
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

/* What any system takes that knows UDP_SEGMENT. */
#define BURST 64

/* For so many batches nothing joins after the system did not take a burst: over some devices none leave, nor what is
 * larger than a path carries. */
#define REST 256

/* ---- sending ---- */

static void set_size(struct msghdr *header, uint32_t size)
{
    struct cmsghdr *cmsg = (void *)((unsigned char *)header->msg_control + header->msg_controllen);
    uint16_t value = (uint16_t)size;

    *cmsg = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof value),
                              .cmsg_level = SOL_UDP,
                              .cmsg_type = UDP_SEGMENT };
    memcpy(CMSG_DATA(cmsg), &value, sizeof value);
    header->msg_controllen += CMSG_SPACE(sizeof value);
}

/* Says of each burst how it is to be cut. Returns how many datagrams there are. */
static unsigned seal(struct datagram_batch *batch)
{
    unsigned count = 0;

    for (unsigned i = 0; i < batch->out_count; i++) {
        count += batch->out[i].count;
        if (batch->out[i].count > 1)
            set_size(&batch->out_headers[i].msg_hdr, batch->out[i].size);
    }
    return count;
}

/* Sends the datagrams of a burst one by one. Returns how many left. */
static unsigned send_apart(int fd, struct mmsghdr message, size_t size)
{
    struct msghdr *header = &message.msg_hdr;
    const struct iovec *parts = header->msg_iov;
    size_t count = header->msg_iovlen;
    struct iovec one;
    unsigned sent = 0;

    header->msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
    header->msg_iov = &one;
    header->msg_iovlen = 1;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < parts[i].iov_len; at += size) {
            size_t left = parts[i].iov_len - at;
            one = (struct iovec){ .iov_base = (unsigned char *)parts[i].iov_base + at,
                                  .iov_len = left < size ? left : size };
            sent += system_sendmmsg(fd, &message, 1) == 1;
        }
    }
    return sent;
}

/* What the system did not take, for the reason err. Returns how many of its datagrams left all the same. */
static unsigned send_refused(struct datagram_socket *socket, unsigned index, int err)
{
    const struct datagram_batch *batch = socket->batch;

    if (batch->out[index].count == 1 || (err != EINVAL && err != EMSGSIZE && err != EIO))
        return 0;
    socket->rest = REST;
    return send_apart(socket->source.fd, batch->out_headers[index], batch->out[index].size);
}

void datagram_flush(struct datagram_batch *batch)
{
    struct datagram_socket *socket = batch->out_socket;
    unsigned all = seal(batch), sent = 0, at = 0;

    if (all == 0)
        return;
    if (socket->rest != 0)
        socket->rest--;
    while (at < batch->out_count) {
        int n = system_sendmmsg(socket->source.fd, batch->out_headers + at, batch->out_count - at);
        if (n > 0) {
            for (unsigned end = at + (unsigned)n; at < end; at++)
                sent += batch->out[at].count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break; /* a full network loses datagrams, here as elsewhere */
        } else if (errno != EINTR) {
            sent += send_refused(socket, at, errno);
            at++; /* this one cannot be sent; the next may */
        }
    }
    stats_add(&socket->at->stats->datagrams_out, sent);
    if (sent != all)
        stats_add(&socket->at->stats->datagrams_unsent, all - sent);
    batch->out_count = batch->part_count = 0;
    batch->arena_used = 0;
    batch->tail.room = 0;
}

void datagram_flush_task(struct loop_task *task)
{
    datagram_flush(CONTAINER_OF(task, struct datagram_batch, task));
}

/* ---- the queue ---- */

/* The address that we answer from; ENCHUFE_FAMILY_NONE: the system chooses. */
static void set_source(struct msghdr *header, const enchufe_address *local, bool as_ipv6)
{
    struct sockaddr_storage address;
    struct cmsghdr *cmsg = header->msg_control;

    if (address_to_sockaddr(local, as_ipv6, &address) == 0)
        return;
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

/* Whether two names of peers that one socket knows are the same. Of IPv4 the first 8 bytes are all there is. */
static inline bool same_name(const void *a, const void *b)
{
    const struct sockaddr_in6 *a6 = a, *b6 = b;

    return memcmp(a, b, 8) == 0 &&
           (a6->sin6_family == AF_INET ||
            (memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0 &&
             a6->sin6_scope_id == b6->sin6_scope_id));
}

static inline bool same_address(const enchufe_address *a, const enchufe_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Whether the datagram joined what was queued last. local: NULL where the system chooses. */
static inline bool join(struct datagram_batch *batch, const void *name,
                        const enchufe_address *local, void *data, size_t len)
{
    struct tail *tail = &batch->tail;
    struct iovec *part = &batch->out_parts[batch->part_count];

    if (len > tail->room || len == 0 || tail->len + len > DATAGRAM_MAX ||
        !same_name(tail->header->msg_name, name) ||
        (local != NULL && !same_address(local, &tail->local)))
        return false;
    if (data == (unsigned char *)part[-1].iov_base + part[-1].iov_len) {
        part[-1].iov_len += len;
    } else {
        *part = (struct iovec){ .iov_base = data, .iov_len = len };
        tail->header->msg_iovlen++;
        batch->part_count++;
    }
    tail->len += (uint32_t)len;
    tail->out->count++;
    if (len < tail->out->size || tail->out->count == BURST)
        tail->room = 0;
    return true;
}

static inline void append(struct datagram_batch *batch, struct datagram_socket *socket, void *name,
                          socklen_t name_len, void *data, size_t len)
{
    struct msghdr *header = &batch->out_headers[batch->out_count].msg_hdr;
    struct outgoing *out = &batch->out[batch->out_count];
    struct iovec *part = &batch->out_parts[batch->part_count];

    batch->out_count++;
    batch->part_count++;
    *part = (struct iovec){ .iov_base = data, .iov_len = len };
    header->msg_name = name;
    header->msg_namelen = name_len;
    header->msg_iov = part;
    header->msg_iovlen = 1;
    header->msg_controllen = 0;
    *out = (struct outgoing){ .count = 1, .size = (uint32_t)len };
    batch->tail.room = socket->rest == 0 ? (uint32_t)len : 0;
    batch->tail.len = (uint32_t)len;
    batch->tail.out = out;
    batch->tail.header = header;
}

static bool is_received(const struct datagram_batch *batch, const void *data)
{
    const unsigned char *at = data;

    return at >= batch->input && at < batch->input + (size_t)BATCH * STRIDE;
}

/* Returns where the bytes stay until they are sent. */
__attribute__((noinline)) static void *keep(struct datagram_batch *batch, const void *data,
                                            size_t len)
{
    if (batch->arena_used + len > ARENA)
        datagram_flush(batch);
    unsigned char *room = batch->arena + batch->arena_used;
    if (len != 0)
        memcpy(room, data, len);
    batch->arena_used += len;
    return room;
}

/* To somebody else than the sender of what is handled, or from one of many addresses. */
__attribute__((noinline)) static void queue_far(struct datagram_socket *socket,
                                                const enchufe_route *route, void *data, size_t len)
{
    static const enchufe_address any = { .family = ENCHUFE_FAMILY_NONE };
    struct datagram_batch *batch = socket->batch;
    struct sockaddr_storage *name = &batch->out_names[batch->out_count];
    socklen_t name_len = address_to_sockaddr(&route->peer, socket->as_ipv6, name);
    const enchufe_address *local =
        socket->wildcard && (route->flags & ROUTE_OF_GROUP) == 0 ? &route->local : &any;

    if (join(batch, name, socket->wildcard ? local : NULL, data, len))
        return;
    append(batch, socket, name, name_len, data, len);
    batch->tail.local = *local;
    set_source(batch->tail.header, local, socket->as_ipv6);
}

/* The data stays where it is. */
static inline void queue(struct datagram_socket *socket, const enchufe_route *route, void *data,
                         size_t len)
{
    struct datagram_batch *batch = socket->batch;
    struct msghdr *in = batch->in_header;

    if (route != &batch->datagram.route || batch->in_socket != socket || socket->wildcard)
        queue_far(socket, route, data, len);
    else if (!join(batch, in->msg_name, NULL, data, len))
        append(batch, socket, in->msg_name, in->msg_namelen, data, len);
}

/* ---- what plugins call ---- */

/* Most of what is sent answers what is handled; a service may have a socket for each of many ports. */
static inline struct datagram_socket *find_socket(const enchufe_loop *loop,
                                                  const enchufe_route *route)
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
static inline enum refusal find_refusal(const struct datagram_socket *socket,
                                        const enchufe_route *route, size_t len)
{
    struct datagram_batch *batch = socket->batch;

    if (!socket->trusted) {
        if ((route->flags & ROUTE_OF_GROUP) != 0 || !reflection_is_host(&route->peer))
            return REFUSAL_GROUP;
        if (reflection_suspects(&batch->reflection, route, socket->source.fd, socket->as_ipv6))
            return REFUSAL_SERVICE;
    }
    if (socket->at->service->max_reply_ratio != ENCHUFE_RATIO_UNLIMITED &&
        !amplification_spend(&batch->budget, &route->peer, len))
        return REFUSAL_RATIO;
    return REFUSAL_NONE;
}

static inline int send_along(enchufe_loop *loop, const enchufe_route *route, const void *data,
                             size_t len, bool in_batch)
{
    struct datagram_socket *socket = find_socket(loop, route);

    if (len > DATAGRAM_MAX)
        return -EMSGSIZE;
    if (socket == NULL || route->peer.family == ENCHUFE_FAMILY_NONE)
        return -EINVAL;
    enum refusal why = find_refusal(socket, route, len);
    if (why != REFUSAL_NONE)
        return datagram_refusal_note(loop, why, &route->peer, len);
    struct datagram_batch *batch = socket->batch;
    if (batch->part_count == BATCH || batch->out_socket != socket) {
        datagram_flush(batch);
        batch->out_socket = socket;
    }
    if (!in_batch || !is_received(batch, data))
        data = keep(batch, data, len);
    queue(socket, route, (void *)data, len);
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
