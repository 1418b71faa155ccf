/* Datagrams that are not sent to protect others: counted each time, told once. */
#ifndef DATAGRAM_REFUSAL_H
#define DATAGRAM_REFUSAL_H

#include "service.h"

enum refusal {
    REFUSAL_NONE,
    REFUSAL_SERVICE, /* the peer looks like a service itself */
    REFUSAL_GROUP,   /* multicast or broadcast */
    REFUSAL_RATIO,   /* more than max_reply_ratio allows */
};

/* Counts a refusal, and logs the first of its kind of each service: whoever forges senders would fill the
 * log. peer and len are of what was to be sent. Returns the negative errno for the plugin. */
int datagram_refusal_note(struct enchufe_loop *at, enum refusal why, const enchufe_address *peer,
                          size_t len);

#endif
