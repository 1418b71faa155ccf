/* The configuration: what a file means, and every error with its place. */
#include "config_keys.h"
#include "config_kit.h"

/* ------------------------------------------------------------------ what is right */

static void a_file_becomes_services_with_endpoints_and_settings(void **state)
{
    struct read read = read_text("; a comment\n"
                                 "[hola]\n"
                                 "plugin = hola ; the classic\n"
                                 "listen = tcp://127.0.0.1:8000\n"
                                 "\n"
                                 "[echo]\n"
                                 "plugin = ./build/echo.so\n"
                                 "reply = a = b\n"
                                 "listen = tcp://127.0.0.1:1337 udp://127.0.0.1:1337\n"
                                 "listen = tcp://127.0.0.1:2000-2002\n");
    const struct config *config = read.config;
    const struct service_config *echo = &config->services[1];
    char cwd[1024], expected[1100];

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(config->service_count, 2);
    assert_int_equal(config->endpoint_count, 6);
    assert_string_equal(config->services[0].name, "hola");
    assert_string_equal(config->services[0].plugin, "hola");
    assert_false(config->services[0].plugin_is_path);
    assert_int_equal(config->services[0].plugin_place.line, 3);
    assert_int_equal(config->services[0].place.line, 2);
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/build/echo.so", cwd);
    assert_string_equal(echo->plugin, expected);
    assert_true(echo->plugin_is_path);
    assert_int_equal(echo->listen_count, 5);
    assert_int_equal(echo->listens[4].endpoint.address.port, 2002);
    assert_int_equal(echo->listens[4].place.line, 10);
    assert_string_equal(echo->listens[4].place.section, "echo");
    assert_int_equal(echo->setting_count, 1);
    assert_string_equal(echo->settings[0].key, "reply");
    assert_string_equal(echo->settings[0].value, "a = b");
    assert_string_equal(echo->settings[0].place.file, "e.ini");
    assert_int_equal(echo->settings[0].place.line, 8);
    done(&read);
}

static void what_is_not_said_has_its_default(void **state)
{
    struct read read = read_text("[echo]\n" SERVICE);
    const struct server_config *server = &read.config->server;
    const struct service_limits *limits = &read.config->services[0].limits;

    (void)state;
    assert_string_equal(read.printed, "");
    assert_null(server->plugin_dir);
    assert_null(server->log);
    assert_null(server->control);
    assert_int_equal(server->threads, 0);
    assert_int_equal(server->log_level, ENCHUFE_LOG_INFO);
    assert_int_equal(server->log_format, 0);
    assert_int_equal(server->drain_timeout, 30000);
    assert_int_equal(server->stall_limit, 2000);
    assert_int_equal(server->max_connections, 0);
    assert_false(limits->isolate);
    assert_int_equal(limits->threads, 0);
    assert_int_equal(limits->max_connections, 0);
#define ASSERT_UNSAID(name, standard, help) assert_true(limits->timeouts.name == TIMEOUT_UNSAID);
    TIMEOUTS(ASSERT_UNSAID)
    assert_int_equal(limits->max_input, 0);
    assert_int_equal(limits->max_output, 16 << 20);
    assert_int_equal(limits->backlog, 4096);
    assert_false(limits->trust_source_ports);
    assert_int_equal(limits->max_reply_ratio, RATIO_OF_PLUGIN);
    done(&read);
}

static void every_server_key_is_read(void **state)
{
    struct read read = read_text("[server]\n"
                                 "plugin_dir = /usr/lib/enchufe\n"
                                 "include = none/*.ini\n"
                                 "threads = 1024\n"
                                 "user = nobody\n"
                                 "group = nogroup\n"
                                 "log = /var/log/enchufe.log\n"
                                 "log_level = debug\n"
                                 "log_format = json\n"
                                 "control = /run/enchufe.sock\n"
                                 "drain_timeout = none\n"
                                 "stall_limit = never\n"
                                 "max_connections = 10000\n"
                                 "[echo]\n" SERVICE);
    const struct server_config *server = &read.config->server;

    (void)state;
    assert_string_equal(read.printed, "");
    assert_string_equal(server->plugin_dir, "/usr/lib/enchufe");
    assert_int_equal(server->threads, 1024);
    assert_string_equal(server->user, "nobody");
    assert_string_equal(server->group, "nogroup");
    assert_string_equal(server->log, "/var/log/enchufe.log");
    assert_int_equal(server->log_level, ENCHUFE_LOG_DEBUG);
    assert_int_equal(server->log_format, 1);
    assert_string_equal(server->control, "/run/enchufe.sock");
    assert_int_equal(server->drain_timeout, 0);
    assert_int_equal(server->stall_limit, 0);
    assert_int_equal(server->max_connections, 10000);
    done(&read);
}

