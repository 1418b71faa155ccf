/* hola: answers the token `hola` with `pues hola`, and `adios` with `pues adios` and a close.
 *
 * A stream has no message boundaries, so the tokens are found by a machine that looks at one byte at
 * a time and needs a few bytes of state: however the stream was cut, the answers are the same. */
#include <enchufe/plugin.h>
#include <string.h>

enum word { WORD_HOLA, WORD_ADIOS }; /* also the numbers of the counters */

static const char *const words[] = { [WORD_HOLA] = "hola", [WORD_ADIOS] = "adios" };
/* Always copied whole, which is two instructions, and counted for its length. */
struct text {
    char bytes[15];
    uint8_t len;
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof literal - 1                                                                \
    }

static const struct text answers[] = {
    [WORD_HOLA] = TEXT("pues hola"), [WORD_ADIOS] = TEXT("pues adios")
};
static const char *const counters[] = { [WORD_HOLA] = "hola", [WORD_ADIOS] = "adios", NULL };

enum ending { ENDING_NONE, ENDING_LF, ENDING_CRLF };

static const struct text endings[] = {
    [ENDING_NONE] = TEXT(""), [ENDING_LF] = TEXT("\n"), [ENDING_CRLF] = TEXT("\r\n")
};

/* Of each connection; zeroed is right for a new one. */
struct client {
    uint8_t word;      /* which word the matched bytes begin (enum word) */
    uint8_t matched;   /* how many bytes of it came */
    uint8_t ending;    /* how the client ended its last line (enum ending) */
    bool passing;      /* over something unknown, up to the next white space */
    bool after_cr;     /* the last byte was \r */
    bool wants_ending; /* hola was just answered: a line ending right now is mirrored */
};

enum event { EVENT_NONE, EVENT_HOLA, EVENT_ADIOS, EVENT_LINE_ENDED };

static bool hola_is_space(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* White space ends whatever was there. */
static enum event hola_space(struct client *client, unsigned char byte)
{
    bool mirror = client->wants_ending && byte == '\n';

    if (byte == '\n')
        client->ending = client->after_cr ? ENDING_CRLF : ENDING_LF;
    /* After an answer only \n or \r\n counts: the \r may still be the first half. */
    client->wants_ending = client->wants_ending && byte == '\r' && !client->after_cr;
    client->after_cr = byte == '\r';
    client->matched = 0;
    client->passing = false;
    return mirror ? EVENT_LINE_ENDED : EVENT_NONE;
}

/* Takes one byte of the stream. */
static enum event hola_byte(struct client *client, unsigned char byte)
{
    if (hola_is_space(byte))
        return hola_space(client, byte);
    client->after_cr = false;
    client->wants_ending = false;
    if (client->passing)
        return EVENT_NONE;
    if (client->matched == 0) /* the first letter tells the words apart */
        client->word = byte == 'h' ? WORD_HOLA : WORD_ADIOS;
    const char *word = words[client->word];
    if (byte != (unsigned char)word[client->matched]) {
        client->passing = true;
        return EVENT_NONE;
    }
    if (word[++client->matched] != '\0')
        return EVENT_NONE;
    client->matched = 0;
    client->wants_ending = client->word == WORD_HOLA;
    return client->word == WORD_HOLA ? EVENT_HOLA : EVENT_ADIOS;
}

/* What one batch of input is answered, so that a client that asks much at once costs one write. */
struct output {
    enchufe_conn *conn;
    size_t len;
    uint64_t holas; /* answered */
    bool logged;
    char bytes[1024];
};

static void hola_flush(struct output *output)
{
    enchufe_write(output->conn, output->bytes, output->len);
    output->len = 0;
}

static inline void hola_write(struct output *output, const struct text *text)
{
    if (output->len + sizeof text->bytes > sizeof output->bytes)
        hola_flush(output);
    memcpy(output->bytes + output->len, text->bytes, sizeof text->bytes);
    output->len += text->len;
}

static void hola_answer(struct output *output, enum word word)
{
    hola_write(output, &answers[word]);
    if (output->logged)
        enchufe_conn_log(output->conn, ENCHUFE_LOG_INFO, "asked %s, answered %s", words[word],
                         answers[word].bytes);
}

/* How the last answer ends, given what came right after the token: the connection closes with it, so
 * what has not come yet cannot be waited for. */
static enum ending hola_last_ending(const struct client *client, const char *rest, size_t len)
{
    if (len >= 1 && rest[0] == '\n')
        return ENDING_LF;
    if (len >= 2 && rest[0] == '\r' && rest[1] == '\n')
        return ENDING_CRLF;
    return (enum ending)client->ending;
}

static void hola_on_open(enchufe_conn *conn)
{
    enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "connected");
}

/* Takes what comes next: a whole `hola`, which most of the stream is, or one byte. Sets *used. */
static enum event hola_next(struct client *client, const char *bytes, size_t len, size_t *used)
{
    size_t whole = sizeof "hola" - 1;

    *used = 1;
    if (client->matched != 0 || client->passing || len < whole || memcmp(bytes, "hola", whole) != 0)
        return hola_byte(client, (unsigned char)*bytes);
    *used = whole;
    client->word = WORD_HOLA;
    client->after_cr = false;
    client->wants_ending = true;
    return EVENT_HOLA;
}

/* Returns whether the client said goodbye. */
static bool hola_read(struct client *client, struct output *output, const char *bytes, size_t len)
{
    for (size_t i = 0, used; i < len; i += used) {
        switch (hola_next(client, bytes + i, len - i, &used)) {
        case EVENT_NONE:
            break;
        case EVENT_HOLA:
            hola_answer(output, WORD_HOLA);
            output->holas++;
            break;
        case EVENT_LINE_ENDED:
            hola_write(output, &endings[client->ending]);
            break;
        case EVENT_ADIOS:
            hola_answer(output, WORD_ADIOS);
            hola_write(output, &endings[hola_last_ending(client, bytes + i + 1, len - i - 1)]);
            return true;
        }
    }
    return false;
}

static size_t hola_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    struct output output; /* its bytes are not zeroed */

    output.conn = conn;
    output.len = 0;
    output.holas = 0;
    output.logged = enchufe_log_enabled(ENCHUFE_LOG_INFO);
    bool goodbye = hola_read(enchufe_conn_state(conn), &output, data, len);
    hola_flush(&output);
    if (output.holas != 0)
        enchufe_count(enchufe_conn_loop(conn), WORD_HOLA, output.holas);
    if (goodbye) {
        enchufe_count(enchufe_conn_loop(conn), WORD_ADIOS, 1);
        enchufe_close(conn);
    }
    return len;
}

static void hola_on_close(enchufe_conn *conn, int reason)
{
    enchufe_conn_log(conn, ENCHUFE_LOG_INFO, "left: %s", enchufe_reason_name(reason));
}

ENCHUFE_PLUGIN(.name = "hola", .version = "0.1.0",
               .summary = "answers `hola` with `pues hola`, and `adios` with a goodbye",
               .conn_size = sizeof(struct client), .counters = counters, .on_open = hola_on_open,
               .on_data = hola_on_data, .on_close = hola_on_close);
