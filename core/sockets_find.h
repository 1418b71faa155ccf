/* What other generations have for an endpoint. */
#ifndef SOCKETS_FIND_H
#define SOCKETS_FIND_H

#include "sockets.h"

/* The listener that is there for the endpoint, or NULL. sockets: what the new configuration has so far. *where
 * is how far the search came last time: files change little, so the next is mostly found at once. */
struct listener *sockets_find(const struct sockets *there, const struct sockets *sockets,
                              const struct listen_config *listen, size_t *where);

/* One of those that may keep the endpoint from being bound (0.0.0.0 stands in the way of 127.0.0.1), or
 * NULL. */
const struct listener *sockets_find_clash(const struct sockets *there,
                                          const struct endpoint *endpoint);

#endif
