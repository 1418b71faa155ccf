/* Endpoints: parse and print `tcp://HOST:PORT`, `udp://HOST:PORT` and `unix:///path`. Opens nothing;
 * sockets.c does. */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include "address.h"

/* Room for every text that endpoint_format() makes. */
#define ENDPOINT_TEXT 160
#define ENDPOINT_ERROR 256

struct endpoint {
    int kind; /* enum enchufe_endpoint_kind */
    /* No host was given: every address of both families (an IPv6 wildcard that is not v6-only). */
    bool any;
    enchufe_address address; /* TCP and UDP */
    char path[108];          /* Unix: absolute */
};

struct endpoint_list {
    struct endpoint *items;
    size_t count;
};

/* Appends every endpoint that text names to list: one for each port of a range `8000-8010` and for
 * each address of a host name. A relative Unix path counts from base_dir. Looks names
 * up (names.h), so it may block: for the single-threaded start, children, and workers that start.
 * Returns 0; or -EINVAL with a sentence in error that says what is wrong and what would be right, and
 * list as it was. */
int endpoint_parse(const char *text, const char *base_dir, struct endpoint_list *list,
                   char error[ENDPOINT_ERROR]);
void endpoint_list_free(struct endpoint_list *list);

/* Writes `tcp://127.0.0.1:8000`, `tcp://[::1]:8000`, `tcp://:8000` (any) or `unix:///path`.
 * Returns text. */
const char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT]);

/* Whether two endpoints cannot both be served: the same kind and port with the same address, where
 * any, 0.0.0.0 and [::] count as the same; or the same path. Port 0 clashes with nothing. */
bool endpoint_clashes(const struct endpoint *a, const struct endpoint *b);

/* The socket address of an endpoint, to bind or connect to. Returns its length. */
socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *out);

#endif
