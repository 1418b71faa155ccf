/* SPDX-License-Identifier: MIT
 *
 * enchufe/wire.h - a bounds-checked reader and writer for binary messages.
 *
 * Both work on memory of the caller, allocate nothing and never go beyond its end. An error is
 * sticky: after the first read that finds too few bytes, every read yields zeros and takes nothing;
 * after the first write that finds too little room, nothing more is written. So a parser reads all
 * its fields in a row and asks once, at the end, whether they were all there:
 *
 *     enchufe_reader r;
 *     enchufe_reader_init(&r, data, len);
 *     type = enchufe_reader_u8(&r);
 *     id = enchufe_reader_u32(&r);
 *     name = enchufe_reader_bytes(&r, enchufe_reader_u16(&r));
 *     if (!enchufe_reader_end(&r))
 *         return;                              (too short, or something is left over)
 *
 * Numbers are in network byte order (most significant byte first); the functions that end in _le
 * take the least significant byte first. Lengths are bytes.
 *
 * Threads: any; one reader or writer may be used by one thread at a time. Header only, so that a
 * plugin which uses it needs nothing from the server.
 */
#ifndef ENCHUFE_WIRE_H
#define ENCHUFE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------
 * Reader
 */

/* The fields are for the functions below. */
typedef struct enchufe_reader {
    const uint8_t *data; /* borrowed: it must live as long as the reader and what it gave out */
    size_t len;
    size_t at; /* the next byte */
    bool failed;
} enchufe_reader;

/* Starts to read len bytes at data (NULL is allowed where len is 0). Cannot fail. */
static inline void enchufe_reader_init(enchufe_reader *reader, const void *data, size_t len)
{
    reader->data = (const uint8_t *)(data ? data : "");
    reader->len = data ? len : 0;
    reader->at = 0;
    reader->failed = false;
}

/* Whether everything that was asked for so far was there. */
static inline bool enchufe_reader_ok(const enchufe_reader *reader)
{
    return !reader->failed;
}

/* How many bytes are left; 0 after a failure. */
static inline size_t enchufe_reader_left(const enchufe_reader *reader)
{
    return reader->failed ? 0 : reader->len - reader->at;
}

/* Whether everything was there and nothing is left: what a whole message should end with. */
static inline bool enchufe_reader_end(const enchufe_reader *reader)
{
    return !reader->failed && reader->at == reader->len;
}

/* Makes the reader fail: for a parser that meets a value which cannot be. */
static inline void enchufe_reader_fail(enchufe_reader *reader)
{
    reader->failed = true;
}

/* Takes the next len bytes. Returns where they stand in the source, which still owns them; NULL on
 * failure (never NULL otherwise, also for 0 bytes). They end with no NUL. */
static inline const uint8_t *enchufe_reader_bytes(enchufe_reader *reader, size_t len)
{
    const uint8_t *bytes;

    if (reader->failed || len > reader->len - reader->at) {
        reader->failed = true;
        return NULL;
    }
    bytes = reader->data + reader->at;
    reader->at += len;
    return bytes;
}

/* Copies the next len bytes to out, which is filled with zeros on failure. */
static inline void enchufe_reader_copy(enchufe_reader *reader, void *out, size_t len)
{
    const uint8_t *bytes = enchufe_reader_bytes(reader, len);

    if (len == 0)
        return;
    if (bytes)
        memcpy(out, bytes, len);
    else
        memset(out, 0, len);
}

/* Passes over the next len bytes. */
static inline void enchufe_reader_skip(enchufe_reader *reader, size_t len)
{
    (void)enchufe_reader_bytes(reader, len);
}

/* Takes the next len bytes as a source of their own: for a part whose length stood before it, so
 * that nothing in it can be read from what follows. Returns a reader over them; on failure, one
 * that has failed as well. */
static inline enchufe_reader enchufe_reader_part(enchufe_reader *reader, size_t len)
{
    const uint8_t *bytes = enchufe_reader_bytes(reader, len);
    enchufe_reader part;

    enchufe_reader_init(&part, bytes, len);
    part.failed = reader->failed;
    return part;
}

/* For the functions below: a number of `size` bytes. */
static inline uint64_t enchufe_reader_number_(enchufe_reader *reader, size_t size, bool little)
{
    const uint8_t *bytes = enchufe_reader_bytes(reader, size);
    uint64_t value = 0;
    size_t i;

    for (i = 0; bytes && i < size; i++)
        value = (value << 8) | bytes[little ? size - 1 - i : i];
    return value;
}

/* The next number; 0 on failure. */
static inline uint8_t enchufe_reader_u8(enchufe_reader *reader)
{
    return (uint8_t)enchufe_reader_number_(reader, 1, false);
}

static inline uint16_t enchufe_reader_u16(enchufe_reader *reader)
{
    return (uint16_t)enchufe_reader_number_(reader, 2, false);
}

static inline uint32_t enchufe_reader_u32(enchufe_reader *reader)
{
    return (uint32_t)enchufe_reader_number_(reader, 4, false);
}

static inline uint64_t enchufe_reader_u64(enchufe_reader *reader)
{
    return enchufe_reader_number_(reader, 8, false);
}

static inline uint16_t enchufe_reader_u16_le(enchufe_reader *reader)
{
    return (uint16_t)enchufe_reader_number_(reader, 2, true);
}

static inline uint32_t enchufe_reader_u32_le(enchufe_reader *reader)
{
    return (uint32_t)enchufe_reader_number_(reader, 4, true);
}

static inline uint64_t enchufe_reader_u64_le(enchufe_reader *reader)
{
    return enchufe_reader_number_(reader, 8, true);
}

