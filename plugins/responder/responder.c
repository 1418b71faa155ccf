/* responder: answers each datagram with a reply made from a template.
 *
 * The template is compiled once, when the service starts, into parts: literal bytes and placeholders.
 * A datagram then only copies parts into the output buffer of its loop, and allocates nothing. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLY_MAX 65507 /* the longest datagram */
#define ERROR_SIZE 256

/* Enough for each placeholder once in answer to an empty datagram, which has only its headers to multiply. */
#define REPLY_RATIO 5

enum part_kind { PART_LITERAL, PART_DATA, PART_PEER, PART_TIME, PART_COUNT, PART_NAME };

static const char *const placeholders[] = {
    [PART_DATA] = "data",   [PART_PEER] = "peer", [PART_TIME] = "time",
    [PART_COUNT] = "count", [PART_NAME] = "name",
};
#define PLACEHOLDERS "{data} {peer} {time} {count} {name}"

struct part {
    enum part_kind kind;
    uint32_t start, len; /* PART_LITERAL: where in `bytes` of the template */
};

struct template
{
    size_t count;
    char *bytes; /* all literals, one after the other */
    struct part parts[];
};

struct settings {
    const char *reply;
};

/* Of each service. */
struct responder {
    struct template *template;  /* from start to stop */
    _Atomic uint64_t datagrams; /* that arrived, on all loops */
};

/* Of each service and loop. The time's text is kept because turning a time into a date takes longer
 * than all the rest, and takes a lock that all threads share. */
struct loop {
    time_t second;
    char time[32];
    char reply[REPLY_MAX];
};

/* ---------------------------------------------------------------------------------------------
 * The template
 */

static void template_add_byte(struct template *template, size_t *used, char byte)
{
    struct part *last = template->count ? &template->parts[template->count - 1] : NULL;

    if (!last || last->kind != PART_LITERAL) {
        last = &template->parts[template->count++];
        *last = (struct part){ .kind = PART_LITERAL, .start = (uint32_t)*used };
    }
    template->bytes[(*used)++] = byte;
    last->len++;
}

static int template_hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Reads what follows a backslash into *byte. Returns how many characters that took, 0 for an error. */
static size_t template_escape(const char *text, char *byte, char error[ERROR_SIZE])
{
    int high, low;

    switch (*text) {
    case 'n':
        *byte = '\n';
        return 1;
    case 'r':
        *byte = '\r';
        return 1;
    case 't':
        *byte = '\t';
        return 1;
    case '\\':
        *byte = '\\';
        return 1;
    case 'x':
        high = template_hex(text[1]);
        low = high < 0 ? -1 : template_hex(text[2]);
        if (low >= 0) {
            *byte = (char)(high * 16 + low);
            return 3;
        }
    }
    snprintf(error, ERROR_SIZE,
             "the backslash before \"%.3s\" begins no escape: there are \\n \\r \\t \\\\ and \\xHH "
             "(two hexadecimal digits)",
             text);
    return 0;
}

/* Reads what follows a `{` into *kind. Returns how many characters that took, 0 for an error. */
static size_t template_placeholder(const char *text, enum part_kind *kind, char error[ERROR_SIZE])
{
    const char *end = strchr(text, '}');

    if (!end) {
        snprintf(error, ERROR_SIZE,
                 "the brace before \"%.32s\" is never closed: a placeholder is one of " PLACEHOLDERS
                 ", and {{ stands for a brace itself",
                 text);
        return 0;
    }
    size_t len = (size_t)(end - text);
    for (int i = PART_DATA; i <= PART_NAME; i++)
        if (strlen(placeholders[i]) == len && memcmp(placeholders[i], text, len) == 0) {
            *kind = (enum part_kind)i;
            return len + 1;
        }
    snprintf(error, ERROR_SIZE,
             "unknown placeholder {%.*s}: there are " PLACEHOLDERS
             ", and {{ stands for a brace itself",
             (int)(len < 32 ? len : 32), text);
    return 0;
}

/* Compiles one item at text, which is not empty: a placeholder, an escape or a byte. Returns how many
 * characters it took, 0 for an error. */
static size_t template_item(struct template *template, size_t *used, const char *text,
                            char error[ERROR_SIZE])
{
    size_t taken = 0;

    if ((text[0] == '{' || text[0] == '}') && text[1] == text[0]) {
        template_add_byte(template, used, text[0]);
        return 2;
    }
    if (text[0] == '{') {
        struct part part = { 0 };
        taken = template_placeholder(text + 1, &part.kind, error);
        if (taken)
            template->parts[template->count++] = part;
    } else if (text[0] == '}') {
        snprintf(error, ERROR_SIZE, "a } without its {: write }} for a brace itself");
        return 0;
    } else if (text[0] == '\\') {
        char byte;
        taken = template_escape(text + 1, &byte, error);
        if (taken)
            template_add_byte(template, used, byte);
    } else {
        template_add_byte(template, used, text[0]);
        return 1;
    }
    return taken ? taken + 1 : 0;
}

