/* Memory of one loop for datagrams: a batch that came in, and one that goes out. For the files datagram*.c.
 *
 * A burst is several datagrams that the system moves as one piece: of one sender, all of one size but the last,
 * which may be shorter. What comes so (UDP_GRO) is cut for the plugin; its answers leave so (UDP_SEGMENT). */
#ifndef DATAGRAM_BATCH_H
#define DATAGRAM_BATCH_H

#include "datagram.h"
#include <netinet/in.h>

#define BATCH 64
#define DATAGRAM_MAX 65507

/* Room for one that comes, and from one such room to the next: an odd number of pages and some cache lines, because
 * the first bytes of all would share one set of the processor's caches otherwise. */
#define SLOT 65536
#define STRIDE (17 * 4096 + 19 * 64)

#define ARENA (4 * (size_t)SLOT)

/* So many batches that look like bursts make a socket that is worth UDP_GRO. */
#define DATAGRAM_RUNS 16

/* In enchufe_route.flags: what came was sent to multicast or broadcast, and is not answered from there. */
#define ROUTE_OF_GROUP 1u

/* Room for all: a socket of both families tells both addresses of IPv4, and any may tell of a burst. */
union control {
    struct cmsghdr align;
    unsigned char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
                       CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

/* No longer than a socket's can be, so that two share a cache line. */
union name {
    struct sockaddr any;
    struct sockaddr_in6 ipv6;
    uint64_t align[4];
};

/* One message to send: a datagram, or a burst. */
struct outgoing {
    uint32_t count; /* of datagrams */
    uint32_t size;  /* of each but the last */
};

/* What was queued last, and what may join it. */
struct tail {
    uint32_t room; /* how long another may be that joins; 0: none may */
    uint32_t len;  /* of all that joined so far */
    struct outgoing *out;
    struct msghdr *header;
    enchufe_address local; /* of a wildcard socket: where it leaves from */
};

struct datagram_batch {
    struct loop *loop;
    struct datagram_socket *in_socket;  /* whose datagrams are handled now */
    struct datagram_socket *out_socket; /* whose the queued ones are */
    uint64_t budget;  /* bytes that may be sent because of the datagram that is handled
                                  (amplification.h); none between datagrams */
    uint64_t arrived; /* when this batch was received, by clock_ms(); 0: nobody asked yet */
    enchufe_datagram datagram; /* that is handled now, */
    struct msghdr *in_header;  /* and what it was received by */
    /* What is queued: messages, and their pieces of memory. */
    unsigned out_count, part_count;
    struct tail tail;
    unsigned char *input; /* BATCH slots; the system gives memory to those that are used */
    unsigned char *arena; /* for what is not sent from where it was received */
    size_t arena_used;
    struct loop_task task; /* flushes what was sent outside of a batch */
    struct mmsghdr in_headers[BATCH], out_headers[BATCH];
    struct iovec in_parts[BATCH];
    union name in_names[BATCH];
    union control in_controls[BATCH];
    struct iovec out_parts[BATCH]; /* of out_headers, one after the other */
    struct outgoing out[BATCH];
    union control out_controls[BATCH];
    struct sockaddr_storage out_names[BATCH]; /* of what answers nothing that is handled */
    struct reflection reflection;
};

/* Sends what is queued: datagram_out.c. The second is the batch's task. */
void datagram_flush(struct datagram_batch *batch);
void datagram_flush_task(struct loop_task *task);

/* Receives a batch and handles it: datagram_in.c. Returns whether there may be more. */
bool datagram_handle_batch(struct datagram_socket *socket);

/* Sets up the first `count` messages for receiving. */
void datagram_make_ready(struct datagram_batch *batch, unsigned count);

#endif