static void the_log_is_a_word_or_a_path(void **state)
{
    struct read read = read_text("[server]\nlog = syslog\n[echo]\n" SERVICE);

    (void)state;
    assert_string_equal(read.printed, "");
    assert_string_equal(read.config->server.log, "syslog");
    done(&read);
    read = read_text("[server]\nlog = ./syslog\n[echo]\n" SERVICE);
    assert_string_equal(read.printed, "");
    assert_int_equal(read.config->server.log[0], '/');
    done(&read);
    read = read_text("[server]\nlog = stderr\n[echo]\n" SERVICE);
    assert_null(read.config->server.log);
    done(&read);
}

static void paths_count_from_the_folder_of_the_file(void **state)
{
    char cwd[1024], expected[1100];

    (void)state;
    mkdir("conf", 0755);
    write_file("conf/e.ini", "[server]\nlog = ../e.log\nplugin_dir = ../plugins\n"
                             "[echo]\nplugin = ./echo.so\nlisten = unix://e.sock\n");
    struct read read = read_file("conf/e.ini");
    assert_string_equal(read.printed, "");
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected, "%s/conf/../e.log", cwd);
    assert_string_equal(read.config->server.log, expected);
    snprintf(expected, sizeof expected, "%s/conf/../plugins", cwd);
    assert_string_equal(read.config->server.plugin_dir, expected);
    snprintf(expected, sizeof expected, "%s/conf/echo.so", cwd);
    assert_string_equal(read.config->services[0].plugin, expected);
    snprintf(expected, sizeof expected, "%s/conf/e.sock", cwd);
    assert_string_equal(read.config->services[0].listens[0].endpoint.path, expected);
    done(&read);
}

static void defaults_give_each_service_what_it_does_not_say(void **state)
{
    struct read read = read_text("[a]\n" SERVICE "backlog = 7\n"
                                 "[defaults]\nidle_timeout = 5m\nbacklog = 128\nisolate = yes\n"
                                 "[b]\n" SERVICE "isolate = no\nidle_timeout = never\n");
    const struct service_limits *a = &read.config->services[0].limits;
    const struct service_limits *b = &read.config->services[1].limits;

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(a->backlog, 7);
    assert_int_equal(a->timeouts.idle, 300000);
    assert_true(a->isolate);
    assert_int_equal(b->backlog, 128);
    assert_int_equal(b->timeouts.idle, 0);
    assert_false(b->isolate);
    assert_true(b->timeouts.write == TIMEOUT_UNSAID);
    done(&read);
}

static void a_reply_ratio_is_unlimited_a_number_or_the_plugins(void **state)
{
    static const struct {
        const char *said;
        int64_t ratio;
    } rows[] = { { "", RATIO_OF_PLUGIN },
                 { "max_reply_ratio = unlimited\n", 0 },
                 { "max_reply_ratio = 1\n", 1 },
                 { "max_reply_ratio = 1000000\n", 1000000 } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[200];
        snprintf(text, sizeof text, "[defaults]\n%s[a]\n" SERVICE "[b]\n" SERVICE "%s",
                 rows[i].said, "max_reply_ratio = 7\n");
        struct read read = read_text(text);
        assert_string_equal(read.printed, "");
        assert_int_equal(read.config->services[0].limits.max_reply_ratio, rows[i].ratio);
        assert_int_equal(read.config->services[1].limits.max_reply_ratio, 7);
        done(&read);
    }
    assert_errors(
        "[a]\n" SERVICE "max_reply_ratio = 0\n",
        "e.ini:4: [a] max_reply_ratio: \"0\" is out of range; allowed is 1 to 1000000, or "
        "unlimited\n");
}