/* ---------------------------------------------------------------------------------------------
 * Writer
 */

/* The fields are for the functions below. */
typedef struct enchufe_writer {
    uint8_t *data; /* borrowed: it must live as long as the writer */
    size_t size;
    size_t len; /* bytes written */
    bool failed;
} enchufe_writer;

/* Starts to write into size bytes at memory (NULL is allowed where size is 0). Cannot fail. */
static inline void enchufe_writer_init(enchufe_writer *writer, void *memory, size_t size)
{
    writer->data = (uint8_t *)memory;
    writer->size = memory ? size : 0;
    writer->len = 0;
    writer->failed = false;
}

/* Whether everything found room so far. */
static inline bool enchufe_writer_ok(const enchufe_writer *writer)
{
    return !writer->failed;
}

/* How many bytes were written, from the start of the memory; 0 after a failure, so that half a
 * message is not sent by mistake. */
static inline size_t enchufe_writer_len(const enchufe_writer *writer)
{
    return writer->failed ? 0 : writer->len;
}

/* How many more find room; 0 after a failure. */
static inline size_t enchufe_writer_left(const enchufe_writer *writer)
{
    return writer->failed ? 0 : writer->size - writer->len;
}

/* Leaves room for len bytes that are filled in later, zeros for now. Returns their place, for the
 * functions enchufe_writer_patch_...(); 0 on failure. */
static inline size_t enchufe_writer_reserve(enchufe_writer *writer, size_t len)
{
    size_t at = writer->len;

    if (writer->failed || len > writer->size - writer->len) {
        writer->failed = true;
        return 0;
    }
    if (len > 0)
        memset(writer->data + at, 0, len);
    writer->len += len;
    return at;
}

/* Appends a copy of len bytes. */
static inline void enchufe_writer_bytes(enchufe_writer *writer, const void *bytes, size_t len)
{
    size_t at = enchufe_writer_reserve(writer, len);

    if (!writer->failed && len > 0)
        memcpy(writer->data + at, bytes, len);
}

/* Appends a text without its NUL. */
static inline void enchufe_writer_text(enchufe_writer *writer, const char *text)
{
    enchufe_writer_bytes(writer, text, strlen(text));
}

/* For the functions below: a number of `size` bytes over bytes that were written before. */
static inline void enchufe_writer_number_at_(enchufe_writer *writer, size_t at, uint64_t value,
                                             size_t size, bool little)
{
    size_t i;

    if (writer->failed || at > writer->len || size > writer->len - at) {
        writer->failed = true;
        return;
    }
    for (i = 0; i < size; i++) {
        writer->data[at + (little ? i : size - 1 - i)] = (uint8_t)(value & 0xff);
        value >>= 8;
    }
}

static inline void enchufe_writer_number_(enchufe_writer *writer, uint64_t value, size_t size,
                                          bool little)
{
    size_t at = enchufe_writer_reserve(writer, size);

    enchufe_writer_number_at_(writer, at, value, size, little);
}

/* Appends a number. */
static inline void enchufe_writer_u8(enchufe_writer *writer, uint8_t value)
{
    enchufe_writer_number_(writer, value, 1, false);
}

static inline void enchufe_writer_u16(enchufe_writer *writer, uint16_t value)
{
    enchufe_writer_number_(writer, value, 2, false);
}

static inline void enchufe_writer_u32(enchufe_writer *writer, uint32_t value)
{
    enchufe_writer_number_(writer, value, 4, false);
}

static inline void enchufe_writer_u64(enchufe_writer *writer, uint64_t value)
{
    enchufe_writer_number_(writer, value, 8, false);
}

static inline void enchufe_writer_u16_le(enchufe_writer *writer, uint16_t value)
{
    enchufe_writer_number_(writer, value, 2, true);
}

static inline void enchufe_writer_u32_le(enchufe_writer *writer, uint32_t value)
{
    enchufe_writer_number_(writer, value, 4, true);
}

static inline void enchufe_writer_u64_le(enchufe_writer *writer, uint64_t value)
{
    enchufe_writer_number_(writer, value, 8, true);
}

/* Writes a number over what stands at `at` (from enchufe_writer_reserve() or enchufe_writer_len()):
 * for a length that is known only when its body has been written. A place that was not written yet
 * is a failure. */
static inline void enchufe_writer_patch_u8(enchufe_writer *writer, size_t at, uint8_t value)
{
    enchufe_writer_number_at_(writer, at, value, 1, false);
}

static inline void enchufe_writer_patch_u16(enchufe_writer *writer, size_t at, uint16_t value)
{
    enchufe_writer_number_at_(writer, at, value, 2, false);
}

static inline void enchufe_writer_patch_u32(enchufe_writer *writer, size_t at, uint32_t value)
{
    enchufe_writer_number_at_(writer, at, value, 4, false);
}

static inline void enchufe_writer_patch_u64(enchufe_writer *writer, size_t at, uint64_t value)
{
    enchufe_writer_number_at_(writer, at, value, 8, false);
}

static inline void enchufe_writer_patch_u16_le(enchufe_writer *writer, size_t at, uint16_t value)
{
    enchufe_writer_number_at_(writer, at, value, 2, true);
}

static inline void enchufe_writer_patch_u32_le(enchufe_writer *writer, size_t at, uint32_t value)
{
    enchufe_writer_number_at_(writer, at, value, 4, true);
}

static inline void enchufe_writer_patch_u64_le(enchufe_writer *writer, size_t at, uint64_t value)
{
    enchufe_writer_number_at_(writer, at, value, 8, true);
}

#ifdef __cplusplus
}
#endif

#endif
