/* Fuzzer of cidr.c: lists of prefixes as people write them. What is read, written and read again is the same
 * prefix; whether an address is allowed is what one finds by looking at every prefix. */
#include "cidr.h"
#include "address.h"
#include "fuzz.h"
#include <arpa/inet.h>
#include <errno.h>

#define PREFIXES_MAX 64

struct list {
    struct cidr items[PREFIXES_MAX];
    size_t count;
};

static void check_round_trip(const struct cidr *cidr)
{
    char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8], error[CIDR_ERROR];
    uint8_t bytes[16];
    struct cidr again;
    bool ipv4 = cidr->first.high == 0 && cidr->first.low >> 32 == 0xffff && cidr->bits >= CIDR_IPV4;

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)((i < 8 ? cidr->first.high : cidr->first.low) >> (56 - i % 8 * 8));
    if (ipv4)
        inet_ntop(AF_INET, bytes + 12, address, sizeof address);
    else
        inet_ntop(AF_INET6, bytes, address, sizeof address);
    snprintf(text, sizeof text, "%s/%u", address, cidr->bits - (ipv4 ? CIDR_IPV4 : 0));
    CHECK(cidr_parse(text, &again, error) == 0);
    CHECK(again.bits == cidr->bits && ip_equal(again.first, cidr->first));
}

static void add(struct list *list, const char *text)
{
    char error[CIDR_ERROR] = "";
    struct cidr cidr;
    int status = cidr_parse(text, &cidr, error);

    if (status != 0) {
        CHECK(status == -EINVAL && *error != '\0' && strlen(error) < CIDR_ERROR);
        return;
    }
    CHECK(cidr.bits <= 128 && ip_equal(ip_prefix(cidr.first, cidr.bits), cidr.first));
    check_round_trip(&cidr);
    if (list->count < PREFIXES_MAX)
        list->items[list->count++] = cidr;
}

/* How long the longest prefix is that matches; -1: none. `::/0` says nothing of IPv4. */
static int longest(const struct list *list, struct ip ip)
{
    bool ipv4 = ip.high == 0 && ip.low >> 32 == 0xffff;
    int bits = -1;

    for (size_t i = 0; i < list->count; i++) {
        const struct cidr *cidr = &list->items[i];
        if ((!ipv4 || cidr->bits >= CIDR_IPV4) && (int)cidr->bits > bits &&
            ip_equal(ip_prefix(ip, cidr->bits), cidr->first))
            bits = (int)cidr->bits;
    }
    return bits;
}

static void ask(const struct cidr_list *compiled, const struct list *allow, const struct list *deny,
                const enchufe_address *address)
{
    struct ip ip = ip_of(address);
    int allowed = longest(allow, ip), denied = longest(deny, ip);
    bool expected = allowed < 0 && denied < 0 ? allow->count == 0 : allowed > denied;

    CHECK(cidr_allows(compiled, address) == expected);
}

/* The address, and its neighbours, which may be on the other side of a prefix's edge. */
static void ask_around(const struct cidr_list *compiled, const struct list *allow,
                       const struct list *deny, struct ip ip)
{
    for (int step = -1; step <= 1; step++) {
        struct ip near = { .low = ip.low + (uint64_t)step };
        near.high = ip.high + (step == 1 && near.low == 0) - (step == -1 && ip.low == 0);
        bool ipv4 = near.high == 0 && near.low >> 32 == 0xffff;
        enchufe_address address = { .family = ipv4 ? ENCHUFE_FAMILY_IPV4 : ENCHUFE_FAMILY_IPV6 };
        for (unsigned i = 0; i < 16; i++) {
            uint8_t byte = (uint8_t)((i < 8 ? near.high : near.low) >> (56 - i % 8 * 8));
            if (!ipv4 || i >= 12)
                address.ip[ipv4 ? i - 12 : i] = byte;
        }
        ask(compiled, allow, deny, &address);
    }
}

static void ask_all(const struct cidr_list *compiled, const struct list *allow,
                    const struct list *deny, const struct list *of)
{
    for (size_t i = 0; i < of->count; i++) {
        const struct cidr *cidr = &of->items[i];
        struct ip rest = ip_prefix((struct ip){ UINT64_MAX, UINT64_MAX }, cidr->bits);
        struct ip last = { .high = cidr->first.high | ~rest.high,
                           .low = cidr->first.low | ~rest.low };
        ask_around(compiled, allow, deny, cidr->first);
        ask_around(compiled, allow, deny, last);
    }
}

/* Lines; one that begins with `!` is denied. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enchufe_address nobody = { .family = ENCHUFE_FAMILY_NONE };
    struct input in = { .data = data, .len = size };
    struct list allow = { .count = 0 }, deny = { .count = 0 };
    char *text = input_text(&in), *rest = text;

    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        add(*line == '!' ? &deny : &allow, *line == '!' ? line + 1 : line);
    struct cidr_list *compiled = cidr_compile(allow.items, allow.count, deny.items, deny.count);
    CHECK(compiled != NULL);
    CHECK(cidr_allows(compiled, &nobody));
    ask_all(compiled, &allow, &deny, &allow);
    ask_all(compiled, &allow, &deny, &deny);
    free(compiled);
    free(text);
    return 0;
}