static void included_files_are_read_in_the_order_of_their_names(void **state)
{
    (void)state;
    mkdir("conf", 0755);
    mkdir("conf/[x]", 0755);
    mkdir("conf/[x]/services", 0755);
    write_file("conf/[x]/services/b.ini", "[b]\n" SERVICE "word = x\n");
    write_file("conf/[x]/services/a.ini", "[a]\n" SERVICE);
    write_file("conf/[x]/services/c.conf", "[c]\n" SERVICE);
    write_file("conf/[x]/e.ini", "[server]\ninclude = services/*.ini\n[main]\n" SERVICE);
    struct read read = read_file("conf/[x]/e.ini");
    assert_string_equal(read.printed, "");
    assert_int_equal(read.config->service_count, 3);
    assert_string_equal(read.config->services[0].name, "main");
    assert_string_equal(read.config->services[1].name, "a");
    assert_string_equal(read.config->services[2].name, "b");
    assert_string_equal(read.config->services[2].settings[0].place.file, "conf/[x]/services/b.ini");
    assert_int_equal(read.config->services[2].settings[0].place.line, 4);
    done(&read);
}

static void included_files_hold_services_only(void **state)
{
    (void)state;
    mkdir("more", 0755);
    write_file("more/a.ini", "[server]\nthreads = 2\n[defaults]\n[main]\n" SERVICE
                             "[a]\nplugin = echo\nlisten = tcp://127.0.0.1:7000\n");
    write_file("e.ini", "[server]\ninclude = more/*.ini\n[main]\nplugin = echo\n"
                        "listen = tcp://127.0.0.1:7000\n");
    struct read read = read_file("e.ini");
    assert_string_equal(
        read.printed,
        "more/a.ini:1: [server] belongs into the main file; an included one holds services\n"
        "more/a.ini:3: [defaults] belongs into the main file; an included one holds services\n"
        "more/a.ini:4: [main] is there already, in e.ini:3\n"
        "more/a.ini:9: [a] listen: tcp://127.0.0.1:7000 is taken by [main] in e.ini:5; "
        "one endpoint, one service\n");
    assert_int_equal(read.config->server.threads, 0);
    done(&read);
    unlink("more/a.ini");
}

static void a_pattern_that_finds_the_file_itself_passes_over_it(void **state)
{
    struct read read = read_text("[server]\ninclude = e*.ini\n[echo]\n" SERVICE);

    (void)state;
    assert_string_equal(read.printed, "");
    assert_int_equal(read.config->service_count, 1);
    done(&read);
}

/* ------------------------------------------------------------------ meaning */

static void sections_must_be_whole_and_there_once(void **state)
{
    (void)state;
    assert_errors("",
                  "e.ini: has no service; add a section such as [echo] with plugin and listen\n");
    assert_errors("[server]\nthreads = 1\n",
                  "e.ini: has no service; add a section such as [echo] with plugin and listen\n");
    assert_errors("[x]\n[echo]\n" SERVICE,
                  "e.ini:1: [x] is empty: a service needs plugin and listen\n");
    assert_errors("threads = 2\n[echo]\n" SERVICE,
                  "e.ini:1: threads: stands before any section; begin one with [NAME]\n");
    assert_errors("[echo]\n" SERVICE "[b]\n" SERVICE "[echo]\nbacklog = x\n",
                  "e.ini:7: [echo] is there already, in line 1\n"
                  "e.ini:8: [echo] backlog: \"x\" is no whole number; allowed is 1 to 65535\n");
    assert_errors("[server]\nthreads = 1\n[echo]\n" SERVICE "[server]\nthreads = 2\n",
                  "e.ini:6: [server] is there already, in line 1\n"
                  "e.ini:7: [server] threads: said twice, first in line 2; it takes one value\n");
    assert_errors("[echo]\nword = x\n",
                  "e.ini:1: [echo] plugin: is missing; write plugin = NAME\n"
                  "e.ini:1: [echo] listen: is missing; write listen = tcp://HOST:PORT\n");
}

static void folders_that_are_not_there_are_told(void **state)
{
    (void)state;
    assert_errors(
        "[server]\nlog = /nowhere/x.log\ncontrol = /dev/null/c.sock\n"
        "[echo]\nplugin = echo\nlisten = unix:///nowhere/at/all.sock unix:///tmp/x.sock\n",
        "e.ini:2: [server] log: /nowhere/x.log cannot be made: there is no folder /nowhere\n"
        "e.ini:3: [server] control: /dev/null/c.sock cannot be made: /dev/null is no folder\n"
        "e.ini:6: [echo] listen: /nowhere/at/all.sock cannot be made: there is no folder "
        "/nowhere/at\n");
    assert_errors("[server]\nlog = x.log\ncontrol = c.sock\n[echo]\nplugin = echo\n"
                  "listen = unix://x.sock\n",
                  "");
}

