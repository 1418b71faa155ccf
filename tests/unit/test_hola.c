/* Unit tests of the hola plugin: its code with a connection made of an output buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../plugins/hola/hola.c"

struct enchufe_conn {
    struct client client;
    char output[4096];
    size_t len;
    bool closed;
    unsigned counted[2];
    unsigned logged;
};

int enchufe_write(enchufe_conn *conn, const void *data, size_t len)
{
    if (conn->closed)
        return -1;
    assert_true(len <= sizeof conn->output - conn->len);
    memcpy(conn->output + conn->len, data, len);
    conn->len += len;
    return 0;
}

void enchufe_close(enchufe_conn *conn)
{
    conn->closed = true;
}

void *enchufe_conn_state(const enchufe_conn *conn)
{
    return (void *)(uintptr_t)&conn->client;
}

enchufe_loop *enchufe_conn_loop(const enchufe_conn *conn)
{
    return (enchufe_loop *)(uintptr_t)conn; /* so that enchufe_count finds the connection */
}

void enchufe_count(enchufe_loop *loop, size_t counter, uint64_t n)
{
    ((enchufe_conn *)loop)->counted[counter] += (unsigned)n;
}

void enchufe_conn_log(const enchufe_conn *conn, int level, const char *format, ...)
{
    (void)format;
    assert_int_equal(level, ENCHUFE_LOG_INFO);
    ((enchufe_conn *)(uintptr_t)conn)->logged++;
}

const char *enchufe_reason_name(int reason)
{
    (void)reason;
    return "closed-by-client";
}

/* What the server promises: all is taken, and nothing comes after a close. */
static void feed(enchufe_conn *conn, const char *data, size_t len)
{
    if (conn->closed)
        return;
    /* A copy of just that size, so that a sanitizer sees a read beyond the end. */
    char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, data, len);
    assert_int_equal(hola_on_data(conn, copy, len), len);
    free(copy);
}

static void expect(const enchufe_conn *conn, const char *output, bool closed)
{
    assert_int_equal(conn->len, strlen(output));
    assert_memory_equal(conn->output, output, conn->len);
    assert_int_equal(conn->closed, closed);
}

struct example {
    const char *input, *output;
    bool closed;
};

/* Without a line ending right after adios: these are the same in whatever pieces they arrive. */
static const struct example examples[] = {
    { "", "", false },
    { "hola", "pues hola", false },
    { "adios", "pues adios", true },
    { "holaadios", "pues holapues adios", true },
    { "holahola", "pues holapues hola", false },
    { "hola adios", "pues holapues adios", true },
    { "hola\n", "pues hola\n", false },
    { "hola\r\n", "pues hola\r\n", false },
    { "hola\r", "pues hola", false },
    { "hola\r\r\n", "pues hola", false },
    { "hola \n", "pues hola", false },
    { "hola\n\n", "pues hola\n", false },
    { "hola\nhola\n", "pues hola\npues hola\n", false },
    { "hola\nadios\n", "pues hola\npues adios\n", true },
    { "hola\r\nadios\r\n", "pues hola\r\npues adios\r\n", true },
    { "hola\r\nhola\nadios", "pues hola\r\npues hola\npues adios\n", true },
    { "que tal\nadios", "pues adios\n", true },
    { "que tal\r\nadios", "pues adios\r\n", true },
    { "xyz hola", "pues hola", false },
    { "\t\v\f hola\t", "pues hola", false },
    { "xhola", "", false },
    { "xhola hola", "pues hola", false },
    { "holaxyz", "pues hola", false },
    { "holaxyzhola", "pues hola", false },
    { "holaxyz\n", "pues hola", false },
    { "ho la hol", "", false },
    { "hohola", "", false },
    { "hadios", "", false },
    { "holadios", "pues hola", false },
    { "HOLA Hola", "", false },
    { "\xff\x01 hola", "pues hola", false },
    { "adioshola adios", "pues adios", true },
    { "hola\nadios hola", "pues hola\npues adios\n", true },
};
#define EXAMPLES (sizeof examples / sizeof *examples)

