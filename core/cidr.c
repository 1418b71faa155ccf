/* Prefixes and lists of them. A list is compiled to steps: addresses in order, at each of which begins a
 * range with one answer, so that a look-up is a binary search however prefixes lie within each other. */
#include "cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `::/0` within which `0.0.0.0/0`, within which ... a prefix of 128 bits, and room for one that ends. */
#define DEPTH 130

struct step {
    struct ip first;
    bool allowed; /* from here up to the next step */
};

struct cidr_list {
    size_t count; /* at least 1: the first is at `::` */
    struct step steps[];
};

static const struct ip ipv4_first = { .low = UINT64_C(0xffff00000000) };

/* ---- text ---- */

static int refuse(char error[CIDR_ERROR], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(char error[CIDR_ERROR], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, CIDR_ERROR, format, args);
    va_end(args);
    return -EINVAL;
}

static uint64_t read_bytes(const uint8_t bytes[8])
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

static struct ip from_bytes(const uint8_t bytes[16])
{
    return (struct ip){ .high = read_bytes(bytes), .low = read_bytes(bytes + 8) };
}

struct ip ip_of(const enchufe_address *address)
{
    uint32_t ipv4;

    if (address->family == ENCHUFE_FAMILY_IPV6)
        return from_bytes(address->ip);
    memcpy(&ipv4, address->ip, sizeof ipv4);
    return (struct ip){ .high = ipv4_first.high, .low = ipv4_first.low | ntohl(ipv4) };
}

/* Writes the address alone, as its family writes it. */
static const char *format_ip(struct ip ip, bool ipv4, char text[INET6_ADDRSTRLEN])
{
    uint8_t bytes[16];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(ip.high >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(ip.low >> (56 - 8 * i));
    }
    inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? bytes + 12 : bytes, text, INET6_ADDRSTRLEN);
    return text;
}

/* Returns 4, 6, or 0 where the first len bytes of text are no address. */
static int read_address(const char *text, size_t len, struct ip *out)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };

    if (len >= sizeof copy)
        return 0;
    memcpy(copy, text, len);
    copy[len] = '\0';
    int family = inet_pton(AF_INET, copy, bytes + 12) == 1 ? 4
                 : inet_pton(AF_INET6, copy, bytes) == 1   ? 6
                                                           : 0;
    *out = from_bytes(bytes);
    return family;
}

/* Returns -1 where text is no number, or one with a leading zero. */
static int read_bits(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 3 || text[digits] != '\0' || (digits > 1 && *text == '0'))
        return -1;
    return atoi(text);
}

int cidr_parse(const char *text, struct cidr *out, char error[CIDR_ERROR])
{
    size_t len = strcspn(text, "/");
    char right[INET6_ADDRSTRLEN], single[INET6_ADDRSTRLEN];
    struct ip ip;
    int family = read_address(text, len, &ip), width = family == 4 ? 32 : 128;

    if (family == 0 && strchr(text, ',') != NULL)
        return refuse(error, "\"%.80s\" has a comma; separate addresses by blanks", text);
    if (family == 0)
        return refuse(error,
                      "\"%.80s\" is no address; write one such as 192.0.2.1, 192.0.2.0/24 or "
                      "2001:db8::/32",
                      text);
    int bits = text[len] == '/' ? read_bits(text + len + 1) : width;
    if (bits < 0 || bits > width)
        return refuse(error,
                      "\"%.80s\" has a wrong prefix; behind the / stands a number from 0 to %d",
                      text, width);
    if (family == 6 && bits >= CIDR_IPV4 && ip_equal(ip_prefix(ip, CIDR_IPV4), ipv4_first))
        return refuse(error, "\"%.80s\" is IPv4 within IPv6, which counts as IPv4; write %s/%d",
                      text, format_ip(ip_prefix(ip, (unsigned)bits), true, right),
                      bits - CIDR_IPV4);
    unsigned whole = (unsigned)bits + (family == 4 ? CIDR_IPV4 : 0);
    struct ip first = ip_prefix(ip, whole);
    if (!ip_equal(first, ip))
        return refuse(
            error, "\"%.80s\" has bits beyond its prefix; write %s/%d, or %s for this one address",
            text, format_ip(first, family == 4, right), bits, format_ip(ip, family == 4, single));
    *out = (struct cidr){ .first = first, .bits = whole };
    return 0;
}

/* ---- compiling ---- */

/* What a prefix says; of equal prefixes the later one wins. */
enum says { NOTHING, ALLOW, DENY };

