/* Datagrams that leave: what may be sent to whom, the queue, and sendmmsg. */
#include "amplification.h"
#include "container.h"
#include "datagram_batch.h"
#include "refusal.h"
#include <errno.h>
#include <string.h>

void datagram_flush(struct datagram_batch *batch)
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

void datagram_flush_task(struct loop_task *task)
{
    datagram_flush(CONTAINER_OF(task, struct datagram_batch, task));
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
        datagram_flush(batch);
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
        return refusal_note(loop, why, &route->peer, len);
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
