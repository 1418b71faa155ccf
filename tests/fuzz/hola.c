/* Fuzzer of hola: however a stream is cut, the answers are the same. Only how the very last one ends may
 * differ: the connection closes with it, so a line ending that has not come yet cannot be mirrored. */
#include "fuzz.h"

#include "../../plugins/hola/hola.c"

struct enchufe_conn {
    struct client client;
    char out[1 << 16];
    size_t len;
    bool closed;
    uint64_t answers; /* that were counted */
};

static uint64_t counted;

void *enchufe_conn_state(const enchufe_conn *conn)
{
    return (void *)&conn->client;
}

enchufe_loop *enchufe_conn_loop(const enchufe_conn *conn)
{
    (void)conn;
    return NULL;
}

void enchufe_count(enchufe_loop *loop, size_t counter, uint64_t n)
{
    (void)loop;
    CHECK(counter <= WORD_ADIOS);
    counted += n;
}

void enchufe_conn_log(const enchufe_conn *conn, int level, const char *format, ...)
{
    (void)conn, (void)level, (void)format;
}

int enchufe_write(enchufe_conn *conn, const void *data, size_t len)
{
    CHECK(!conn->closed && len <= sizeof conn->out - conn->len);
    memcpy(conn->out + conn->len, data, len);
    conn->len += len;
    return 0;
}

void enchufe_close(enchufe_conn *conn)
{
    conn->closed = true;
}

static void serve(enchufe_conn *conn, const struct input *stream, struct input cuts)
{
    struct input left = *stream;

    *conn = (enchufe_conn){ .len = 0 };
    counted = 0;
    while (left.len != 0 && !conn->closed) {
        size_t step = cuts.len != 0 ? 1 + input_byte(&cuts) % 7 : left.len;
        struct input part = input_part(&left, step);
        unsigned char *exact = input_copy(&part);
        CHECK(hola_on_data(conn, exact, part.len) == part.len);
        free(exact);
    }
    conn->answers = counted;
    if (conn->closed)
        while (conn->len != 0 && strchr("\r\n", conn->out[conn->len - 1]))
            conn->len--;
}

/* Nothing is ever said but the two answers, each of which is counted, and line endings. */
static void check_words(const enchufe_conn *conn)
{
    static const char *const said[] = { "pues hola", "pues adios", "\r\n", "\n" };
    size_t at = 0, answers = 0;

    while (at < conn->len) {
        size_t i = 0;
        while (i < 4 && (strlen(said[i]) > conn->len - at ||
                         memcmp(conn->out + at, said[i], strlen(said[i])) != 0))
            i++;
        CHECK(i < 4);
        at += strlen(said[i]);
        answers += i < 2;
    }
    CHECK(answers == conn->answers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static enchufe_conn whole, parts;
    struct input in = { .data = data, .len = size };
    struct input cuts = input_part(&in, input_byte(&in));

    if (in.len > 4096)
        in.len = 4096;
    serve(&whole, &in, (struct input){ .len = 0 });
    serve(&parts, &in, cuts);
    check_words(&whole);
    CHECK(whole.closed == parts.closed && whole.len == parts.len);
    CHECK(memcmp(whole.out, parts.out, whole.len) == 0);
    return 0;
}
