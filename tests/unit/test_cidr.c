/* Prefixes: what is read, what is refused, and lists against a model that asks every prefix. */
#include "cidr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cidr parsed(const char *text)
{
    struct cidr cidr = { 0 };
    char error[CIDR_ERROR] = "";

    int err = cidr_parse(text, &cidr, error);
    assert_string_equal(error, "");
    assert_int_equal(err, 0);
    return cidr;
}

static enchufe_address address(const char *text)
{
    enchufe_address address = { .family = ENCHUFE_FAMILY_IPV4 };

    if (inet_pton(AF_INET, text, address.ip) == 1)
        return address;
    address.family = ENCHUFE_FAMILY_IPV6;
    assert_int_equal(inet_pton(AF_INET6, text, address.ip), 1);
    return address;
}

static void assert_error(const char *text, const char *sentence)
{
    char error[CIDR_ERROR];
    struct cidr cidr;

    assert_int_not_equal(cidr_parse(text, &cidr, error), 0);
    assert_string_equal(error, sentence);
}

/* ---- text ---- */

static void addresses_and_prefixes_of_both_families_are_read(void **state)
{
    struct cidr cidr = parsed("10.0.0.0/8");

    (void)state;
    assert_int_equal(cidr.bits, 104);
    assert_int_equal(cidr.first.low, 0xffff0a000000);
    assert_int_equal(parsed("192.0.2.1").bits, 128);
    assert_int_equal(parsed("0.0.0.0/0").bits, 96);
    assert_int_equal(parsed("::/0").bits, 0);
    assert_int_equal(parsed("::1").bits, 128);
    cidr = parsed("2001:db8::/32");
    assert_int_equal(cidr.bits, 32);
    assert_int_equal(cidr.first.high, 0x20010db800000000);
    assert_int_equal(cidr.first.low, 0);
}

#define NO_ADDRESS(text)                                                                           \
    "\"" text "\" is no address; write one such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
#define WRONG_PREFIX(text, most)                                                                   \
    "\"" text "\" has a wrong prefix; behind the / stands a number from 0 to " most

static void what_is_mistyped_is_refused_with_what_would_be_right(void **state)
{
    (void)state;
    assert_error("", NO_ADDRESS(""));
    assert_error("10.0.0/8", NO_ADDRESS("10.0.0/8"));
    assert_error("10.0.0.256", NO_ADDRESS("10.0.0.256"));
    assert_error("010.0.0.1", NO_ADDRESS("010.0.0.1"));
    assert_error("localhost", NO_ADDRESS("localhost"));
    assert_error("fe80::1%eth0", NO_ADDRESS("fe80::1%eth0"));
    assert_error("[::1]", NO_ADDRESS("[::1]"));
    assert_error("1::2::3/64", NO_ADDRESS("1::2::3/64"));
    assert_error("/8", NO_ADDRESS("/8"));
    assert_error("none", NO_ADDRESS("none"));
    assert_error("10.0.0.1,10.0.0.2",
                 "\"10.0.0.1,10.0.0.2\" has a comma; separate addresses by blanks");
    assert_error("10.0.0.0/33", WRONG_PREFIX("10.0.0.0/33", "32"));
    assert_error("10.0.0.0/", WRONG_PREFIX("10.0.0.0/", "32"));
    assert_error("10.0.0.0/08", WRONG_PREFIX("10.0.0.0/08", "32"));
    assert_error("10.0.0.0/-1", WRONG_PREFIX("10.0.0.0/-1", "32"));
    assert_error("10.0.0.0/8/8", WRONG_PREFIX("10.0.0.0/8/8", "32"));
    assert_error("10.0.0.0/255.0.0.0", WRONG_PREFIX("10.0.0.0/255.0.0.0", "32"));
    assert_error("::/129", WRONG_PREFIX("::/129", "128"));
    assert_error("::/4294967360", WRONG_PREFIX("::/4294967360", "128"));
}

static void bits_beyond_the_prefix_are_refused(void **state)
{
    (void)state;
    assert_error("10.0.0.1/8", "\"10.0.0.1/8\" has bits beyond its prefix; write 10.0.0.0/8, or "
                               "10.0.0.1 for this one address");
    assert_error("2001:db8::1/32", "\"2001:db8::1/32\" has bits beyond its prefix; write "
                                   "2001:db8::/32, or 2001:db8::1 for this one address");
    assert_error("128.0.0.0/0", "\"128.0.0.0/0\" has bits beyond its prefix; write 0.0.0.0/0, or "
                                "128.0.0.0 for this one address");
}

static void ipv4_within_ipv6_is_refused(void **state)
{
    (void)state;
    assert_error("::ffff:10.0.0.0/104", "\"::ffff:10.0.0.0/104\" is IPv4 within IPv6, which counts "
                                        "as IPv4; write 10.0.0.0/8");
    assert_error("::ffff:10.1.2.3", "\"::ffff:10.1.2.3\" is IPv4 within IPv6, which counts as "
                                    "IPv4; write 10.1.2.3/32");
}

