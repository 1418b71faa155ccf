/* Fuzzer of wire.h: reading against a model that knows only bytes, and writing what was read gives the same
 * bytes again. */
#include <enchufe/wire.h>

#include "fuzz.h"

/* The number of `size` bytes at data, as one would do it by hand. */
static uint64_t by_hand(const uint8_t *data, size_t size, bool little)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)data[i] << 8 * (little ? i : size - 1 - i);
    return value;
}

static uint64_t read_number(enchufe_reader *reader, size_t size, bool little)
{
    switch (size) {
    case 1:
        return enchufe_reader_u8(reader);
    case 2:
        return little ? enchufe_reader_u16_le(reader) : enchufe_reader_u16(reader);
    case 4:
        return little ? enchufe_reader_u32_le(reader) : enchufe_reader_u32(reader);
    default:
        return little ? enchufe_reader_u64_le(reader) : enchufe_reader_u64(reader);
    }
}

static void write_number(enchufe_writer *writer, uint64_t value, size_t size, bool little)
{
    if (size == 1)
        enchufe_writer_u8(writer, (uint8_t)value);
    else if (size == 2 && little)
        enchufe_writer_u16_le(writer, (uint16_t)value);
    else if (size == 2)
        enchufe_writer_u16(writer, (uint16_t)value);
    else if (size == 4 && little)
        enchufe_writer_u32_le(writer, (uint32_t)value);
    else if (size == 4)
        enchufe_writer_u32(writer, (uint32_t)value);
    else if (little)
        enchufe_writer_u64_le(writer, value);
    else
        enchufe_writer_u64(writer, value);
}

/* Whatever is asked of it, the reader takes what is there or fails for good. */
static void read_all(struct input steps, const uint8_t *bytes, size_t len)
{
    static const size_t sizes[] = { 1, 2, 4, 8 };
    enchufe_reader reader;
    size_t at = 0;
    bool ok = true;

    enchufe_reader_init(&reader, bytes, len);
    while (steps.len != 0) {
        unsigned step = input_byte(&steps);
        bool little = step & 0x80, number = step & 0x40;
        size_t size = number ? sizes[step & 3] : step & 0x3f;
        bool fits = ok && size <= len - at;
        if (number)
            CHECK(read_number(&reader, size, little) ==
                  (fits ? by_hand(bytes + at, size, little) : 0));
        else if (little)
            enchufe_reader_skip(&reader, size);
        else
            CHECK(enchufe_reader_bytes(&reader, size) == (fits ? bytes + at : NULL));
        ok = fits;
        at += fits ? size : 0;
        CHECK(enchufe_reader_ok(&reader) == ok);
        CHECK(enchufe_reader_left(&reader) == (ok ? len - at : 0));
        CHECK(enchufe_reader_end(&reader) == (ok && at == len));
    }
}

/* Parts within parts cannot be left. */
static void read_parts(enchufe_reader *reader, unsigned depth)
{
    while (enchufe_reader_left(reader) != 0) {
        size_t len = enchufe_reader_u8(reader);
        enchufe_reader part = enchufe_reader_part(reader, len);
        CHECK(enchufe_reader_ok(&part) == enchufe_reader_ok(reader));
        CHECK(enchufe_reader_left(&part) == (enchufe_reader_ok(reader) ? len : 0));
        if (depth != 0)
            read_parts(&part, depth - 1);
    }
}

/* The same bytes, read as numbers and written again; into too little room nothing is written beyond it. */
static void write_again(struct input steps, const uint8_t *bytes, size_t len, size_t room)
{
    static const size_t sizes[] = { 1, 2, 4, 8 };
    uint8_t *memory = malloc(room != 0 ? room : 1);
    enchufe_reader reader;
    enchufe_writer writer;
    size_t taken = 0;

    enchufe_reader_init(&reader, bytes, len);
    enchufe_writer_init(&writer, memory, room);
    while (enchufe_reader_left(&reader) != 0) {
        unsigned step = input_byte(&steps);
        size_t size = sizes[step & 3];
        if (size > enchufe_reader_left(&reader))
            size = 1;
        uint64_t value = read_number(&reader, size, step & 0x80);
        size_t at = enchufe_writer_len(&writer);
        write_number(&writer, step & 0x40 ? 0 : value, size, step & 0x80);
        taken += size;
        if (step & 0x40) { /* later, in its place */
            enchufe_writer patch = writer;
            for (size_t i = 0; i < size && enchufe_writer_ok(&writer); i++)
                enchufe_writer_patch_u8(&writer, at + i,
                                        (uint8_t)(value >> 8 * (step & 0x80 ? i : size - 1 - i)));
            CHECK(enchufe_writer_ok(&writer) == enchufe_writer_ok(&patch));
        }
    }
    CHECK(enchufe_writer_ok(&writer) == (taken <= room));
    CHECK(enchufe_writer_len(&writer) == (taken <= room ? taken : 0));
    CHECK(taken > room || enchufe_writer_left(&writer) == room - taken);
    CHECK(taken > room || taken == 0 || memcmp(memory, bytes, taken) == 0);
    enchufe_writer_patch_u64(&writer, enchufe_writer_len(&writer), 1);
    CHECK(!enchufe_writer_ok(&writer));
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    size_t room = input_byte(&in);
    struct input steps = input_part(&in, input_byte(&in));
    uint8_t *bytes = input_copy(&in);
    enchufe_reader reader;

    read_all(steps, bytes, in.len);
    enchufe_reader_init(&reader, bytes, in.len);
    read_parts(&reader, 4);
    write_again(steps, bytes, in.len, room);
    write_again(steps, bytes, in.len, in.len);
    free(bytes);
    return 0;
}
