/* Unit tests of endpoints: what is read, what is refused with which sentence, what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "endpoint.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static struct endpoint_list parsed(const char *text)
{
    struct endpoint_list list = { .count = 0 };
    char error[ENDPOINT_ERROR] = "";

    if (endpoint_parse(text, "/base", &list, error) != 0)
        fail_msg("%s: %s", text, error);
    return list;
}

/* One endpoint, which prints as `expected`. */
static void prints_as(const char *text, const char *expected)
{
    struct endpoint_list list = parsed(text);
    char printed[ENDPOINT_TEXT];

    assert_int_equal(list.count, 1);
    assert_string_equal(endpoint_format(&list.items[0], printed), expected);
    endpoint_list_free(&list);
}

static void refused(const char *text, const char *sentence)
{
    struct endpoint_list list = parsed("tcp://127.0.0.1:1");
    char error[ENDPOINT_ERROR] = "";

    assert_int_equal(endpoint_parse(text, "/base", &list, error), -EINVAL);
    assert_string_equal(error, sentence);
    assert_int_equal(list.count, 1);
    endpoint_list_free(&list);
}

static void endpoints_print_as_they_are_written(void **state)
{
    (void)state;
    prints_as("tcp://127.0.0.1:8000", "tcp://127.0.0.1:8000");
    prints_as("udp://0.0.0.0:65535", "udp://0.0.0.0:65535");
    prints_as("tcp://[::1]:0", "tcp://[::1]:0");
    prints_as("udp://[2001:db8:0:0::7]:53", "udp://[2001:db8::7]:53");
    prints_as("tcp://[::]:80", "tcp://[::]:80");
    prints_as("unix:///run/x.sock", "unix:///run/x.sock");
    prints_as("tcp://127.0.0.1:8000-8000", "tcp://127.0.0.1:8000");
}

static void no_host_is_every_address_of_both_families(void **state)
{
    struct endpoint_list list = parsed("tcp://:8000");
    struct sockaddr_storage address;
    struct sockaddr_in6 v6;

    (void)state;
    assert_true(list.items[0].any);
    assert_int_equal(endpoint_to_sockaddr(&list.items[0], &address), sizeof v6);
    memcpy(&v6, &address, sizeof v6);
    assert_int_equal(v6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(v6.sin6_port), 8000);
    assert_true(IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr));
    endpoint_list_free(&list);
    prints_as("tcp://:8000", "tcp://:8000");
    prints_as("udp://*:9", "udp://:9");
    list = parsed("tcp://[::]:8000");
    assert_false(list.items[0].any);
    endpoint_list_free(&list);
}

static void an_ipv4_address_in_ipv6_is_ipv4(void **state)
{
    (void)state;
    prints_as("tcp://[::ffff:10.1.2.3]:80", "tcp://10.1.2.3:80");
}

static void a_range_is_an_endpoint_for_each_port(void **state)
{
    struct endpoint_list list = parsed("udp://127.0.0.1:8000-8010");

    (void)state;
    assert_int_equal(list.count, 11);
    for (unsigned i = 0; i < 11; i++) {
        assert_int_equal(list.items[i].kind, ENCHUFE_UDP);
        assert_int_equal(list.items[i].address.port, 8000 + i);
        assert_int_equal(list.items[i].address.ip[0], 127);
    }
    endpoint_list_free(&list);
    list = parsed("tcp://:1-65535");
    assert_int_equal(list.count, 65535);
    assert_true(list.items[65534].any);
    assert_int_equal(list.items[65534].address.port, 65535);
    endpoint_list_free(&list);
}

static void parsing_appends_to_the_list(void **state)
{
    struct endpoint_list list = parsed("tcp://127.0.0.1:1");
    char error[ENDPOINT_ERROR];

    (void)state;
    assert_int_equal(endpoint_parse("unix:///x", NULL, &list, error), 0);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].kind, ENCHUFE_TCP);
    assert_int_equal(list.items[1].kind, ENCHUFE_UNIX);
    endpoint_list_free(&list);
    assert_int_equal(list.count, 0);
}

