/* Fuzzer of the responder's template: what it compiles to is written as a template again and compiles to the
 * same, and a reply is what an expansion by hand gives, cut where a datagram ends. */
#include "fuzz.h"

#include "../../plugins/responder/responder.c"

struct enchufe_service {
    struct settings settings;
    struct responder responder;
};

struct enchufe_loop {
    struct loop loop;
    unsigned cut;
};

static struct enchufe_service service;
static struct enchufe_loop loop;
static char *expected;
static size_t expected_len, expected_size;
static bool replied;

/* A second must not pass between the plugin's look at the clock and ours. */
time_t time(time_t *out)
{
    time_t now = 1795359600;

    return out != NULL ? *out = now : now;
}

const void *enchufe_service_settings(const enchufe_service *of)
{
    return &of->settings;
}

void *enchufe_service_state(const enchufe_service *of)
{
    (void)of;
    return &service.responder;
}

const char *enchufe_service_name(const enchufe_service *of)
{
    (void)of;
    return "quien";
}

void *enchufe_loop_state(const enchufe_loop *of)
{
    (void)of;
    return &loop.loop;
}

void enchufe_option_error(enchufe_service *of, const char *option, const char *format, ...)
{
    (void)of;
    CHECK(strcmp(option, "reply") == 0 && *format != '\0');
}

void enchufe_count(enchufe_loop *of, size_t counter, uint64_t n)
{
    CHECK(counter == COUNTER_CUT && n == 1);
    of->cut++;
}

int enchufe_reply(const enchufe_datagram *datagram, const void *data, size_t len)
{
    size_t kept = expected_len < REPLY_MAX ? expected_len : REPLY_MAX;

    (void)datagram;
    CHECK(len == kept && (kept == 0 || memcmp(data, expected, kept) == 0));
    CHECK((loop.cut != 0) == (expected_len > REPLY_MAX));
    replied = true;
    return 0;
}

static void expect(const void *data, size_t len)
{
    if (expected_len + len > expected_size) {
        expected_size = 2 * (expected_len + len);
        expected = input_grow(expected, expected_size);
    }
    if (len != 0)
        memcpy(expected + expected_len, data, len);
    expected_len += len;
}

/* By another way than the plugin's: straight from the text, which is known to be right. */
static void expand(const char *text, const enchufe_datagram *in)
{
    char peer[ENCHUFE_ADDRESS_TEXT], byte[2] = "";

    enchufe_address_format(&in->route.peer, peer, sizeof peer);
    for (expected_len = 0; *text != '\0'; text++) {
        const char *values[] = { peer, responder_time(&loop.loop), "1", "quien" };
        static const char *const marks[] = { "{peer}", "{time}", "{count}", "{name}" };
        size_t i = 0;
        while (i < 4 && strncmp(text, marks[i], strlen(marks[i])) != 0)
            i++;
        if (i < 4) {
            expect(values[i], strlen(values[i]));
            text += strlen(marks[i]) - 1;
        } else if (strncmp(text, "{data}", 6) == 0) {
            expect(in->data, in->len);
            text += 5;
        } else if (*text == '\\' && text[1] == 'x') {
            char hex[3] = { text[2], text[3], '\0' };
            byte[0] = (char)strtoul(hex, NULL, 16);
            expect(byte, 1);
            text += 3;
        } else if (*text == '\\') {
            text++;
            expect(*text == 'n' ? "\n" : *text == 'r' ? "\r" : *text == 't' ? "\t" : "\\", 1);
        } else {
            expect(text, 1);
            text += *text == '{' || *text == '}';
        }
    }
}

static char *decompile(const struct template *template)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (size_t i = 0; i < template->count; i++) {
        const struct part *part = &template->parts[i];
        if (part->kind != PART_LITERAL)
            fprintf(out, "{%s}", placeholders[part->kind]);
        for (size_t n = 0; part->kind == PART_LITERAL && n < part->len; n++)
            fprintf(out, "\\x%02x", (unsigned char)template->bytes[part->start + n]);
    }
    fclose(out);
    return text;
}

static void check_round_trip(const struct template *template)
{
    char error[ERROR_SIZE], *text = decompile(template);
    struct template *again = template_compile(text, error);

    CHECK(again != NULL && again->count == template->count);
    for (size_t i = 0; i < again->count; i++) {
        const struct part *a = &again->parts[i], *b = &template->parts[i];
        CHECK(a->kind == b->kind && a->start == b->start && a->len == b->len);
        CHECK(a->kind != PART_LITERAL ||
              memcmp(again->bytes + a->start, template->bytes + b->start, a->len) == 0);
    }
    free(again);
    free(text);
}

static void answer(const char *text, const struct input *data)
{
    enchufe_datagram in = { .data = data->data,
                            .len = data->len,
                            .service = &service,
                            .loop = &loop,
                            .route.peer = {
                                .family = ENCHUFE_FAMILY_IPV4, .port = 7, .ip = { 9 } } };

    service.settings.reply = text;
    service.responder = (struct responder){ .datagrams = 0 };
    loop.cut = 0;
    CHECK(responder_start(&service) == 0);
    expand(text, &in);
    replied = false;
    responder_on_datagram(&service, &in);
    CHECK(replied);
    responder_stop(&service);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    struct input datagram = input_part(&in, input_number(&in) & 0x1ff);
    char error[ERROR_SIZE], *text = input_text(&in);
    struct template *template = template_compile(text, error);

    CHECK((template == NULL) == (*error != '\0') && strlen(error) < ERROR_SIZE);
    service.settings.reply = text;
    CHECK((responder_check(&service) == 0) == (template != NULL));
    if (template != NULL) {
        CHECK(template->count <= strlen(text));
        check_round_trip(template);
        free(template);
        answer(text, &datagram);
    }
    free(text);
    return 0;
}
