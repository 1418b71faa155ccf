/* Unit tests of the responder plugin: its code with a service and a loop made of plain structs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../plugins/responder/responder.c"

struct enchufe_service {
    struct settings settings;
    struct responder responder;
    char error[512]; /* as the plugin said it */
};

struct enchufe_loop {
    struct loop loop;
    char reply[REPLY_MAX];
    size_t len;
    unsigned replies, cut;
};

static struct enchufe_service service;
static struct enchufe_loop loop;

const void *enchufe_service_settings(const enchufe_service *of)
{
    return &of->settings;
}

void *enchufe_service_state(const enchufe_service *of)
{
    assert_ptr_equal(of, &service);
    return &service.responder;
}

const char *enchufe_service_name(const enchufe_service *of)
{
    assert_ptr_equal(of, &service);
    return "quien";
}

void *enchufe_loop_state(const enchufe_loop *of)
{
    assert_ptr_equal(of, &loop);
    return &loop.loop;
}

void enchufe_option_error(enchufe_service *of, const char *option, const char *format, ...)
{
    va_list args;

    assert_string_equal(option, "reply");
    va_start(args, format);
    vsnprintf(of->error, sizeof of->error, format, args);
    va_end(args);
}

const char *enchufe_address_format(const enchufe_address *address, char *text, size_t size)
{
    snprintf(text, size, "192.0.2.1:%u", address->port);
    return text;
}

void enchufe_count(enchufe_loop *of, size_t counter, uint64_t n)
{
    assert_int_equal(counter, COUNTER_CUT);
    of->cut += (unsigned)n;
}

int enchufe_reply(const enchufe_datagram *datagram, const void *data, size_t len)
{
    assert_ptr_equal(datagram->loop, &loop);
    assert_true(len <= sizeof loop.reply);
    memcpy(loop.reply, data, len);
    loop.len = len;
    loop.replies++;
    return 0;
}

static void start(const char *reply)
{
    service = (struct enchufe_service){ .settings = { .reply = reply } };
    loop = (struct enchufe_loop){ 0 };
    assert_int_equal(responder_check(&service), 0);
    assert_int_equal(responder_start(&service), 0);
}

static void ask(const void *data, size_t len)
{
    responder_on_datagram(&service,
                          &(enchufe_datagram){
                              .data = data,
                              .len = len,
                              .service = &service,
                              .loop = &loop,
                              .route.peer = { .family = ENCHUFE_FAMILY_IPV4, .port = 4711 },
                          });
}

static void expect(const void *reply, size_t len)
{
    assert_int_equal(loop.len, len);
    assert_memory_equal(loop.reply, reply, len);
}

/* What a service with that template says to the datagram `data`. */
static void answers(const char *template, const char *data, const char *reply)
{
    start(template);
    ask(data, strlen(data));
    assert_int_equal(loop.replies, 1);
    expect(reply, strlen(reply));
    responder_stop(&service);
}

static void refuses(const char *template, const char *part_of_error)
{
    service = (struct enchufe_service){ .settings = { .reply = template } };
    assert_int_equal(responder_check(&service), -EINVAL);
    assert_non_null(strstr(service.error, part_of_error));
    assert_int_equal(responder_start(&service), -EINVAL);
}

static void responder_answers_a_fixed_text(void **state)
{
    (void)state;
    answers("pues hola", "que tal", "pues hola");
    answers("", "que tal", "");
}

static void responder_fills_each_placeholder(void **state)
{
    (void)state;
    answers("{data}", "hola", "hola");
    answers("{peer}", "hola", "192.0.2.1:4711");
    answers("{count}", "hola", "1");
    answers("{name}", "hola", "quien");
    answers("<{name} {count}: {data}{data} {peer}>", "eco", "<quien 1: ecoeco 192.0.2.1:4711>");
}

static void responder_tells_the_time_in_utc(void **state)
{
    (void)state;
    struct tm utc = { 0 };

    start("{time}");
    ask("", 0);
    loop.reply[loop.len] = '\0';
    assert_int_equal(loop.len, strlen("2026-11-22T14:55:00Z"));
    const char *end = strptime(loop.reply, "%Y-%m-%dT%H:%M:%SZ", &utc);
    assert_non_null(end);
    assert_int_equal(*end, '\0');
    assert_true(difftime(time(NULL), timegm(&utc)) <= 60);
    assert_true(difftime(timegm(&utc), time(NULL)) <= 0);
    responder_stop(&service);
}

