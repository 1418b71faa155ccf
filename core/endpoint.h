/* Endpoints: parse and print `tcp://HOST:PORT`, `udp://HOST:PORT` and `unix:///path`, and turn
 * addresses into what the socket calls want. Opens nothing; sockets.c does. */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <enchufe/plugin.h>
#include <sys/socket.h>

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
 * each address of a host name. A relative Unix path counts from base_dir. Resolves names, so it may
 * block: for the single-threaded start only.
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

/* Any other family than IPv4 and IPv6 becomes ENCHUFE_FAMILY_NONE; an IPv4 address in IPv6
 * (::ffff:1.2.3.4) becomes IPv4. */
void address_from_sockaddr(enchufe_address *out, const struct sockaddr *in);

/* The socket address for `address`; with as_ipv6, an IPv4 address becomes ::ffff:1.2.3.4, as a socket
 * of both families wants it. Returns its length, 0 for ENCHUFE_FAMILY_NONE. */
socklen_t address_to_sockaddr(const enchufe_address *address, bool as_ipv6,
                              struct sockaddr_storage *out);

#endif