static void a_name_is_an_endpoint_for_each_distinct_address(void **state)
{
    struct endpoint_list list = parsed("tcp://localhost:8000-8001");
    size_t v4 = 0;

    (void)state;
    assert_true(list.count >= 2 && list.count % 2 == 0);
    for (size_t i = 0; i < list.count; i++) {
        static const uint8_t loopback[4] = { 127, 0, 0, 1 };

        assert_in_range(list.items[i].address.port, 8000, 8001);
        if (list.items[i].address.family == ENCHUFE_FAMILY_IPV4)
            v4 += memcmp(list.items[i].address.ip, loopback, 4) == 0;
        for (size_t j = 0; j < i; j++)
            assert_false(endpoint_clashes(&list.items[i], &list.items[j]));
    }
    assert_int_equal(v4, 2);
    endpoint_list_free(&list);
}

static void an_unknown_host_is_named(void **state)
{
    struct endpoint_list list = { .count = 0 };
    char error[ENDPOINT_ERROR] = "";

    (void)state;
    assert_int_equal(endpoint_parse("tcp://no-such-host.invalid:80", "/", &list, error), -EINVAL);
    /* What follows depends on the machine's resolver. */
    assert_ptr_equal(strstr(error, "unknown host \"no-such-host.invalid\": "), error);
    assert_null(list.items);
}

static void a_scheme_is_required_and_known(void **state)
{
    (void)state;
    refused("127.0.0.1:8000", "\"127.0.0.1:8000\" has no scheme, use tcp://HOST:PORT, "
                              "udp://HOST:PORT or unix:///path");
    refused("", "\"\" has no scheme, use tcp://HOST:PORT, udp://HOST:PORT or unix:///path");
    refused("http://127.0.0.1:80", "unknown scheme \"http\", use tcp://, udp:// or unix://");
    refused("://:80", "unknown scheme \"\", use tcp://, udp:// or unix://");
    refused("xtcp://:80", "unknown scheme \"xtcp\", use tcp://, udp:// or unix://");
}

static void ports_are_strict(void **state)
{
    (void)state;
    refused("tcp://:70000", "port 70000 is out of range, ports are 0 to 65535");
    refused("tcp://:65536", "port 65536 is out of range, ports are 0 to 65535");
    refused("tcp://:99999999999999999999",
            "port 99999999999999999999 is out of range, ports are 0 to 65535");
    refused("tcp://:80-70000", "port 70000 is out of range, ports are 0 to 65535");
    refused("tcp://:http", "\"http\" is not a port, ports are numbers from 0 to 65535");
    refused("tcp://:-1", "\"-1\" is not a port, ports are numbers from 0 to 65535");
    refused("tcp://:+1", "\"+1\" is not a port, ports are numbers from 0 to 65535");
    refused("tcp://: 1", "\" 1\" is not a port, ports are numbers from 0 to 65535");
    refused("tcp://127.0.0.1:80x", "unexpected \"x\" after the port \"80\"");
    refused("tcp://127.0.0.1:80/", "unexpected \"/\" after the port \"80\"");
    refused("tcp://127.0.0.1:80:90", "unexpected \":90\" after the port \"80\"");
    refused("tcp://127.0.0.1:80-90-99", "unexpected \"-99\" after the port \"80-90\"");
}

static void ranges_are_strict(void **state)
{
    (void)state;
    refused("tcp://:8010-8000", "the range 8010-8000 is reversed, write 8000-8010");
    refused("tcp://:8000-", "the range \"8000-\" has no end, write it like 8000-8010");
    refused("tcp://:0-5", "a range cannot start at port 0, which stands for any free port");
    refused("tcp://:0-0", "a range cannot start at port 0, which stands for any free port");
}

