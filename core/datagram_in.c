/* Datagrams that arrive: recvmmsg, who may come in, and the plugin's on_datagram for each. */
#include "amplification.h"
#include "datagram_batch.h"
#include "log.h"
#include <errno.h>
#include <string.h>

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
void datagram_make_ready(struct datagram_batch *batch, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &batch->in_headers[i].msg_hdr;
        header->msg_namelen = sizeof batch->in[i].address;
        header->msg_controllen = sizeof batch->in[i].control;
    }
}

int datagram_handle_batch(struct datagram_socket *socket)
{
    struct datagram_batch *batch = socket->batch;

    int n = recvmmsg(socket->source.fd, batch->in_headers, BATCH, 0, NULL);
    if (n <= 0)
        return 0;
    stats_add(&socket->at->stats->datagrams_in, (uint64_t)n);
    batch->arrived = 0;
    for (int i = 0; i < n; i++)
        deliver(socket, (unsigned)i);
    datagram_make_ready(batch, (unsigned)n);
    if (batch->out_count != 0)
        datagram_flush(batch);
    return n;
}
