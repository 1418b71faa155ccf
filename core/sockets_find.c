/* Which of the sockets that are there an endpoint of a new configuration gets, or has in its way. */
#include "sockets_find.h"
#include <string.h>

/* Port 0 is the same endpoint only in the same service; which of several is told by their order. A port
 * that is said is the same as one that the system chose before. */
static bool same_endpoint(const struct bound_endpoint *before, const char *service_before,
                          const struct listen_config *now, const char *service_now)
{
    const struct endpoint *a = &before->config->endpoint, *b = &now->endpoint;
    uint16_t port =
        b->address.port != 0 ? before->listener->endpoint.address.port : a->address.port;

    if (a->kind != b->kind || a->any != b->any)
        return false;
    if (a->kind == ENCHUFE_UNIX)
        return strcmp(a->path, b->path) == 0;
    return a->address.family == b->address.family && port == b->address.port &&
           a->address.scope == b->address.scope &&
           memcmp(a->address.ip, b->address.ip, sizeof a->address.ip) == 0 &&
           (port != 0 || strcmp(service_before, service_now) == 0);
}

static bool taken(const struct sockets *sockets, const struct listener *listener)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->items[i].listener == listener)
            return true;
    return false;
}

struct listener *sockets_find(const struct sockets *there, const struct sockets *sockets,
                              const struct listen_config *listen, size_t *where)
{
    for (size_t n = 0; there != NULL && n < there->count; n++) {
        size_t i = (*where + n) % there->count;
        const struct bound_endpoint *before = &there->items[i];
        if (!same_endpoint(before, before->config->place.section, listen, listen->place.section) ||
            (before->config->endpoint.address.port == 0 && taken(sockets, before->listener)))
            continue;
        *where = i + 1;
        return before->listener;
    }
    return NULL;
}

const struct listener *sockets_find_clash(const struct sockets *there,
                                          const struct endpoint *endpoint)
{
    for (size_t i = 0; there != NULL && i < there->count; i++) {
        const struct endpoint *other = &there->items[i].listener->endpoint;
        if (other->kind == endpoint->kind &&
            (endpoint->kind == ENCHUFE_UNIX
                 ? strcmp(other->path, endpoint->path) == 0
                 : endpoint->address.port != 0 && other->address.port == endpoint->address.port))
            return there->items[i].listener;
    }
    return NULL;
}