static void misspelt_keys_never_pass(void **state)
{
    (void)state;
    assert_errors(
        "[server]\nthread = 2\nbanana = 1\n[defaults]\nbaklog = 3\nplugin = echo\n"
        "[echo]\n" SERVICE,
        "e.ini:2: [server] thread: unknown key, did you mean \"threads\"?\n"
        "e.ini:3: [server] banana: unknown key; there are plugin_dir, include, threads, pin, "
        "user, group, log, log_level, log_format, control, watch, start_timeout, drain_timeout, "
        "stall_limit, max_connections, core_dumps, require_sandbox\n"
        "e.ini:5: [defaults] baklog: unknown key, did you mean \"backlog\"?\n"
        "e.ini:6: [defaults] plugin: belongs into each service's own section\n");
    assert_errors(
        "[defaults]\nbanana = 1\n[echo]\n" SERVICE,
        "e.ini:2: [defaults] banana: unknown key; a plugin's own options belong into each "
        "service's section; there are isolate, threads, max_connections, "
        "max_connections_per_source, first_byte_timeout, idle_timeout, message_timeout, "
        "write_timeout, session_timeout, max_input, max_output, backlog, "
        "trust_source_ports, max_reply_ratio, sandbox, max_memory, max_files, max_processes, "
        "rate_per_source, source_prefix, allow, deny, socket_mode, socket_group\n");
    assert_errors("[Defualts]\nidle_timeout = 1m\nlisten = tcp://127.0.0.1:0\n",
                  "e.ini:1: [Defualts] plugin: is missing; write plugin = NAME, or [defaults] if "
                  "that is meant\n");
    assert_errors("[echo]\nplugn = echo\nlisten = tcp://127.0.0.1:0\n",
                  "e.ini:2: [echo] plugn: unknown key, did you mean \"plugin\"?\n");
    assert_errors("[echo]\nplugin = echo\nlsten = tcp://127.0.0.1:0\n",
                  "e.ini:3: [echo] lsten: unknown key, did you mean \"listen\"?\n");
}

static void values_must_fit(void **state)
{
    (void)state;
    assert_errors(
        "[server]\nthreads = 0\nlog_level = inf\ndrain_timeout = 30\nuser =\n"
        "[echo]\n" SERVICE "threads = 1025\nmax_input = 2g\nmax_output = 4095\nbacklog = 65536\n"
        "idle_timeout = nevr\nisolate = perhaps\nmax_connections = 0\n",
        "e.ini:2: [server] threads: \"0\" is out of range; allowed is 1 to 1024, or auto\n"
        "e.ini:3: [server] log_level: \"inf\" is none of the words, did you mean \"info\"? "
        "Allowed is error, warning, info, debug\n"
        "e.ini:4: [server] drain_timeout: \"30\" has no unit; add ms, s, m, h or d, such as "
        "30s\n"
        "e.ini:5: [server] user: is empty; allowed is 1 to 255 bytes\n"
        "e.ini:9: [echo] threads: \"1025\" is out of range; allowed is 1 to 1024, or auto\n"
        "e.ini:10: [echo] max_input: \"2g\" is out of range; allowed is 1 to 1g\n"
        "e.ini:11: [echo] max_output: \"4095\" is out of range; allowed is 4k to 512m\n"
        "e.ini:12: [echo] backlog: \"65536\" is out of range; allowed is 1 to 65535\n"
        "e.ini:13: [echo] idle_timeout: \"nevr\" is no duration, did you mean \"never\"? "
        "Allowed is any duration, or never\n"
        "e.ini:14: [echo] isolate: \"perhaps\" is neither yes nor no\n"
        "e.ini:15: [echo] max_connections: \"0\" is out of range; allowed is at least 1, "
        "or unlimited\n");
}

