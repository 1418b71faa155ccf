/* What a section says of sources: rate_per_source, source_prefix, allow, deny. */
#include "config_kit.h"

#include <arpa/inet.h>

static const struct service_limits *limits_of(const struct read *read, size_t service)
{
    return &read->config->services[service].limits;
}

static bool allows(const struct read *read, size_t service, const char *text)
{
    enchufe_address peer = { .family = ENCHUFE_FAMILY_IPV4 };

    if (inet_pton(AF_INET, text, peer.ip) != 1) {
        peer.family = ENCHUFE_FAMILY_IPV6;
        assert_int_equal(inet_pton(AF_INET6, text, peer.ip), 1);
    }
    const struct cidr_list *access = limits_of(read, service)->access;
    return access == NULL || cidr_allows(access, &peer);
}

static void nothing_said_limits_nothing(void **state)
{
    struct read read = read_text("[echo]\n" SERVICE);
    const struct service_limits *limits = limits_of(&read, 0);

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(limits->max_connections_per_source, 0);
    assert_int_equal(limits->rate_per_source.count, 0);
    assert_int_equal(limits->source_prefix.ipv4, 0);
    assert_null(limits->access);
    done(&read);
}

static void every_key_is_read(void **state)
{
    struct read read = read_text("[echo]\n" SERVICE "max_connections_per_source = 20\n"
                                 "rate_per_source = 100/s burst 200\n"
                                 "source_prefix = /24 /48\n"
                                 "allow = 10.0.0.0/8 2001:db8::/32 ; ours\n"
                                 "  192.0.2.7\n"
                                 "deny = 10.1.0.0/16\n"
                                 "allow = 10.1.2.3\n");
    const struct service_limits *limits = limits_of(&read, 0);

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(limits->max_connections_per_source, 20);
    assert_int_equal(limits->rate_per_source.count, 100);
    assert_int_equal(limits->rate_per_source.burst, 200);
    assert_int_equal(limits->source_prefix.ipv4, 24);
    assert_int_equal(limits->source_prefix.ipv6, 48);
    assert_int_equal(limits->allow.count, 4);
    assert_int_equal(limits->deny.count, 1);
    assert_true(allows(&read, 0, "10.0.0.1"));
    assert_true(allows(&read, 0, "192.0.2.7"));
    assert_true(allows(&read, 0, "10.1.2.3"));
    assert_false(allows(&read, 0, "10.1.2.4"));
    assert_false(allows(&read, 0, "127.0.0.1"));
    assert_true(allows(&read, 0, "2001:db8::1"));
    assert_false(allows(&read, 0, "::1"));
    done(&read);
}

static void a_section_says_anew_what_the_defaults_say(void **state)
{
    struct read read = read_text("[defaults]\n"
                                 "rate_per_source = 10/m\n"
                                 "source_prefix = /16 /32\n"
                                 "max_connections_per_source = 3\n"
                                 "allow = 10.0.0.0/8\n"
                                 "  127.0.0.0/8\n"
                                 "deny = 10.9.0.0/16\n"
                                 "[same]\n" SERVICE "[own]\nplugin = echo\n"
                                 "listen = tcp://127.0.0.1:0\n"
                                 "rate_per_source = unlimited\n"
                                 "source_prefix = /32 /64\n"
                                 "max_connections_per_source = unlimited\n"
                                 "allow = 192.0.2.0/24 10.9.0.0/24\n"
                                 "[open]\n" SERVICE "allow = all\ndeny = none\n"
                                 "[shut]\n" SERVICE "deny = all\n");

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(limits_of(&read, 0)->rate_per_source.period, 60000);
    assert_int_equal(limits_of(&read, 0)->source_prefix.ipv6, 32);
    assert_int_equal(limits_of(&read, 0)->max_connections_per_source, 3);
    assert_true(allows(&read, 0, "10.1.1.1"));
    assert_true(allows(&read, 0, "127.0.0.1"));
    assert_false(allows(&read, 0, "10.9.0.1"));
    assert_false(allows(&read, 0, "192.0.2.1"));
    assert_int_equal(limits_of(&read, 1)->rate_per_source.count, 0);
    assert_int_equal(limits_of(&read, 1)->source_prefix.ipv6, 64);
    assert_int_equal(limits_of(&read, 1)->max_connections_per_source, 0);
    assert_false(allows(&read, 1, "10.1.1.1"));
    assert_true(allows(&read, 1, "192.0.2.1"));
    assert_true(allows(&read, 1, "10.9.0.1"));
    assert_false(allows(&read, 1, "10.9.1.1"));
    assert_true(allows(&read, 2, "10.9.0.1") && allows(&read, 2, "::1"));
    assert_true(allows(&read, 3, "10.1.1.1")); /* the longer allow of the defaults */
    assert_false(allows(&read, 3, "192.0.2.1"));
    assert_false(allows(&read, 3, "::1"));
    done(&read);
}