static void hola_answers_whole_segments(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        enchufe_conn conn = { 0 };
        feed(&conn, examples[i].input, strlen(examples[i].input));
        expect(&conn, examples[i].output, examples[i].closed);
    }
}

static void hola_answers_tokens_that_arrive_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        enchufe_conn conn = { 0 };
        for (const char *byte = examples[i].input; *byte; byte++)
            feed(&conn, byte, 1);
        expect(&conn, examples[i].output, examples[i].closed);
    }
}

static void hola_answers_the_same_at_random_cuts(void **state)
{
    (void)state;
    srand(1);
    for (size_t i = 0; i < EXAMPLES * 200; i++) {
        const struct example *example = &examples[i % EXAMPLES];
        size_t len = strlen(example->input);
        enchufe_conn conn = { 0 };
        for (size_t at = 0; at < len;) {
            size_t part = 1 + (size_t)rand() % (len - at);
            feed(&conn, example->input + at, part);
            at += part;
        }
        expect(&conn, example->output, example->closed);
    }
}

static void hola_answers_four_bytes_at_once_and_the_newline_later(void **state)
{
    (void)state;
    enchufe_conn conn = { 0 };
    feed(&conn, "hola", 4);
    expect(&conn, "pues hola", false);
    feed(&conn, "\r", 1);
    expect(&conn, "pues hola", false);
    feed(&conn, "\n", 1);
    expect(&conn, "pues hola\r\n", false);
}

static void adios_mirrors_an_ending_that_came_with_it(void **state)
{
    (void)state;
    static const struct example cases[] = {
        { "adios\n", "pues adios\n", true },
        { "adios\r\n", "pues adios\r\n", true },
        { "adios\r", "pues adios", true },
        { "adios \n", "pues adios", true },
        { "hola\nadios\r\n", "pues hola\npues adios\r\n", true },
        { "adios\nhola\n", "pues adios\n", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enchufe_conn conn = { 0 };
        feed(&conn, cases[i].input, strlen(cases[i].input));
        expect(&conn, cases[i].output, cases[i].closed);
    }
}

static void hola_is_found_after_a_mebibyte_of_junk(void **state)
{
    (void)state;
    size_t size = (size_t)1 << 20;
    char *junk = malloc(size);
    assert_non_null(junk);
    memset(junk, 'x', size);
    enchufe_conn conn = { 0 };
    feed(&conn, junk, size);
    feed(&conn, " hola", 5);
    expect(&conn, "pues hola", false);
    for (size_t i = 0; i < size; i++) /* with white space and halves of tokens in it */
        junk[i] = "adio hol \r\n"[i % 11];
    feed(&conn, junk, size);
    feed(&conn, "\nhola\n", 6);
    expect(&conn, "pues holapues hola\n", false);
    free(junk);
}

static void hola_counts_and_logs_what_was_asked(void **state)
{
    (void)state;
    enchufe_conn conn = { 0 };
    hola_on_open(&conn);
    feed(&conn, "hola hola xyz adios", 19);
    hola_on_close(&conn, ENCHUFE_CLOSED_BY_PLUGIN);
    assert_int_equal(conn.counted[WORD_HOLA], 2);
    assert_int_equal(conn.counted[WORD_ADIOS], 1);
    assert_int_equal(conn.logged, 5);
}

static void hola_keeps_a_few_bytes_and_no_buffer(void **state)
{
    (void)state;
    assert_true(enchufe_plugin_entry.conn_size <= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hola_answers_whole_segments),
        cmocka_unit_test(hola_answers_tokens_that_arrive_byte_by_byte),
        cmocka_unit_test(hola_answers_the_same_at_random_cuts),
        cmocka_unit_test(hola_answers_four_bytes_at_once_and_the_newline_later),
        cmocka_unit_test(adios_mirrors_an_ending_that_came_with_it),
        cmocka_unit_test(hola_is_found_after_a_mebibyte_of_junk),
        cmocka_unit_test(hola_counts_and_logs_what_was_asked),
        cmocka_unit_test(hola_keeps_a_few_bytes_and_no_buffer),
    };
    return cmocka_run_group_tests_name("hola", tests, NULL, NULL);
}