static void a_long_text_is_cut_in_the_sentence(void **state)
{
    char text[1000], error[CIDR_ERROR];
    struct cidr cidr;

    (void)state;
    memset(text, '1', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_not_equal(cidr_parse(text, &cidr, error), 0);
    assert_non_null(strstr(error, "is no address"));
}

/* ---- lists ---- */

static struct cidr_list *compile(const char *const *allow, const char *const *deny)
{
    struct cidr allowed[8], denied[8];
    size_t allow_count = 0, deny_count = 0;

    for (; allow[allow_count] != NULL; allow_count++)
        allowed[allow_count] = parsed(allow[allow_count]);
    for (; deny[deny_count] != NULL; deny_count++)
        denied[deny_count] = parsed(deny[deny_count]);
    struct cidr_list *list = cidr_compile(allowed, allow_count, denied, deny_count);
    assert_non_null(list);
    return list;
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define EMPTY ((const char *const[]){ NULL })

static bool allows(const struct cidr_list *list, const char *text)
{
    enchufe_address peer = address(text);

    return cidr_allows(list, &peer);
}

static void the_longest_prefix_decides(void **state)
{
    struct cidr_list *list = compile(LIST("10.0.0.0/8", "10.1.2.3", "2001:db8:5::/48"),
                                     LIST("10.1.0.0/16", "2001:db8::/32"));

    (void)state;
    assert_true(allows(list, "10.0.0.0"));
    assert_true(allows(list, "10.0.255.255"));
    assert_false(allows(list, "10.1.0.0"));
    assert_true(allows(list, "10.1.2.3"));
    assert_false(allows(list, "10.1.2.4"));
    assert_false(allows(list, "10.1.255.255"));
    assert_true(allows(list, "10.2.0.0"));
    assert_true(allows(list, "10.255.255.255"));
    assert_false(allows(list, "11.0.0.0"));
    assert_false(allows(list, "9.255.255.255"));
    assert_true(allows(list, "2001:db8:5::1"));
    assert_false(allows(list, "2001:db8:6::1"));
    assert_false(allows(list, "::1"));
    free(list);
}

static void of_equal_prefixes_deny_wins(void **state)
{
    struct cidr_list *list =
        compile(LIST("10.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0"), LIST("10.0.0.0/8", "0.0.0.0/0"));

    (void)state;
    assert_false(allows(list, "10.0.0.1"));
    assert_false(allows(list, "11.0.0.1"));
    free(list);
}

static void the_same_prefix_may_be_said_a_thousand_times(void **state)
{
    struct cidr same[1000];

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        same[i] = parsed("10.0.0.0/8");
    struct cidr_list *list = cidr_compile(same, 1000, NULL, 0);
    assert_non_null(list);
    assert_true(allows(list, "10.255.255.255"));
    assert_false(allows(list, "11.0.0.0"));
    free(list);
}

static void without_allow_what_matches_nothing_is_allowed(void **state)
{
    struct cidr_list *list = compile(EMPTY, LIST("10.0.0.0/8", "255.255.255.255", "ffff::/16"));

    (void)state;
    assert_true(allows(list, "9.9.9.9"));
    assert_true(allows(list, "::1"));
    assert_false(allows(list, "10.9.9.9"));
    assert_false(allows(list, "255.255.255.255"));
    assert_true(allows(list, "255.255.255.254"));
    assert_false(allows(list, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    assert_true(allows(list, "fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    free(list);
}

static void what_is_said_of_one_family_says_nothing_of_the_other(void **state)
{
    struct cidr_list *six = compile(LIST("::/0"), EMPTY), *four = compile(EMPTY, LIST("0.0.0.0/0"));

    (void)state;
    assert_true(allows(six, "::1"));
    assert_true(allows(six, "::fffe:ffff:ffff"));
    assert_true(allows(six, "::1:0:0:0"));
    assert_false(allows(six, "0.0.0.0"));
    assert_false(allows(six, "255.255.255.255"));
    assert_true(allows(four, "::fffe:ffff:ffff"));
    assert_true(allows(four, "::1:0:0:0"));
    assert_false(allows(four, "0.0.0.0"));
    assert_false(allows(four, "255.255.255.255"));
    free(six);
    free(four);
}

static void a_unix_socket_is_allowed(void **state)
{
    struct cidr_list *list = compile(EMPTY, LIST("0.0.0.0/0", "::/0"));

    (void)state;
    assert_true(cidr_allows(list, &(enchufe_address){ .family = ENCHUFE_FAMILY_NONE }));
    free(list);
}

/* ---- a model ---- */

#define MANY 3000

static uint64_t random_state = 88172645463325252;

static uint64_t number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Few bits are 1, so that prefixes lie within each other and addresses hit them. */
static struct ip random_ip(bool ipv4)
{
    uint64_t few = number() & number() & number();

    if (ipv4)
        return (struct ip){ .low = UINT64_C(0xffff00000000) | (few & 0xffffffff) };
    return (struct ip){ .high = number() & number() & number(), .low = few };
}

static struct cidr random_cidr(void)
{
    bool ipv4 = number() % 2;
    unsigned bits = ipv4 ? 96 + (unsigned)(number() % 33) : (unsigned)(number() % 129);

    return (struct cidr){ .first = ip_prefix(random_ip(ipv4), bits), .bits = bits };
}

/* The longest match within one family; -1 for none. */
static int longest(const struct cidr *list, size_t count, struct ip ip, bool ipv4)
{
    int best = -1;

    for (size_t i = 0; i < count; i++)
        if ((!ipv4 || list[i].bits >= 96) && (int)list[i].bits > best &&
            ip_equal(ip_prefix(ip, list[i].bits), list[i].first))
            best = (int)list[i].bits;
    return best;
}

static enchufe_address address_of(struct ip ip, bool ipv4)
{
    enchufe_address address = { .family = ipv4 ? ENCHUFE_FAMILY_IPV4 : ENCHUFE_FAMILY_IPV6 };

    for (int i = 0; i < 4 && ipv4; i++)
        address.ip[i] = (uint8_t)(ip.low >> (24 - 8 * i));
    for (int i = 0; i < 8 && !ipv4; i++) {
        address.ip[i] = (uint8_t)(ip.high >> (56 - 8 * i));
        address.ip[8 + i] = (uint8_t)(ip.low >> (56 - 8 * i));
    }
    return address;
}

static void assert_like_model(const struct cidr *allow, size_t allow_count, const struct cidr *deny,
                              size_t deny_count)
{
    struct cidr_list *list = cidr_compile(allow, allow_count, deny, deny_count);
    size_t all = allow_count + deny_count;

    assert_non_null(list);
    for (int i = 0; i < 3000; i++) {
        bool ipv4 = number() % 2;
        struct ip ip = random_ip(ipv4);
        /* Half of them at the borders of a prefix. */
        if (all != 0 && number() % 2) {
            size_t at = number() % all;
            const struct cidr *near = at < allow_count ? &allow[at] : &deny[at - allow_count];
            ipv4 = near->bits >= 96 && near->first.high == 0 && near->first.low >> 32 == 0xffff;
            ip = near->first;
            if (number() % 2 && near->bits >= 64) /* the last, or the first behind it */
                ip.low += (near->bits == 64 ? 0 : UINT64_C(1) << (128 - near->bits)) - number() % 2;
            ipv4 = ipv4 && ip.low >> 32 == 0xffff;
        }
        if (!ipv4 && ip.high == 0 && ip.low >> 32 == 0xffff)
            continue; /* is never met as IPv6 */
        enchufe_address peer = address_of(ip, ipv4);
        int yes = longest(allow, allow_count, ip, ipv4), no = longest(deny, deny_count, ip, ipv4);
        bool expected = yes < 0 && no < 0 ? allow_count == 0 : yes > no;
        assert_int_equal(cidr_allows(list, &peer), expected);
    }
    free(list);
}

static void lists_answer_like_a_model_that_asks_every_prefix(void **state)
{
    static const size_t sizes[] = { 0, 1, 2, 5, 30, 300, MANY };
    static struct cidr allow[MANY], deny[MANY];

    (void)state;
    for (size_t round = 0; round < 40; round++) {
        size_t yes = sizes[number() % 7], no = sizes[number() % 7];
        for (size_t i = 0; i < yes; i++)
            allow[i] = random_cidr();
        for (size_t i = 0; i < no; i++)
            deny[i] = yes != 0 && number() % 8 == 0 ? allow[number() % yes] : random_cidr();
        assert_like_model(allow, yes, deny, no);
    }
}

static void prefixes_of_every_length_may_lie_within_each_other(void **state)
{
    struct cidr allow[65], deny[64];

    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++)
        *(bits % 2 ? &deny[bits / 2] : &allow[bits / 2]) =
            (struct cidr){ .first = ip_prefix((struct ip){ UINT64_MAX, UINT64_MAX }, bits),
                           .bits = bits };
    assert_like_model(allow, 65, deny, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_prefixes_of_both_families_are_read),
        cmocka_unit_test(what_is_mistyped_is_refused_with_what_would_be_right),
        cmocka_unit_test(bits_beyond_the_prefix_are_refused),
        cmocka_unit_test(ipv4_within_ipv6_is_refused),
        cmocka_unit_test(a_long_text_is_cut_in_the_sentence),
        cmocka_unit_test(the_longest_prefix_decides),
        cmocka_unit_test(of_equal_prefixes_deny_wins),
        cmocka_unit_test(the_same_prefix_may_be_said_a_thousand_times),
        cmocka_unit_test(without_allow_what_matches_nothing_is_allowed),
        cmocka_unit_test(what_is_said_of_one_family_says_nothing_of_the_other),
        cmocka_unit_test(a_unix_socket_is_allowed),
        cmocka_unit_test(lists_answer_like_a_model_that_asks_every_prefix),
        cmocka_unit_test(prefixes_of_every_length_may_lie_within_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