static void responder_notices_that_the_second_changed(void **state)
{
    (void)state;
    start("{time}");
    strcpy(loop.loop.time, "old");
    loop.loop.second = time(NULL) - 2;
    ask("", 0);
    assert_int_equal(loop.len, strlen("2026-11-22T14:55:00Z"));
    responder_stop(&service);
}

static void responder_counts_the_datagrams_of_its_service(void **state)
{
    (void)state;
    start("{count}");
    for (unsigned i = 1; i <= 12; i++)
        ask("x", 1);
    expect("12", 2);
    assert_int_equal(loop.replies, 12);
    responder_stop(&service);
}

static void responder_reads_escapes_and_doubled_braces(void **state)
{
    (void)state;
    answers("a\\nb\\r\\t\\\\c", "", "a\nb\r\t\\c");
    answers("\\x41\\x7a\\xC3\\xb1", "", "Az\xc3\xb1");
    answers("{{data}}", "hola", "{data}");
    answers("{{{data}}}", "hola", "{hola}");
    start("\\x00{data}\\x00");
    ask("y", 1);
    expect("\0y\0", 3);
    responder_stop(&service);
}

static void responder_refuses_an_unknown_placeholder_and_names_the_known(void **state)
{
    (void)state;
    refuses("{dat}", "unknown placeholder {dat}: there are {data} {peer} {time} {count} {name}");
    refuses("{Data}", "unknown placeholder {Data}");
    refuses("{}", "unknown placeholder {}");
    refuses("{ data }", "unknown placeholder { data }");
    refuses("{data{peer}", "unknown placeholder {data{peer}");
}

static void responder_refuses_braces_that_do_not_match(void **state)
{
    (void)state;
    refuses("hola {data", "the brace before \"data\" is never closed");
    refuses("{", "never closed");
    refuses("{{{", "never closed");
    refuses("hola }", "a } without its {");
    refuses("{data}}", "a } without its {");
}

static void responder_refuses_unknown_escapes(void **state)
{
    (void)state;
    refuses("\\q", "begins no escape");
    refuses("hola\\", "begins no escape");
    refuses("\\x4", "begins no escape");
    refuses("\\x", "begins no escape");
    refuses("\\x4g", "begins no escape");
}

static void responder_answers_datagrams_of_every_size(void **state)
{
    (void)state;
    char *data = calloc(1, REPLY_MAX);
    assert_non_null(data);
    memset(data, 'z', REPLY_MAX);
    start("{data}");
    ask(NULL, 0);
    assert_int_equal(loop.len, 0);
    ask(data, 1);
    expect(data, 1);
    ask(data, REPLY_MAX);
    expect(data, REPLY_MAX);
    assert_int_equal(loop.cut, 0);
    assert_int_equal(loop.replies, 3);
    responder_stop(&service);
    free(data);
}

static void responder_cuts_a_reply_that_no_datagram_can_hold(void **state)
{
    (void)state;
    char *data = calloc(1, REPLY_MAX);
    assert_non_null(data);
    memset(data, 'z', REPLY_MAX);
    start("<{data}{data}{name}>");
    ask(data, REPLY_MAX);
    assert_int_equal(loop.len, REPLY_MAX);
    assert_int_equal(loop.reply[0], '<');
    assert_memory_equal(loop.reply + 1, data, REPLY_MAX - 1);
    assert_int_equal(loop.cut, 1);
    responder_stop(&service);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responder_answers_a_fixed_text),
        cmocka_unit_test(responder_fills_each_placeholder),
        cmocka_unit_test(responder_tells_the_time_in_utc),
        cmocka_unit_test(responder_notices_that_the_second_changed),
        cmocka_unit_test(responder_counts_the_datagrams_of_its_service),
        cmocka_unit_test(responder_reads_escapes_and_doubled_braces),
        cmocka_unit_test(responder_refuses_an_unknown_placeholder_and_names_the_known),
        cmocka_unit_test(responder_refuses_braces_that_do_not_match),
        cmocka_unit_test(responder_refuses_unknown_escapes),
        cmocka_unit_test(responder_answers_datagrams_of_every_size),
        cmocka_unit_test(responder_cuts_a_reply_that_no_datagram_can_hold),
    };
    return cmocka_run_group_tests_name("responder", tests, NULL, NULL);
}