static void plugin_and_listen_must_say_something(void **state)
{
    (void)state;
    assert_errors("[a]\nplugin =\nlisten =\n[b]\nplugin = echo.so\nlisten = tcp://127.0.0.1:0\n"
                  "[c]\nplugin = echo\nlisten = tcp://127.0.0.1:0\nplugin = hola\n",
                  "e.ini:2: [a] plugin: is empty; write a plugin's name or path\n"
                  "e.ini:3: [a] listen: is empty; write an endpoint such as tcp://127.0.0.1:8000\n"
                  "e.ini:5: [b] plugin: \"echo.so\" is no plugin; write a name such as echo, or a "
                  "path with a / in it\n"
                  "e.ini:10: [c] plugin: said twice, first in line 8; it takes one value\n");
}

static void an_endpoint_belongs_to_one_service(void **state)
{
    (void)state;
    assert_errors(
        "[a]\nplugin = echo\nlisten = tcp://127.0.0.1:8000-8010 udp://127.0.0.1:8000\n"
        "[b]\nplugin = echo\nlisten = tcp://127.0.0.2:8000\nlisten = tcp://:8005-8007\n"
        "[c]\nplugin = echo\nlisten = unix:///tmp/x unix:///tmp/y unix:///tmp/x\n",
        "e.ini:10: [c] listen: unix:///tmp/x is taken by [c] in line 10; one endpoint, one "
        "service\n");
    assert_errors(
        "[a]\nplugin = echo\nlisten = tcp://:8000-8010\n"
        "[b]\nplugin = echo\nlisten = tcp://0.0.0.0:8005-8020\n"
        "[c]\nplugin = echo\nlisten = tcp://[::]:8009-8010\n",
        "e.ini:6: [b] listen: tcp://0.0.0.0:8005 is taken by [a] in line 3; one endpoint, "
        "one service\n"
        "e.ini:9: [c] listen: tcp://[::]:8009 is taken by [b] in line 6; one endpoint, "
        "one service\n");
    assert_errors("[a]\nplugin = echo\nlisten = tcp://127.0.0.1:0 tcp://127.0.0.1:0\n"
                  "[b]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n",
                  "");
}

static void a_thousand_services_are_read(void **state)
{
    FILE *out = fopen("e.ini", "w");

    (void)state;
    for (int i = 0; i < 1000; i++)
        fprintf(out, "[s%d]\nplugin = echo\nlisten = tcp://127.0.0.1:%d udp://127.0.0.1:%d\n", i,
                2000 + i, 2000 + i);
    fclose(out);
    struct read read = read_file("e.ini");
    assert_string_equal(read.printed, "");
    assert_int_equal(read.config->service_count, 1000);
    assert_int_equal(read.config->endpoint_count, 2000);
    done(&read);
}

static void the_keys_of_a_service_are_known_by_name(void **state)
{
    const char *const *keys = config_service_keys();
    size_t count = 0;

    (void)state;
    assert_string_equal(keys[0], "plugin");
    assert_string_equal(keys[1], "listen");
    while (keys[count])
        count++;
    assert_int_equal(count, 29);
    assert_string_equal(keys[count - 1], "socket_group");
    assert_ptr_equal(config_service_keys(), keys);
}

/* Whoever adds a key says since when there is one: plugins that are older may have such an option. */
static void only_the_keys_of_1_0_are_kept_from_every_plugin(void **state)
{
    static const char *const first[] = {
        "plugin",       "listen",          "isolate",           "threads",
        "idle_timeout", "write_timeout",   "max_input",         "max_output",
        "backlog",      "max_connections", "trust_source_ports"
    };
    size_t count = 0;

    (void)state;
    for (const char *const *key = config_service_keys(); *key != NULL; key++) {
        assert_true(config_key_since(*key) <= ENCHUFE_ABI_MINOR);
        count += config_key_since(*key) == 0;
    }
    assert_int_equal(count, sizeof first / sizeof *first);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(config_key_since(first[i]), 0);
    assert_int_equal(config_key_since("max_memory"), 1);
}

/* All keys are named here, so that whoever adds one decides, and nobody makes a guard a plugin's by accident.
 * What these grant (`connect`, paths) is less without the key; what they limit is the plugin's own clients. */
