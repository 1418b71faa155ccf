/* Endpoints: `tcp://HOST:PORT`, `udp://HOST:PORT` and `unix:///path` from text and to text. Strict: an
 * administrator's slip is answered with a sentence, never with a guess. */
#include "endpoint.h"
#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* The longest name that DNS knows has 253 bytes; one more for the NUL. */
#define HOST_MAX 254

static const char *const schemes[] = {
    [ENCHUFE_TCP] = "tcp://",
    [ENCHUFE_UDP] = "udp://",
    [ENCHUFE_UNIX] = "unix://",
};

struct port_range {
    unsigned first, last;
};

/* Where the parts of HOST:PORT stand in the text. */
struct host_port {
    char host[HOST_MAX];
    bool bracketed;
    const char *ports;
};

__attribute__((format(printf, 2, 3))) static int fail(char *error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, ENDPOINT_ERROR, format, args);
    va_end(args);
    /* The sentence may quote what stood in a file: it must stay one line on a terminal. */
    for (char *c = error; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return -EINVAL;
}

/* ---- endpoints ---- */

socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *out)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (endpoint->kind != ENCHUFE_UNIX)
        return address_to_sockaddr(&endpoint->address, endpoint->any, out);
    memset(out, 0, sizeof *out);
    memcpy(un.sun_path, endpoint->path, sizeof un.sun_path);
    memcpy(out, &un, sizeof un);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(endpoint->path) + 1);
}

const char *endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT])
{
    char address[ENCHUFE_ADDRESS_TEXT];
    const char *scheme = schemes[endpoint->kind];

    if (endpoint->kind == ENCHUFE_UNIX)
        snprintf(text, ENDPOINT_TEXT, "%s%s", scheme, endpoint->path);
    else if (endpoint->any)
        snprintf(text, ENDPOINT_TEXT, "%s:%u", scheme, endpoint->address.port);
    else
        snprintf(text, ENDPOINT_TEXT, "%s%s", scheme,
                 enchufe_address_format(&endpoint->address, address, sizeof address));
    return text;
}

static bool is_wildcard(const struct endpoint *endpoint)
{
    static const uint8_t zero[16];

    return endpoint->any || memcmp(endpoint->address.ip, zero, sizeof zero) == 0;
}

static bool same_ip(const enchufe_address *a, const enchufe_address *b)
{
    return a->family == b->family && a->scope == b->scope && memcmp(a->ip, b->ip, 16) == 0;
}

bool endpoint_clashes(const struct endpoint *a, const struct endpoint *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ENCHUFE_UNIX)
        return strcmp(a->path, b->path) == 0;
    if (a->address.port != b->address.port || a->address.port == 0)
        return false;
    if (is_wildcard(a) || is_wildcard(b))
        return is_wildcard(a) && is_wildcard(b);
    return same_ip(&a->address, &b->address);
}

void endpoint_list_free(struct endpoint_list *list)
{
    free(list->items);
    *list = (struct endpoint_list){ .count = 0 };
}

/* Room is a power of two, so that a range of all ports does not copy the list for each. */
static int append(struct endpoint_list *list, const struct endpoint *endpoint, char *error)
{
    size_t count = list->count, room = count ? 2 * count : 1;

    if ((count & (count - 1)) == 0) {
        struct endpoint *items = reallocarray(list->items, room, sizeof *items);

        if (!items)
            return fail(error, "no memory for so many endpoints");
        list->items = items;
    }
    list->items[list->count++] = *endpoint;
    return 0;
}

/* ---- parsing: ports ---- */

/* A number that ends where *text then points; -1 where there is none. Anything over 65535 stays
 * over it, however many digits follow. */
static long parse_number(const char **text)
{
    const char *c = *text;
    long number = 0;

    if (*c < '0' || *c > '9')
        return -1;
    for (; *c >= '0' && *c <= '9'; c++)
        if (number <= 65535)
            number = number * 10 + (*c - '0');
    *text = c;
    return number;
}

static int parse_port(const char **text, const char *whole, unsigned *port, char *error)
{
    const char *start = *text;
    long number = parse_number(text);

    if (number < 0)
        return fail(error, "\"%.60s\" is not a port, ports are numbers from 0 to 65535", whole);
    if (number > 65535)
        return fail(error, "port %.*s is out of range, ports are 0 to 65535",
                    (int)(*text - start > 40 ? 40 : *text - start), start);
    *port = (unsigned)number;
    return 0;
}

