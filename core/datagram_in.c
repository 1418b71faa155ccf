/* Datagrams that arrive: recvmmsg, who may come in, and the plugin's on_datagram for each. */
#include "amplification.h"
#include "datagram_batch.h"
#include "log.h"
#include "system_call.h"
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

/* As many datagrams of one sender and size begin a batch that looks like bursts. */
#define RUN 8

/* How many messages are received at once where each can be a burst of 128 datagrams. Divides BATCH. */
#define BURSTS 8

/* ---- what the system tells of a datagram ---- */

static void set_local(enchufe_address *local, const void *address)
{
    uint16_t port = local->port;

    address_from_sockaddr(local, address);
    local->port = port;
}

static void read_ipv6(const struct cmsghdr *c, enchufe_route *route)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
    struct in6_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof info);
    address.sin6_addr = info.ipi6_addr;
    if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
        route->flags |= ROUTE_OF_GROUP;
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        address.sin6_scope_id = info.ipi6_ifindex;
    set_local(&route->local, &address);
}

/* Of what was sent to a group, IPv4 tells the group and our own address in that network, which becomes the
 * local one; and it is the only one that knows the broadcast addresses of all networks. */
static void read_ipv4(const struct cmsghdr *c, enchufe_route *route)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct in_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof info);
    address.sin_addr = info.ipi_spec_dst;
    if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr)
        route->flags |= ROUTE_OF_GROUP;
    set_local(&route->local, &address);
}

/* Reads where the datagram was sent to. Returns the size that a burst is to be cut to, 0 for a datagram that came
 * alone. Of the two that a socket of both families tells of IPv4, that of IPv4 comes last. */
static size_t read_control(const struct datagram_socket *socket, struct msghdr *header,
                           enchufe_route *route)
{
    int size = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(c), sizeof size);
        else if (!socket->wildcard)
            continue;
        else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            read_ipv6(c, route);
        else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
            read_ipv4(c, route);
    }
    return (size_t)size;
}

/* ---- to the plugin ---- */

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

static inline void handle(struct datagram_socket *socket, const void *data, size_t len)
{
    struct enchufe_service *service = socket->at->service;
    struct datagram_batch *batch = socket->batch;
    enchufe_datagram *datagram = &batch->datagram;

    if (service->datagrams.on && !may_enter(socket, &datagram->route.peer))
        return;
    datagram->data = data;
    datagram->len = len;
    batch->budget = amplification_budget(service->max_reply_ratio, &datagram->route.peer, len);
    service_call(service, on_datagram, service, datagram);
}

/* Every limit is for each of them, as if they had come alone. Returns how many there were. */
static unsigned handle_burst(struct datagram_socket *socket, const unsigned char *data, size_t len,
                             size_t size)
{
    unsigned count = (unsigned)((len + size - 1) / size);

    socket->bursts = true;
    stats_add(&socket->at->stats->datagrams_in, count - 1);
    for (size_t at = 0; at < len; at += size)
        handle(socket, data + at, len - at < size ? len - at : size);
    return count;
}

/* Returns how many datagrams the message was. */
static inline unsigned deliver(struct datagram_socket *socket, unsigned index)
{
    struct datagram_batch *batch = socket->batch;
    struct mmsghdr *message = &batch->in_headers[index];
    const unsigned char *data = batch->in_parts[index].iov_base;
    enchufe_route *route = &batch->datagram.route;
    size_t size = 0;

    batch->in_header = &message->msg_hdr;
    address_from_sockaddr(&route->peer, &batch->in_names[index].any);
    if (socket->wildcard) {
        route->local = socket->bound;
        route->flags = 0;
    }
    if (message->msg_hdr.msg_controllen != 0)
        size = read_control(socket, &message->msg_hdr, route);
    if (size != 0 && size < message->msg_len)
        return handle_burst(socket, data, message->msg_len, size);
    handle(socket, data, message->msg_len);
    return 1;
}

/* ---- batches ---- */

/* Those that were filled can be filled again. A system call changes no others, and most batches are small. */
void datagram_make_ready(struct datagram_batch *batch, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &batch->in_headers[i].msg_hdr;
        header->msg_namelen = sizeof batch->in_names[i];
        header->msg_controllen = sizeof batch->in_controls[i];
    }
}

/* Sockets begin without UDP_GRO, because it costs where there are no bursts, and keep it: what is queued as a burst
 * would come as one datagram if it were switched off. */
static void watch_for_bursts(struct datagram_socket *socket)
{
    const struct datagram_batch *batch = socket->batch;
    const struct mmsghdr *first = batch->in_headers;
    int on = 1;

    for (unsigned i = 1; i < RUN; i++) {
        const struct mmsghdr *other = first + i;
        if (other->msg_len != first->msg_len ||
            other->msg_hdr.msg_namelen != first->msg_hdr.msg_namelen ||
            memcmp(&batch->in_names[i], &batch->in_names[0], first->msg_hdr.msg_namelen) != 0)
            return;
    }
    if (++socket->runs == DATAGRAM_RUNS)
        socket->bursts = setsockopt(socket->source.fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
}

static void begin(struct datagram_socket *socket)
{
    struct datagram_batch *batch = socket->batch;

    batch->in_socket = socket;
    batch->arrived = 0;
    batch->datagram = (enchufe_datagram){
        .service = socket->at->service,
        .loop = socket->at,
        .route = { .local = socket->bound,
                   .endpoint = socket->endpoint,
                   .flags = socket->to_group ? ROUTE_OF_GROUP : 0 },
    };
}

static void end(struct datagram_batch *batch, unsigned received)
{
    batch->in_socket = NULL;
    batch->budget = 0;
    datagram_make_ready(batch, received);
    if (batch->out_count != 0)
        datagram_flush(batch);
}

/* Bursts are received a few at a time, so that a turn handles about as many datagrams as without them. */
bool datagram_handle_batch(struct datagram_socket *socket)
{
    struct datagram_batch *batch = socket->batch;
    unsigned most = socket->bursts ? BURSTS : BATCH, received = 0, handled = 0;
    int n;

    begin(socket);
    do {
        n = system_recvmmsg(socket->source.fd, batch->in_headers + received, most);
        if (n <= 0)
            break;
        stats_add(&socket->at->stats->datagrams_in, (uint64_t)n);
        if (n >= RUN && socket->runs < DATAGRAM_RUNS)
            watch_for_bursts(socket);
        for (unsigned end = received + (unsigned)n; received < end; received++)
            handled += deliver(socket, received);
    } while (n == (int)most && handled < BATCH);
    end(batch, received);
    return n == (int)most;
}