static void only_keys_that_guard_nobody_may_be_shadowed(void **state)
{
    static const char *const harmless[] = { "connect",         "read_paths",
                                            "write_paths",     "first_byte_timeout",
                                            "message_timeout", "session_timeout" };
    const size_t count = sizeof harmless / sizeof *harmless;
    size_t found = 0;

    (void)state;
    for (const char *const *key = config_service_keys(); *key != NULL; key++) {
        bool named = false;
        for (size_t i = 0; i < count && !named; i++)
            named = strcmp(harmless[i], *key) == 0;
        if (config_key_may_be_shadowed(*key) != named)
            fail_msg("%s", *key);
        found += named;
    }
    assert_int_equal(found, count);
    assert_false(config_key_may_be_shadowed("anything"));
}

static void a_shadowed_key_is_the_plugins_in_that_section_alone(void **state)
{
    static char one[] = "one", memory[] = "max_memory", paths[] = "read_paths", allow[] = "allow";
    struct config_shadow items[] = { { one, memory }, { one, paths }, { one, allow } };
    const struct config_shadows shadows = { .items = items, .count = 3 };
    struct read read = { .config = NULL };

    (void)state;
    write_file("e.ini",
               "[defaults]\nmax_memory = 20m\n"
               "[one]\nplugin = a\nlisten = tcp://127.0.0.1:1\nmax_memory = as much as you like\n"
               "read_paths = mine\nread_paths = and mine\nallow = none of these\n"
               "[two]\nplugin = a\nlisten = tcp://127.0.0.1:2\nmax_memory = 30m\n");
    read.config = config_read("e.ini", &shadows, &read.report);
    assert_int_equal(read.report.count, 0);
    const struct service_config *service = read.config->services;
    assert_int_equal(service[0].setting_count, 4);
    assert_string_equal(service[0].settings[0].key, "max_memory");
    assert_string_equal(service[0].settings[0].value, "as much as you like");
    assert_string_equal(service[0].settings[2].value, "and mine");
    assert_int_equal(service[0].limits.max_memory, 20 << 20);
    assert_int_equal(service[0].read_paths.count, 0);
    assert_null(service[0].limits.access);
    assert_int_equal(service[1].limits.max_memory, 30 << 20);
    assert_int_equal(service[1].setting_count, 0);
    done(&read);
}

static void a_shadow_is_kept_once(void **state)
{
    struct config_shadows shadows = { .items = NULL };

    (void)state;
    assert_false(config_shadows_has(NULL, "one", "allow"));
    assert_int_equal(config_shadows_add(&shadows, "one", "allow"), 0);
    assert_int_equal(config_shadows_add(&shadows, "one", "allow"), 0);
    assert_int_equal(config_shadows_add(&shadows, "one", "deny"), 0);
    assert_int_equal(shadows.count, 2);
    assert_true(config_shadows_has(&shadows, "one", "deny"));
    assert_false(config_shadows_has(&shadows, "two", "deny"));
    config_shadows_free(&shadows);
    assert_int_equal(shadows.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_becomes_services_with_endpoints_and_settings),
        cmocka_unit_test(what_is_not_said_has_its_default),
        cmocka_unit_test(every_server_key_is_read),
        cmocka_unit_test(the_log_is_a_word_or_a_path),
        cmocka_unit_test(paths_count_from_the_folder_of_the_file),
        cmocka_unit_test(defaults_give_each_service_what_it_does_not_say),
        cmocka_unit_test(a_reply_ratio_is_unlimited_a_number_or_the_plugins),
        cmocka_unit_test(included_files_are_read_in_the_order_of_their_names),
        cmocka_unit_test(included_files_hold_services_only),
        cmocka_unit_test(a_pattern_that_finds_the_file_itself_passes_over_it),
        cmocka_unit_test(sections_must_be_whole_and_there_once),
        cmocka_unit_test(misspelt_keys_never_pass),
        cmocka_unit_test(folders_that_are_not_there_are_told),
        cmocka_unit_test(values_must_fit),
        cmocka_unit_test(plugin_and_listen_must_say_something),
        cmocka_unit_test(an_endpoint_belongs_to_one_service),
        cmocka_unit_test(a_thousand_services_are_read),
        cmocka_unit_test(the_keys_of_a_service_are_known_by_name),
        cmocka_unit_test(only_the_keys_of_1_0_are_kept_from_every_plugin),
        cmocka_unit_test(only_keys_that_guard_nobody_may_be_shadowed),
        cmocka_unit_test(a_shadowed_key_is_the_plugins_in_that_section_alone),
        cmocka_unit_test(a_shadow_is_kept_once),
    };

    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
