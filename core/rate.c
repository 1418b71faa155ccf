/* Rates from text. */
#include "rate.h"
#include "value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BLANKS " \t"

static int refuse(char error[RATE_ERROR], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(char error[RATE_ERROR], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, RATE_ERROR, format, args);
    va_end(args);
    return -EINVAL;
}

/* A whole number within 1 to RATE_MAX from the first len bytes of text; 0 where they are none. */
static uint32_t read_count(const char *text, size_t len)
{
    char digits[8];
    int64_t number;

    if (len == 0 || len >= sizeof digits || strspn(text, "0123456789") < len)
        return 0;
    memcpy(digits, text, len);
    digits[len] = '\0';
    return value_integer(digits, &number) == 0 && number <= RATE_MAX ? (uint32_t)number : 0;
}

static uint32_t read_period(const char *text, size_t len)
{
    if (len != 1)
        return 0;
    return *text == 's' ? 1000 : *text == 'm' ? 60000 : *text == 'h' ? 3600000 : 0;
}

/* `burst N` to the end of text. */
static uint32_t read_burst(const char *text)
{
    static const char word[] = "burst";
    size_t len = strcspn(text, BLANKS);

    if (len != sizeof word - 1 || memcmp(text, word, len) != 0)
        return 0;
    text += len;
    text += strspn(text, BLANKS);
    return read_count(text, strlen(text));
}

int rate_parse(const char *text, struct rate *out, char error[RATE_ERROR])
{
    size_t len = strcspn(text, BLANKS), slash = strcspn(text, "/");
    const char *rest = text + len + strspn(text + len, BLANKS);
    struct rate rate = { 0 };

    if (slash < len) {
        rate.count = read_count(text, slash);
        rate.period = read_period(text + slash + 1, len - slash - 1);
    }
    if (rate.count == 0 || rate.period == 0)
        return refuse(
            error,
            "\"%.80s\" is no rate; write 1 to %d a second, minute or hour, such as 100/s, "
            "30/m, 5/h or 100/s burst 200",
            text, RATE_MAX);
    rate.burst = *rest != '\0' ? read_burst(rest) : rate.count;
    if (rate.burst == 0)
        return refuse(error, "\"%.80s\" is no burst; write one of 1 to %d, such as %.*s burst 200",
                      rest, RATE_MAX, (int)len, text);
    *out = rate;
    return 0;
}
