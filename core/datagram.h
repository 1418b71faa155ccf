/* Datagrams: received in batches, answered in batches, on the loop that got them. */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include "reflection.h"
#include "service.h"

/* Memory for one batch each way; one for a loop, shared by its sockets. */
struct datagram_batch;

/* sockets are the server's own, which are not answered. Returns NULL without memory. */
struct datagram_batch *datagram_batch_create(struct loop *loop, const struct sockets *sockets);
void datagram_batch_free(struct datagram_batch *batch);

struct datagram_socket {
    struct loop_source source;
    struct enchufe_loop *at;
    struct datagram_batch *batch;
    struct datagram_socket *next; /* in at->udp */
    enchufe_address bound;
    uint32_t endpoint;                 /* of routes: which socket of the service */
    const _Atomic unsigned char *gone; /* of the endpoint; see sockets.h */
    bool wildcard; /* bound to every address: each datagram tells which it was sent to */
    bool to_group; /* bound to a multicast or broadcast address: all that comes was sent to it */
    bool trusted;  /* trust_source_ports */
    bool bursts;   /* UDP_GRO is on: a message may be many datagrams */
    uint8_t runs;  /* batches that looked like bursts */
    uint16_t rest; /* batches until answers join in bursts again */
    bool as_ipv6;  /* an IPv6 socket, which writes IPv4 addresses as ::ffff:1.2.3.4 */
};

/* Watches the socket fd of an endpoint, which stays the caller's, as the service's socket number `number`.
 * Returns 0 or -errno. */
int datagram_start(struct datagram_socket *socket, struct enchufe_loop *at,
                   struct datagram_batch *batch, int fd, uint32_t number,
                   const struct bound_endpoint *bound, const _Atomic unsigned char *gone);

/* Receives no more. A socket that another generation serves goes on without us; of one that is gone what
 * is queued is handled first. */
void datagram_drain(struct datagram_socket *socket);

#endif
