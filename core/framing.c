/* Cuts a stream into messages. Each framing looks at the front of the input and says what stands
 * there; a message that must become too long is refused as soon as that is certain, so that nobody
 * makes us keep bytes in vain. */
#include "framing.h"

#include <errno.h>
#include <string.h>

#define FRAMING_MAX ((size_t)1 << 30)
#define DELIMITER_MAX 16

static struct frame more(size_t scanned)
{
    return (struct frame){ .status = 0, .scanned = scanned };
}

static struct frame bad(int status)
{
    return (struct frame){ .status = status };
}

static struct frame message(size_t offset, size_t len, size_t ending)
{
    return (
        struct frame){ .status = 1, .offset = offset, .len = len, .size = offset + len + ending };
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct frame next_line(size_t max, const unsigned char *data, size_t len, size_t scanned)
{
    /* max counts the line without its ending: beyond lie at most \r\n. */
    size_t window = least(len, max + 2), end;
    const unsigned char *newline =
        window > scanned ? memchr(data + scanned, '\n', window - scanned) : NULL;

    if (!newline) {
        if (len > max + 1 || (len == max + 1 && data[max] != '\r'))
            return bad(-EMSGSIZE);
        return more(len);
    }
    end = (size_t)(newline - data);
    if (end > 0 && data[end - 1] == '\r')
        return message(0, end - 1, 2);
    return end > max ? bad(-EMSGSIZE) : message(0, end, 1);
}

/* Whether a delimiter may have begun at or before max and only lacks bytes that are to come. */
static bool may_begin_in_time(const enchufe_framing *framing, size_t max, const unsigned char *data,
                              size_t len)
{
    size_t size = framing->delimiter_len;

    for (size_t at = len < size ? 0 : len - size + 1; at <= max && at < len; at++)
        if (memcmp(data + at, framing->delimiter, len - at) == 0)
            return true;
    return len <= max;
}

static struct frame next_delimited(const enchufe_framing *framing, size_t max,
                                   const unsigned char *data, size_t len, size_t scanned)
{
    size_t size = framing->delimiter_len, window = least(len, max + size);
    const unsigned char *end = NULL;

    if (window >= scanned + size)
        end = memmem(data + scanned, window - scanned, framing->delimiter, size);
    if (end)
        return message(0, (size_t)(end - data), size);
    if (!may_begin_in_time(framing, max, data, len))
        return bad(-EMSGSIZE);
    return more(len < size ? 0 : len - size + 1);
}

static struct frame next_counted(const enchufe_framing *framing, size_t max,
                                 const unsigned char *data, size_t len)
{
    size_t size = framing->length_size;
    uint64_t length = 0;

    if (len < size)
        return more(0);
    for (size_t i = 0; i < size; i++)
        length = length << 8 | data[framing->little_endian ? size - 1 - i : i];
    if (length > max)
        return bad(-EMSGSIZE);
    return len - size < length ? more(0) : message(size, (size_t)length, 0);
}

static struct frame next_netstring(size_t max, const unsigned char *data, size_t len)
{
    size_t length = 0, i = 0;

    for (; i < len && data[i] >= '0' && data[i] <= '9'; i++) {
        if (i == 1 && data[0] == '0')
            return bad(-EBADMSG);
        length = length * 10 + (size_t)(data[i] - '0');
        if (length > max)
            return bad(-EMSGSIZE);
    }
    if (i == len)
        return more(0);
    if (i == 0 || data[i] != ':')
        return bad(-EBADMSG);
    i++;
    if (len - i <= length)
        return more(0);
    return data[i + length] == ',' ? message(i, length, 1) : bad(-EBADMSG);
}

struct frame framing_next(const enchufe_framing *framing, size_t max, const unsigned char *data,
                          size_t len, size_t scanned)
{
    if (len == 0)
        return more(0);
    switch (framing->type) {
    case ENCHUFE_FRAMING_LINE:
        return next_line(max, data, len, scanned);
    case ENCHUFE_FRAMING_DELIMITER:
        return next_delimited(framing, max, data, len, scanned);
    case ENCHUFE_FRAMING_LENGTH:
        return next_counted(framing, max, data, len);
    case ENCHUFE_FRAMING_FIXED:
        if (framing->max > max)
            return bad(-EMSGSIZE);
        return len < framing->max ? more(0) : message(0, framing->max, 0);
    case ENCHUFE_FRAMING_NETSTRING:
        return next_netstring(max, data, len);
    default:
        return bad(-EBADMSG);
    }
}

struct frame framing_last(const enchufe_framing *framing, const unsigned char *data, size_t len)
{
    if (framing->type != ENCHUFE_FRAMING_LINE || len == 0)
        return more(0);
    /* The stream may have been cut between \r and \n. */
    return data[len - 1] == '\r' ? message(0, len - 1, 1) : message(0, len, 0);
}

size_t framing_overhead(const enchufe_framing *framing)
{
    size_t extra = 0;

    switch (framing->type) {
    case ENCHUFE_FRAMING_LINE:
        extra = 2;
        break;
    case ENCHUFE_FRAMING_DELIMITER:
        extra = framing->delimiter_len;
        break;
    case ENCHUFE_FRAMING_LENGTH:
        extra = framing->length_size;
        break;
    case ENCHUFE_FRAMING_NETSTRING:
        extra = 3; /* a digit, `:` and `,` */
        for (size_t n = framing->max; n >= 10; n /= 10)
            extra++;
        break;
    }
    return framing->max + extra;
}

const char *framing_check(const enchufe_framing *framing)
{
    if (framing->type < ENCHUFE_FRAMING_LINE || framing->type > ENCHUFE_FRAMING_NETSTRING)
        return "framing.type is none of enum enchufe_framing_type";
    if (framing->max < 1 || framing->max > FRAMING_MAX)
        return "framing.max must be 1 to 1 GiB";
    if (framing->type == ENCHUFE_FRAMING_LENGTH) {
        uint8_t size = framing->length_size;

        if (size != 1 && size != 2 && size != 4 && size != 8)
            return "framing.length_size must be 1, 2, 4 or 8";
    }
    if (framing->type == ENCHUFE_FRAMING_DELIMITER) {
        if (!framing->delimiter)
            return "framing.delimiter is missing";
        if (framing->delimiter_len < 1 || framing->delimiter_len > DELIMITER_MAX)
            return "framing.delimiter_len must be 1 to 16";
    }
    return NULL;
}
