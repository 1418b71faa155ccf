/* Fuzzer of framing.c: the same stream gives the same messages, however it is cut; no message is longer
 * than allowed, and nothing makes a connection keep more than one whole message takes. */
#include "framing.h"
#include "fuzz.h"

/* What came of a stream: its messages, each behind its length, and how it went on. */
struct outcome {
    unsigned char *bytes;
    size_t len, cap;
    int status; /* of the last frame, after the end of the stream */
    size_t left;
};

static void note(struct outcome *outcome, const void *data, size_t len)
{
    if (outcome->len + len + sizeof len > outcome->cap) {
        outcome->cap = 2 * (outcome->len + len + sizeof len);
        outcome->bytes = input_grow(outcome->bytes, outcome->cap);
    }
    memcpy(outcome->bytes + outcome->len, &len, sizeof len);
    memcpy(outcome->bytes + outcome->len + sizeof len, data, len);
    outcome->len += sizeof len + len;
}

static void check_frame(const enchufe_framing *framing, size_t max, const struct frame *frame,
                        size_t len)
{
    size_t extra = framing_overhead(framing) - framing->max;

    CHECK(frame->status <= 1);
    if (frame->status == 1) {
        CHECK(frame->len <= max && frame->size <= len && frame->size > 0);
        CHECK(frame->offset <= frame->size && frame->len <= frame->size - frame->offset);
        CHECK(framing->type != ENCHUFE_FRAMING_FIXED || frame->len == framing->max);
    } else if (frame->status == 0) {
        CHECK(frame->scanned <= len);
        CHECK(len < max + extra);
    }
}

/* Takes all messages that stand at the front of what has come. Returns how many bytes they took. */
static size_t take(const enchufe_framing *framing, size_t max, const unsigned char *data,
                   size_t len, size_t *scanned, bool last, struct outcome *outcome)
{
    size_t used = 0;

    while (used < len && outcome->status >= 0) {
        struct input rest = { .data = data + used, .len = len - used };
        unsigned char *exact = input_copy(&rest);
        struct frame frame = framing_next(framing, max, exact, rest.len, *scanned);
        if (frame.status == 0 && last)
            frame = framing_last(framing, exact, rest.len);
        else
            check_frame(framing, max, &frame, rest.len);
        if (frame.status == 1)
            note(outcome, exact + frame.offset, frame.len);
        free(exact);
        outcome->status = frame.status;
        *scanned = frame.status == 0 ? frame.scanned : 0;
        if (frame.status != 1)
            break;
        used += frame.size;
    }
    return used;
}

static struct outcome cut_stream(const enchufe_framing *framing, size_t max,
                                 const struct input *stream, struct input cuts)
{
    struct outcome outcome = { .status = 0 };
    size_t start = 0, end = 0, scanned = 0;

    while (end < stream->len && outcome.status >= 0) {
        size_t step = 1 + input_byte(&cuts) % 9;
        end = cuts.len == 0 || stream->len - end < step ? stream->len : end + step;
        start += take(framing, max, stream->data + start, end - start, &scanned, false, &outcome);
    }
    if (outcome.status >= 0)
        start += take(framing, max, stream->data + start, end - start, &scanned, true, &outcome);
    outcome.left = outcome.status < 0 ? 0 : stream->len - start;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t sizes[] = { 1, 2, 4, 8, 0, 3 };
    struct input in = { .data = data, .len = size };
    char delimiter[16];
    enchufe_framing framing = { .type = input_byte(&in) % 7, .delimiter = delimiter };

    framing.max = input_byte(&in) % 80;
    framing.length_size = sizes[input_byte(&in) % sizeof sizes];
    framing.little_endian = input_byte(&in) & 1;
    framing.delimiter_len = (uint8_t)(input_byte(&in) % 18);
    for (size_t i = 0; i < sizeof delimiter; i++)
        delimiter[i] = i < framing.delimiter_len ? (char)input_byte(&in) : 0;
    size_t max = 1 + input_byte(&in) % 80;
    struct input cuts = input_part(&in, input_byte(&in));
    if (framing_check(&framing) != NULL)
        return 0;
    if (max > framing.max || framing.type == ENCHUFE_FRAMING_FIXED)
        max = framing.max;

    struct outcome whole = cut_stream(&framing, max, &in, (struct input){ .len = 0 });
    struct outcome parts = cut_stream(&framing, max, &in, cuts);
    CHECK(whole.status == parts.status && whole.len == parts.len && whole.left == parts.left);
    CHECK(whole.len == 0 || memcmp(whole.bytes, parts.bytes, whole.len) == 0);
    free(whole.bytes);
    free(parts.bytes);
    return 0;
}
