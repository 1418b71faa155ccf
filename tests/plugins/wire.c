/* A binary protocol with enchufe/wire.h. A request is a frame (a length of 4 bytes, then that many) of
 *   u8 operation, u32 identity, u16 count, then count times: u8 length, that many bytes of text
 * and the reply is a frame of
 *   u8 status, u32 identity, then of operation 1: u32 total length, u8 length of the longest, its bytes
 * where status is 0 for done and 1 for a request that was too short, too long or unknown. */
#include <enchufe/plugin.h>
#include <enchufe/wire.h>

enum { WIRE_LONGEST = 1 };
enum { WIRE_DONE = 0, WIRE_BAD = 1 };

struct wire_result {
    uint32_t total;
    uint8_t longest_len;
    const uint8_t *longest;
};

static const enchufe_framing wire_framing = { .type = ENCHUFE_FRAMING_LENGTH,
                                              .length_size = 4,
                                              .max = 64 * 1024 };

/* Reads everything in a row and asks once whether it was all there. */
static bool wire_parse(enchufe_reader *in, uint32_t *identity, struct wire_result *result)
{
    uint8_t operation = enchufe_reader_u8(in);
    *identity = enchufe_reader_u32(in);
    uint16_t count = enchufe_reader_u16(in);

    for (unsigned i = 0; i < count && enchufe_reader_ok(in); i++) {
        uint8_t len = enchufe_reader_u8(in);
        const uint8_t *text = enchufe_reader_bytes(in, len);
        result->total += len;
        if (len > result->longest_len) {
            result->longest_len = len;
            result->longest = text;
        }
    }
    return enchufe_reader_end(in) && operation == WIRE_LONGEST;
}

static void wire_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    uint8_t reply[300];
    uint32_t identity = 0;
    struct wire_result result = { .longest = NULL };
    enchufe_reader in;
    enchufe_writer out;

    enchufe_reader_init(&in, data, len);
    bool good = wire_parse(&in, &identity, &result);

    enchufe_writer_init(&out, reply, sizeof reply);
    size_t length_at = enchufe_writer_reserve(&out, 4); /* known when the body is written */
    enchufe_writer_u8(&out, good ? WIRE_DONE : WIRE_BAD);
    enchufe_writer_u32(&out, identity);
    if (good) {
        enchufe_writer_u32(&out, result.total);
        enchufe_writer_u8(&out, result.longest_len);
        enchufe_writer_bytes(&out, result.longest, result.longest_len);
    }
    enchufe_writer_patch_u32(&out, length_at, (uint32_t)enchufe_writer_len(&out) - 4);
    enchufe_write(conn, reply, enchufe_writer_len(&out));
}

ENCHUFE_PLUGIN(.name = "wire", .summary = "finds the longest text of a binary request",
               .framing = &wire_framing, .on_message = wire_on_message);