/* Returns a template that the caller frees, or NULL with a sentence in error ("" without memory). */
static struct template *template_compile(const char *text, char error[ERROR_SIZE])
{
    size_t len = strlen(text), used = 0;
    /* No item is shorter than one character, so this is room enough for parts and literals. */
    struct template *template = calloc(1, sizeof *template + len * (sizeof(struct part) + 1));

    error[0] = '\0';
    if (!template)
        return NULL;
    template->bytes = (char *)&template->parts[len];
    while (*text) {
        size_t taken = template_item(template, &used, text, error);
        if (taken == 0) {
            free(template);
            return NULL;
        }
        text += taken;
    }
    return template;
}

/* ---------------------------------------------------------------------------------------------
 * The plugin
 */

enum { COUNTER_CUT };
static const char *const counters[] = { [COUNTER_CUT] = "cut", NULL };

static const enchufe_option options[] = {
    { .name = "reply",
      .type = ENCHUFE_OPTION_STRING,
      .offset = offsetof(struct settings, reply),
      .value = "{data}",
      .help = "the answer: text with " PLACEHOLDERS ", \\n \\r \\t \\\\ \\xHH, {{ and }}" },
    { .name = NULL },
};

static int responder_check(enchufe_service *service)
{
    const struct settings *settings = enchufe_service_settings(service);
    char error[ERROR_SIZE];
    struct template *template = template_compile(settings->reply, error);

    if (!template) {
        enchufe_option_error(service, "reply", "%s", *error ? error : strerror(ENOMEM));
        return *error ? -EINVAL : -ENOMEM;
    }
    free(template);
    return 0;
}

static int responder_start(enchufe_service *service)
{
    const struct settings *settings = enchufe_service_settings(service);
    struct responder *responder = enchufe_service_state(service);
    char error[ERROR_SIZE];

    responder->template = template_compile(settings->reply, error);
    if (!responder->template)
        return *error ? -EINVAL : -ENOMEM;
    return 0;
}

static void responder_stop(enchufe_service *service)
{
    struct responder *responder = enchufe_service_state(service);

    free(responder->template);
}

/* The time as `2026-11-22T14:55:00Z`. */
static const char *responder_time(struct loop *loop)
{
    time_t now = time(NULL);

    if (now != loop->second || loop->time[0] == '\0') {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(loop->time, sizeof loop->time, "%Y-%m-%dT%H:%M:%SZ", &utc);
        loop->second = now;
    }
    return loop->time;
}

/* Appends to the reply what fits. */
static void responder_append(struct loop *loop, size_t *used, const void *data, size_t len)
{
    size_t room = sizeof loop->reply - *used;
    size_t taken = len < room ? len : room;

    if (taken) /* the data of an empty datagram may be NULL */
        memcpy(loop->reply + *used, data, taken);
    *used += taken;
}

/* Points *data to the bytes of a part; text has room for those that are made here. Returns how many. */
static size_t responder_part(const struct part *part, const struct responder *responder,
                             const enchufe_datagram *in, uint64_t count,
                             char text[ENCHUFE_ADDRESS_TEXT], const void **data)
{
    *data = text;
    switch (part->kind) {
    case PART_LITERAL:
        *data = responder->template->bytes + part->start;
        return part->len;
    case PART_DATA:
        *data = in->data;
        return in->len;
    case PART_PEER:
        return strlen(enchufe_address_format(&in->route.peer, text, ENCHUFE_ADDRESS_TEXT));
    case PART_TIME:
        *data = responder_time(enchufe_loop_state(in->loop));
        return strlen(*data);
    case PART_COUNT:
        return (size_t)snprintf(text, ENCHUFE_ADDRESS_TEXT, "%" PRIu64, count);
    case PART_NAME:
        *data = enchufe_service_name(in->service);
        return strlen(*data);
    }
    return 0;
}

static void responder_on_datagram(enchufe_service *service, const enchufe_datagram *in)
{
    struct responder *responder = enchufe_service_state(service);
    const struct template *template = responder->template;
    struct loop *loop = enchufe_loop_state(in->loop);
    uint64_t count = atomic_fetch_add_explicit(&responder->datagrams, 1, memory_order_relaxed) + 1;
    size_t used = 0, whole = 0;

    for (size_t i = 0; i < template->count; i++) {
        char text[ENCHUFE_ADDRESS_TEXT];
        const void *data;
        size_t len = responder_part(&template->parts[i], responder, in, count, text, &data);
        responder_append(loop, &used, data, len);
        whole += len;
    }
    if (whole > used)
        enchufe_count(in->loop, COUNTER_CUT, 1);
    enchufe_reply(in, loop->reply, used);
}

ENCHUFE_PLUGIN(.name = "responder", .version = "0.1.0",
               .summary = "answers each datagram with a reply made from a template",
               .options = options, .settings_size = sizeof(struct settings),
               .service_size = sizeof(struct responder), .loop_size = sizeof(struct loop),
               .counters = counters, .check = responder_check, .start = responder_start,
               .stop = responder_stop, .on_datagram = responder_on_datagram,
               .max_reply_ratio = REPLY_RATIO);