static int parse_ports(const char *text, struct port_range *range, char *error)
{
    const char *rest = text;
    int rc = parse_port(&rest, text, &range->first, error);

    if (rc)
        return rc;
    range->last = range->first;
    if (*rest == '-') {
        rest++;
        if (!*rest)
            return fail(error, "the range \"%.40s\" has no end, write it like 8000-8010", text);
        rc = parse_port(&rest, text, &range->last, error);
        if (rc)
            return rc;
    }
    if (*rest)
        return fail(error, "unexpected \"%.40s\" after the port \"%.*s\"", rest,
                    (int)(rest - text > 40 ? 40 : rest - text), text);
    if (range->last < range->first)
        return fail(error, "the range %u-%u is reversed, write %u-%u", range->first, range->last,
                    range->last, range->first);
    if (range->first == 0 && strchr(text, '-'))
        return fail(error, "a range cannot start at port 0, which stands for any free port");
    return 0;
}

/* ---- parsing: hosts ---- */

static bool is_ipv6(const char *text, size_t len)
{
    char copy[HOST_MAX];
    struct in6_addr ip;

    if (len >= HOST_MAX)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    copy[strcspn(copy, "%")] = '\0';
    return inet_pton(AF_INET6, copy, &ip) == 1;
}

/* Cuts HOST:PORT at its colon. */
static int split_host(const char *text, const char *scheme, struct host_port *out, char *error)
{
    const char *host = text, *colon = strchr(text, ':'), *last = strrchr(text, ':');
    size_t len;

    out->bracketed = *text == '[';
    if (out->bracketed) {
        const char *end = strchr(text, ']');

        if (!end)
            return fail(error, "the bracket is not closed, an IPv6 address looks like %s[::1]:8000",
                        scheme);
        host = text + 1;
        len = (size_t)(end - host);
        if (end[1] != ':' && end[1] != '\0')
            return fail(error, "unexpected \"%.60s\" after the bracket, a port looks like :8000",
                        end + 1);
        colon = end[1] ? end + 1 : NULL;
    } else {
        if (last != colon && (is_ipv6(text, (size_t)(last - text)) || is_ipv6(text, strlen(text))))
            return fail(error, "an IPv6 address stands in brackets: %s[::1]:8000", scheme);
        len = colon ? (size_t)(colon - host) : strlen(host);
    }
    if (len >= HOST_MAX)
        return fail(error, "the host name is %zu bytes long, 253 are possible", len);
    if (!colon || !colon[1])
        return fail(error,
                    out->bracketed ? "the port is missing: %s[%.*s]:8000"
                                   : "the port is missing: %s%.*s:8000",
                    scheme, (int)len, host);
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    out->ports = colon + 1;
    return 0;
}

/* The interface of a link-local address, by its name or number. */
static int parse_scope(const char *text, enchufe_address *address, char *error)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*text >= '0' && *text <= '9' && *end == '\0' && number <= UINT32_MAX)
        address->scope = (uint32_t)number;
    else
        address->scope = if_nametoindex(text);
    if (address->scope == 0)
        return fail(error, "unknown interface \"%.40s\", see the names with: ip link", text);
    return 0;
}

static int parse_ipv6(char *host, enchufe_address *address, char *error)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    char *scope = strchr(host, '%');
    bool local;

    if (scope)
        *scope++ = '\0';
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return fail(error, "\"%.100s\" in brackets is not an IPv6 address, such as ::1", host);
    address_from_sockaddr(address, (const struct sockaddr *)&v6);
    local = IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&v6.sin6_addr);
    if (local && !scope)
        return fail(error, "a link-local address needs its interface: [%.50s%%eth0]", host);
    if (scope && !local)
        return fail(error, "%.50s is not a link-local address and takes no interface", host);
    return scope ? parse_scope(scope, address, error) : 0;
}

/* Each distinct address of a name becomes an endpoint. */
static int resolve(const char *host, struct endpoint *endpoint, struct endpoint_list *list,
                   char *error)
{
    size_t first = list->count;
    uint16_t port = endpoint->address.port;
    struct name name;
    int rc = 0;

    names_look_up(NAME_HOST, host, &name);
    if (!name.found)
        return fail(error, "%s \"%.120s\": %s",
                    name.silent ? "cannot look up host" : "unknown host", host, name.wrong);
    for (size_t n = 0; n < name.count && !rc; n++) {
        size_t i = first;

        endpoint->address = name.addresses[n];
        endpoint->address.port = port;
        while (i < list->count && !same_ip(&list->items[i].address, &endpoint->address))
            i++;
        if (i == list->count)
            rc = append(list, endpoint, error);
    }
    return rc;
}