static void a_missing_port_is_shown_with_one(void **state)
{
    (void)state;
    refused("tcp://127.0.0.1", "the port is missing: tcp://127.0.0.1:8000");
    refused("tcp://127.0.0.1:", "the port is missing: tcp://127.0.0.1:8000");
    refused("udp://[::1]", "the port is missing: udp://[::1]:8000");
    refused("udp://[::1]:", "the port is missing: udp://[::1]:8000");
    refused("tcp://", "the port is missing: tcp://:8000");
}

static void hosts_are_strict(void **state)
{
    (void)state;
    refused("tcp://::1:8000", "an IPv6 address stands in brackets: tcp://[::1]:8000");
    refused("tcp://::1", "an IPv6 address stands in brackets: tcp://[::1]:8000");
    refused("udp://fe80::1%eth0:80", "an IPv6 address stands in brackets: udp://[::1]:8000");
    refused("tcp://[::1:8000",
            "the bracket is not closed, an IPv6 address looks like tcp://[::1]:8000");
    refused("tcp://[::1]8000", "unexpected \"8000\" after the bracket, a port looks like :8000");
    refused("tcp://[]:80", "\"\" in brackets is not an IPv6 address, such as ::1");
    refused("tcp://[127.0.0.1]:80",
            "\"127.0.0.1\" in brackets is not an IPv6 address, such as ::1");
    refused("tcp://1.2.3:80", "\"1.2.3\" is not an IPv4 address, such as 127.0.0.1");
    refused("tcp://256.0.0.1:80", "\"256.0.0.1\" is not an IPv4 address, such as 127.0.0.1");
    refused("tcp://0x7f.1:80", "\"0x7f.1\" is not an IPv4 address, such as 127.0.0.1");
}

static void a_host_that_is_too_long_is_refused(void **state)
{
    char text[2000] = "tcp://", error[ENDPOINT_ERROR];
    struct endpoint_list list = { .count = 0 };

    (void)state;
    memset(text + 6, 'a', 1500);
    strcpy(text + 1506, ":80");
    assert_int_equal(endpoint_parse(text, "/", &list, error), -EINVAL);
    assert_string_equal(error, "the host name is 1500 bytes long, 253 are possible");
    memset(text + 6, ':', 1500);
    assert_int_equal(endpoint_parse(text, "/", &list, error), -EINVAL);
}

static void a_link_local_address_takes_its_interface(void **state)
{
    struct endpoint_list list = parsed("udp://[fe80::1%7]:80");
    char name[IF_NAMESIZE], text[80], expected[80];
    unsigned lo = if_nametoindex("lo");

    (void)state;
    assert_int_equal(list.items[0].address.scope, 7);
    endpoint_list_free(&list);
    prints_as("udp://[fe80::1%7]:80", "udp://[fe80::1%7]:80");
    if (lo && if_indextoname(lo, name)) {
        snprintf(text, sizeof text, "tcp://[fe80::1%%%s]:80", name);
        snprintf(expected, sizeof expected, "tcp://[fe80::1%%%u]:80", lo);
        prints_as(text, expected);
    }
    refused("tcp://[fe80::1]:80", "a link-local address needs its interface: [fe80::1%eth0]");
    refused("tcp://[fe80::1%nowhere7]:80",
            "unknown interface \"nowhere7\", see the names with: ip link");
    refused("tcp://[fe80::1%0]:80", "unknown interface \"0\", see the names with: ip link");
    refused("tcp://[fe80::1%]:80", "unknown interface \"\", see the names with: ip link");
    refused("tcp://[::1%lo]:80", "::1 is not a link-local address and takes no interface");
}