static void whatever_is_mistyped_is_an_error_at_its_own_line(void **state)
{
    (void)state;
    assert_errors(
        "[defaults]\n"
        "allow = 10.0.0.1/8\n"
        "[echo]\n" SERVICE "allow = 127.0.0.1\n"
        "  192.0.2.300\n"
        "deny = none 10.0.0.0/8\n"
        "deny =\n"
        "allow = none\n"
        "rate_per_source = 100\n"
        "source_prefix = 32 64\n"
        "max_connections_per_source = 0\n",
        "e.ini:2: [defaults] allow: \"10.0.0.1/8\" has bits beyond its prefix; write 10.0.0.0/8, or "
        "10.0.0.1 for this one address\n"
        "e.ini:7: [echo] allow: \"192.0.2.300\" is no address; write one such as 192.0.2.1, "
        "192.0.2.0/24 or 2001:db8::/32\n"
        "e.ini:8: [echo] deny: \"none\" is no address; write one such as 192.0.2.1, 192.0.2.0/24 "
        "or 2001:db8::/32\n"
        "e.ini:9: [echo] deny: is empty; write addresses such as 192.0.2.1 or 2001:db8::/32, or "
        "all\n"
        "e.ini:10: [echo] allow: \"none\" is no address; write one such as 192.0.2.1, 192.0.2.0/24 "
        "or 2001:db8::/32\n"
        "e.ini:11: [echo] rate_per_source: \"100\" is no rate; write 1 to 1000000 a second, minute "
        "or hour, such as 100/s, 30/m, 5/h or 100/s burst 200; or unlimited\n"
        "e.ini:12: [echo] source_prefix: \"32 64\" is not two prefixes; write that of IPv4 (/1 to "
        "/32) and that of IPv6 (/1 to /128), such as /32 /64\n"
        "e.ini:13: [echo] max_connections_per_source: \"0\" is out of range; allowed is at least 1, or "
        "unlimited\n");
}

static void prefixes_are_read_strictly(void **state)
{
    static const char *const wrong[] = { "/32",     "/64",        "/0 /64",  "/33 /64",  "/32 /129",
                                         "/32 /0",  "/32 /64 /8", "/32,/64", "/032 /64", "/32/64",
                                         "/-1 /64", "/32 /64x",   "/ /64",   "/32 /9999" };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "[echo]\n" SERVICE "source_prefix = %s\n", wrong[i]);
        struct read read = read_text(text);
        assert_non_null(strstr(read.printed, "is not two prefixes"));
        done(&read);
    }
}

static void what_takes_one_value_is_said_once(void **state)
{
    (void)state;
    assert_errors(
        "[echo]\n" SERVICE "rate_per_source = 1/s\nrate_per_source = 2/s\n"
        "source_prefix = /32 /64\n  /24 /56\n",
        "e.ini:5: [echo] rate_per_source: said twice, first in line 4; it takes one "
        "value\n"
        "e.ini:7: [echo] source_prefix: takes one value, and an indented line continues it; begin "
        "the line at its left edge\n");
}