struct range {
    struct cidr cidr;
    enum says says;
};

static int compare_ip(struct ip a, struct ip b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

/* The wider before the narrower that begins at the same address. */
static int compare(const void *one, const void *other)
{
    const struct range *a = one, *b = other;
    int order = compare_ip(a->cidr.first, b->cidr.first);

    if (order == 0)
        order = (int)a->cidr.bits - (int)b->cidr.bits;
    return order != 0 ? order : (int)a->says - (int)b->says;
}

static struct ip last_of(const struct cidr *cidr)
{
    struct ip host = ip_prefix((struct ip){ UINT64_MAX, UINT64_MAX }, cidr->bits);

    return (struct ip){ .high = cidr->first.high | ~host.high, .low = cidr->first.low | ~host.low };
}

static void add_step(struct cidr_list *list, struct ip first, bool allowed)
{
    struct step *last = list->count != 0 ? &list->steps[list->count - 1] : NULL;

    if (last != NULL && ip_equal(last->first, first))
        last->allowed = allowed;
    else if (last == NULL || last->allowed != allowed)
        list->steps[list->count++] = (struct step){ .first = first, .allowed = allowed };
}

struct open_range {
    struct ip last;
    bool allowed;
};

/* The innermost range ends; behind it goes on the one around it. The outermost ends with the last address
 * of all. */
static size_t close_range(struct cidr_list *list, const struct open_range *open, size_t depth)
{
    struct ip next = open[depth - 1].last;

    if (depth == 1)
        return 0;
    if (++next.low == 0)
        next.high++;
    if (next.high != 0 || next.low != 0)
        add_step(list, next, open[depth - 2].allowed);
    return depth - 1;
}

/* Ranges are sorted, the first is ::/0. */
static void sweep(struct cidr_list *list, const struct range *ranges, size_t count, bool otherwise)
{
    struct open_range open[DEPTH];
    size_t depth = 0;

    for (size_t i = 0; i < count; i++) {
        struct ip last = last_of(&ranges[i].cidr);
        bool allowed = ranges[i].says == NOTHING ? otherwise : ranges[i].says == ALLOW;

        while (depth != 0 && compare_ip(open[depth - 1].last, ranges[i].cidr.first) < 0)
            depth = close_range(list, open, depth);
        bool again = i != 0 && ranges[i - 1].cidr.bits == ranges[i].cidr.bits &&
                     ip_equal(ranges[i - 1].cidr.first, ranges[i].cidr.first);
        depth -= again;
        open[depth++] = (struct open_range){ .last = last, .allowed = allowed };
        add_step(list, ranges[i].cidr.first, allowed);
    }
    while (depth != 0)
        depth = close_range(list, open, depth);
}

static size_t add_ranges(struct range *ranges, size_t count, const struct cidr *cidrs, size_t more,
                         enum says says)
{
    for (size_t i = 0; i < more; i++)
        ranges[count++] = (struct range){ .cidr = cidrs[i], .says = says };
    return count;
}

struct cidr_list *cidr_compile(const struct cidr *allow, size_t allow_count,
                               const struct cidr *deny, size_t deny_count)
{
    /* Both families wholly, so that what is said of one never answers for the other. */
    static const struct cidr everything[] = {
        { .bits = 0 }, { .first = { .low = UINT64_C(0xffff00000000) }, .bits = CIDR_IPV4 }
    };
    size_t most = allow_count + deny_count + 2, count;
    struct range *ranges = calloc(most, sizeof *ranges);
    struct cidr_list *list = malloc(sizeof *list + 2 * most * sizeof *list->steps);

    if (ranges == NULL || list == NULL) {
        free(ranges);
        free(list);
        return NULL;
    }
    list->count = 0;
    count = add_ranges(ranges, 0, everything, 2, NOTHING);
    count = add_ranges(ranges, count, allow, allow_count, ALLOW);
    count = add_ranges(ranges, count, deny, deny_count, DENY);
    qsort(ranges, count, sizeof *ranges, compare);
    sweep(list, ranges, count, allow_count == 0);
    free(ranges);
    return list;
}

bool cidr_allows(const struct cidr_list *list, const enchufe_address *address)
{
    size_t low = 0, high = list->count;

    if (address->family == ENCHUFE_FAMILY_NONE)
        return true;
    struct ip ip = ip_of(address);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (compare_ip(list->steps[middle].first, ip) <= 0)
            low = middle;
        else
            high = middle;
    }
    return list->steps[low].allowed;
}