static void a_relative_unix_path_counts_from_the_base(void **state)
{
    char cwd[64], expected[200];
    struct endpoint_list list = { .count = 0 };
    char error[ENDPOINT_ERROR];

    (void)state;
    prints_as("unix://x.sock", "unix:///base/x.sock");
    prints_as("unix://./a//b/./c", "unix:///base/a/b/c");
    prints_as("unix://../x", "unix:///base/../x");
    assert_int_equal(chdir("/tmp"), 0);
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/conf/x", cwd);
    assert_int_equal(endpoint_parse("unix://x", "conf", &list, error), 0);
    assert_string_equal(list.items[0].path, expected);
    snprintf(expected, sizeof expected, "%s/x", cwd);
    assert_int_equal(endpoint_parse("unix://x", ".", &list, error), 0);
    assert_string_equal(list.items[1].path, expected);
    endpoint_list_free(&list);
}

static void a_unix_path_has_at_most_107_bytes(void **state)
{
    char text[200] = "unix:///";
    struct sockaddr_storage address;
    struct endpoint_list list;

    (void)state;
    memset(text + 8, 'p', 106);
    list = parsed(text);
    assert_int_equal(endpoint_to_sockaddr(&list.items[0], &address),
                     offsetof(struct sockaddr_un, sun_path) + 108);
    endpoint_list_free(&list);
    strcat(text, "q");
    assert_int_equal(strlen(text), 115);
    {
        char error[ENDPOINT_ERROR], expected[300];

        snprintf(expected, sizeof expected,
                 "the path is 108 bytes long, the system allows 107 for a socket: %s", text + 7);
        list = (struct endpoint_list){ .count = 0 };
        assert_int_equal(endpoint_parse(text, NULL, &list, error), -EINVAL);
        assert_string_equal(error, expected);
    }
}

static void a_unix_path_of_any_length_is_refused_safely(void **state)
{
    size_t size = 100000;
    char *text = malloc(size), error[ENDPOINT_ERROR];
    struct endpoint_list list = { .count = 0 };

    (void)state;
    memset(text, 'p', size);
    text[size - 1] = '\0';
    memcpy(text, "unix://", 7);
    assert_int_equal(endpoint_parse(text, "/base", &list, error), -EINVAL);
    free(text);
    refused("unix://", "the path is missing: unix:///run/name.sock");
    refused("unix:///tmp/", "the path ends with a slash, it must name the socket's file");
}

static void an_error_is_one_line_whatever_it_quotes(void **state)
{
    (void)state;
    refused("a\nb\033://:80", "unknown scheme \"a?b?\", use tcp://, udp:// or unix://");
}

static bool clash(const char *a, const char *b)
{
    struct endpoint_list one = parsed(a), two = parsed(b);
    bool clashes = endpoint_clashes(&one.items[0], &two.items[0]);

    assert_int_equal(clashes, endpoint_clashes(&two.items[0], &one.items[0]));
    endpoint_list_free(&one);
    endpoint_list_free(&two);
    return clashes;
}

static void equal_endpoints_clash(void **state)
{
    (void)state;
    assert_true(clash("tcp://127.0.0.1:80", "tcp://127.0.0.1:80"));
    assert_true(clash("tcp://:80", "tcp://0.0.0.0:80"));
    assert_true(clash("tcp://:80", "tcp://[::]:80"));
    assert_true(clash("tcp://0.0.0.0:80", "tcp://[::]:80"));
    assert_true(clash("unix:///a/b", "unix:///a//./b"));
    assert_true(clash("tcp://[::ffff:127.0.0.1]:80", "tcp://127.0.0.1:80"));
}

static void different_endpoints_do_not_clash(void **state)
{
    (void)state;
    assert_false(clash("tcp://127.0.0.1:80", "udp://127.0.0.1:80"));
    assert_false(clash("tcp://127.0.0.1:80", "tcp://127.0.0.1:81"));
    assert_false(clash("tcp://127.0.0.1:80", "tcp://127.0.0.2:80"));
    assert_false(clash("tcp://127.0.0.1:80", "tcp://[::1]:80"));
    assert_false(clash("tcp://:80", "tcp://127.0.0.1:80"));
    assert_false(clash("tcp://:0", "tcp://:0"));
    assert_false(clash("unix:///a", "unix:///b"));
    assert_false(clash("udp://[fe80::1%1]:80", "udp://[fe80::1%2]:80"));
}