static void a_misspelt_key_is_told_what_it_may_have_meant(void **state)
{
    (void)state;
    assert_errors("[defaults]\nalow = 10.0.0.0/8\n[echo]\nplugin = echo\n"
                  "listen = tcp://127.0.0.1:0\n",
                  "e.ini:2: [defaults] alow: unknown key, did you mean \"allow\"?\n");
    assert_errors(
        "[echo]\nlisten = tcp://127.0.0.1:0\nrate_per_sorce = 1/s\n",
        "e.ini:1: [echo] plugin: is missing; write plugin = NAME\n"
        "e.ini:3: [echo] rate_per_sorce: unknown key, did you mean \"rate_per_source\"?\n");
}

static void thousands_of_entries_are_read(void **state)
{
    char *text = malloc(4000 * 200);
    int len = sprintf(text, "[echo]\n" SERVICE);

    (void)state;
    for (int i = 0; i < 4000; i++)
        len += sprintf(text + len, "deny = 10.%d.%d.0/25 2001:db8:%x::/48\n", i / 256, i % 256, i);
    struct read read = read_text(text);
    assert_string_equal(read.printed, "");
    assert_int_equal(limits_of(&read, 0)->deny.count, 8000);
    assert_false(allows(&read, 0, "10.15.159.127"));
    assert_true(allows(&read, 0, "10.15.159.128"));
    assert_false(allows(&read, 0, "2001:db8:f9f:1::1"));
    assert_true(allows(&read, 0, "2001:db8:fa0::1"));
    done(&read);
    free(text);
}

static void unix_sockets_have_a_mode_and_a_group(void **state)
{
    struct read read = read_text("[defaults]\nsocket_mode = 0600\n"
                                 "[a]\nplugin = echo\nlisten = unix:///tmp/a.sock tcp://:0\n"
                                 "socket_mode = 660\nsocket_group = 12345\n"
                                 "[b]\n" SERVICE);

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(limits_of(&read, 0)->socket.mode, 0660);
    assert_int_equal(limits_of(&read, 0)->socket.gid, 12345);
    assert_int_equal(limits_of(&read, 0)->socket.group_place.line, 7);
    assert_int_equal(limits_of(&read, 1)->socket.mode, 0600);
    assert_int_equal(limits_of(&read, 1)->socket.group_place.line, 0);
    done(&read);
}

static void rights_of_unix_sockets_are_read_strictly(void **state)
{
    (void)state;
    assert_errors(
        "[a]\nplugin = echo\nlisten = unix:///tmp/a.sock\nsocket_mode = 0888\n"
        "socket_group = no such group\n",
        "e.ini:4: [a] socket_mode: \"0888\" is no mode of a file; write three octal "
        "digits, such as 0660\n"
        "e.ini:5: [a] socket_group: unknown group \"no such group\"; `getent group` lists "
        "those there are\n");
    assert_errors("[a]\nplugin = echo\nlisten = unix:///tmp/a.sock\nsocket_mode = 1777\n",
                  "e.ini:4: [a] socket_mode: \"1777\" is no mode of a file; write three octal "
                  "digits, such as 0660\n");
    assert_errors("[a]\n" SERVICE "socket_mode = 0660\n",
                  "e.ini:4: [a] socket_mode: is for unix:// endpoints, and this service has none; "
                  "remove the key\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix_sockets_have_a_mode_and_a_group),
        cmocka_unit_test(rights_of_unix_sockets_are_read_strictly),
        cmocka_unit_test(nothing_said_limits_nothing),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(a_section_says_anew_what_the_defaults_say),
        cmocka_unit_test(whatever_is_mistyped_is_an_error_at_its_own_line),
        cmocka_unit_test(prefixes_are_read_strictly),
        cmocka_unit_test(what_takes_one_value_is_said_once),
        cmocka_unit_test(a_misspelt_key_is_told_what_it_may_have_meant),
        cmocka_unit_test(thousands_of_entries_are_read),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