/* Appends one endpoint, or as many as a name has addresses. */
static int parse_host(struct host_port *in, struct endpoint *endpoint, struct endpoint_list *list,
                      char *error)
{
    uint16_t port = endpoint->address.port;
    struct in_addr v4;
    int rc = 0;

    if (in->bracketed) {
        rc = parse_ipv6(in->host, &endpoint->address, error);
        endpoint->address.port = port;
    } else if (in->host[0] == '\0' || strcmp(in->host, "*") == 0) {
        endpoint->any = true;
        endpoint->address.family = ENCHUFE_FAMILY_IPV6;
    } else if (inet_pton(AF_INET, in->host, &v4) == 1) {
        endpoint->address.family = ENCHUFE_FAMILY_IPV4;
        memcpy(endpoint->address.ip, &v4, 4);
    } else if (in->host[strspn(in->host, "0123456789.")] == '\0' || inet_aton(in->host, &v4)) {
        /* Not for the resolver: it takes 127.1 or 1.2.3 for addresses that nobody meant. */
        return fail(error, "\"%.120s\" is not an IPv4 address, such as 127.0.0.1", in->host);
    } else {
        return resolve(in->host, endpoint, list, error);
    }
    return rc ? rc : append(list, endpoint, error);
}

static int parse_inet(int kind, const char *text, struct endpoint_list *list, char *error)
{
    struct endpoint endpoint = { .kind = kind };
    struct host_port parts;
    struct port_range ports;
    size_t first = list->count, last;
    int rc = split_host(text, schemes[kind], &parts, error);

    if (!rc)
        rc = parse_ports(parts.ports, &ports, error);
    if (rc)
        return rc;
    endpoint.address.port = (uint16_t)ports.first;
    rc = parse_host(&parts, &endpoint, list, error);
    last = list->count;
    for (unsigned port = ports.first + 1; !rc && port <= ports.last; port++)
        for (size_t i = first; !rc && i < last; i++) {
            endpoint = list->items[i];
            endpoint.address.port = (uint16_t)port;
            rc = append(list, &endpoint, error);
        }
    return rc;
}

/* ---- parsing: Unix paths ---- */

/* Takes out `//` and `/./`, so that one file written in two ways is found to be one. */
static void tidy_path(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        if (from[0] == '/' && from[1] == '/')
            from++;
        else if (from[0] == '/' && from[1] == '.' && from[2] == '/')
            from += 2;
        else
            *to++ = *from++;
    }
    *to = '\0';
}

static int parse_unix(const char *text, const char *base_dir, struct endpoint_list *list,
                      char *error)
{
    struct endpoint endpoint = { .kind = ENCHUFE_UNIX };
    char cwd[PATH_MAX] = "", path[3 * PATH_MAX];
    const char *base = base_dir ? base_dir : "";
    size_t len = strlen(text);
    int made;

    if (len == 0)
        return fail(error, "the path is missing: unix:///run/name.sock");
    if (text[len - 1] == '/')
        return fail(error, "the path ends with a slash, it must name the socket's file");
    if (text[0] == '/')
        base = "/";
    else if (base[0] != '/' && !getcwd(cwd, sizeof cwd))
        return fail(error, "the current directory is unknown (%s), write an absolute path",
                    strerror(errno));
    made = snprintf(path, sizeof path, "%s/%s/%s", cwd, base, text);
    if (made >= (int)sizeof path)
        return fail(error, "the path is %d bytes long, the system allows 107 for a socket", made);
    tidy_path(path);
    len = strlen(path);
    if (len >= sizeof endpoint.path)
        return fail(error, "the path is %zu bytes long, the system allows 107 for a socket: %.120s",
                    len, path);
    memcpy(endpoint.path, path, len + 1);
    return append(list, &endpoint, error);
}

int endpoint_parse(const char *text, const char *base_dir, struct endpoint_list *list,
                   char error[ENDPOINT_ERROR])
{
    size_t before = list->count;
    const char *colon = strstr(text, "://");
    int kind, rc;

    if (!colon)
        return fail(error,
                    "\"%.60s\" has no scheme, use tcp://HOST:PORT, udp://HOST:PORT or "
                    "unix:///path",
                    text);
    for (kind = ENCHUFE_TCP; kind <= ENCHUFE_UNIX; kind++)
        if (strncmp(text, schemes[kind], strlen(schemes[kind])) == 0)
            break;
    if (kind > ENCHUFE_UNIX)
        return fail(error, "unknown scheme \"%.*s\", use tcp://, udp:// or unix://",
                    (int)(colon - text > 60 ? 60 : colon - text), text);
    text = colon + 3;
    rc = kind == ENCHUFE_UNIX ? parse_unix(text, base_dir, list, error)
                              : parse_inet(kind, text, list, error);
    if (rc && before == 0)
        endpoint_list_free(list); /* a caller need not free after an error */
    else if (rc)
        list->count = before;
    return rc;
}