static void addresses_survive_the_way_to_the_system_and_back(void **state)
{
    static const char *const texts[] = { "tcp://10.1.2.3:65535", "tcp://[2001:db8::7]:1",
                                         "tcp://[fe80::1%3]:80" };
    struct sockaddr_storage system;
    enchufe_address back;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int as_ipv6 = 0; as_ipv6 < 2; as_ipv6++) {
            struct endpoint_list list = parsed(texts[i]);
            socklen_t len = address_to_sockaddr(&list.items[0].address, as_ipv6, &system);
            bool v6 = as_ipv6 || i > 0;

            assert_int_equal(len, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
            assert_int_equal(system.ss_family, v6 ? AF_INET6 : AF_INET);
            address_from_sockaddr(&back, (struct sockaddr *)&system);
            assert_memory_equal(&back, &list.items[0].address, sizeof back);
            endpoint_list_free(&list);
        }
}

static void a_unix_peer_has_no_address(void **state)
{
    struct sockaddr_storage system = { .ss_family = AF_UNIX };
    char text[ENCHUFE_ADDRESS_TEXT];
    enchufe_address address;

    (void)state;
    address_from_sockaddr(&address, (struct sockaddr *)&system);
    assert_int_equal(address.family, ENCHUFE_FAMILY_NONE);
    assert_int_equal(address_to_sockaddr(&address, true, &system), 0);
    assert_string_equal(enchufe_address_format(&address, text, sizeof text), "unix");
}

static void the_longest_address_has_room_and_a_short_text_is_cut(void **state)
{
    enchufe_address address = { .family = ENCHUFE_FAMILY_IPV6, .port = 65535, .scope = UINT32_MAX };
    char text[ENCHUFE_ADDRESS_TEXT], cut[8];

    (void)state;
    memset(address.ip, 0xfe, sizeof address.ip);
    assert_string_equal(enchufe_address_format(&address, text, sizeof text),
                        "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe%4294967295]:65535");
    assert_string_equal(enchufe_address_format(&address, cut, sizeof cut), "[fefe:f");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_print_as_they_are_written),
        cmocka_unit_test(no_host_is_every_address_of_both_families),
        cmocka_unit_test(an_ipv4_address_in_ipv6_is_ipv4),
        cmocka_unit_test(a_range_is_an_endpoint_for_each_port),
        cmocka_unit_test(parsing_appends_to_the_list),
        cmocka_unit_test(a_name_is_an_endpoint_for_each_distinct_address),
        cmocka_unit_test(an_unknown_host_is_named),
        cmocka_unit_test(a_scheme_is_required_and_known),
        cmocka_unit_test(ports_are_strict),
        cmocka_unit_test(ranges_are_strict),
        cmocka_unit_test(a_missing_port_is_shown_with_one),
        cmocka_unit_test(hosts_are_strict),
        cmocka_unit_test(a_host_that_is_too_long_is_refused),
        cmocka_unit_test(a_link_local_address_takes_its_interface),
        cmocka_unit_test(a_relative_unix_path_counts_from_the_base),
        cmocka_unit_test(a_unix_path_has_at_most_107_bytes),
        cmocka_unit_test(a_unix_path_of_any_length_is_refused_safely),
        cmocka_unit_test(an_error_is_one_line_whatever_it_quotes),
        cmocka_unit_test(equal_endpoints_clash),
        cmocka_unit_test(different_endpoints_do_not_clash),
        cmocka_unit_test(addresses_survive_the_way_to_the_system_and_back),
        cmocka_unit_test(a_unix_peer_has_no_address),
        cmocka_unit_test(the_longest_address_has_room_and_a_short_text_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
