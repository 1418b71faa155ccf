/* Memory of one loop for datagrams: a batch that came in, and one that goes out. For the files datagram*.c.
 *
 * A reply that is (a part of) the datagram itself is sent from where it was received; any other is
 * copied into the batch's arena. Both end with the batch. */
#ifndef DATAGRAM_BATCH_H
#define DATAGRAM_BATCH_H

#include "datagram.h"
#include <netinet/in.h>

#define BATCH 64
#define DATAGRAM_MAX 65507
#define SLOT 65536
#define ARENA (4 * (size_t)SLOT)

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

/* Sends what is queued: datagram_out.c. The second is the batch's task. */
void datagram_flush(struct datagram_batch *batch);
void datagram_flush_task(struct loop_task *task);

/* Receives a batch and handles it: datagram_in.c. Returns how many datagrams there were; fewer than BATCH:
 * the queue is empty. The second sets up the first `count` messages for receiving. */
int datagram_handle_batch(struct datagram_socket *socket);
void datagram_make_ready(struct datagram_batch *batch, unsigned count);

#endif
