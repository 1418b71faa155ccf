/* One option of every type; the line `show` prints them as the plugin sees them. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct options_settings {
    const char *text;
    bool flag;
    int64_t low, high;
    uint64_t size;
    uint64_t wait;
    int colour;
    enchufe_endpoint upstream;
    const char *file;
    const char *token;
    enchufe_list words;
};

static const char *const options_colours[] = { "red", "green", "blue", NULL };
static const char *const options_never[] = { "never", NULL };

#define OPTIONS_AT(field) .offset = offsetof(struct options_settings, field)

static const enchufe_option options_table[] = {
    { .name = "text",
      .type = ENCHUFE_OPTION_STRING,
      OPTIONS_AT(text),
      .value = "hello",
      .min = 1,
      .max = 20,
      .help = "any text of 1 to 20 bytes" },
    { .name = "flag",
      .type = ENCHUFE_OPTION_BOOL,
      OPTIONS_AT(flag),
      .value = "no",
      .help = "yes or no" },
    { .name = "low",
      .type = ENCHUFE_OPTION_INTEGER,
      OPTIONS_AT(low),
      .value = "-5",
      .min = -100,
      .max = 100,
      .help = "the lower end" },
    { .name = "high",
      .type = ENCHUFE_OPTION_INTEGER,
      OPTIONS_AT(high),
      .value = "5",
      .min = -100,
      .max = 100,
      .help = "the upper end, not below `low`" },
    { .name = "size",
      .type = ENCHUFE_OPTION_SIZE,
      OPTIONS_AT(size),
      .value = "64k",
      .min = 1024,
      .max = 1 << 20,
      .help = "a size" },
    { .name = "wait",
      .type = ENCHUFE_OPTION_DURATION,
      OPTIONS_AT(wait),
      .value = "never",
      .min = 100,
      .max = 3600000,
      .choices = options_never,
      .help = "a duration, or never" },
    { .name = "colour",
      .type = ENCHUFE_OPTION_ENUM,
      OPTIONS_AT(colour),
      .value = "green",
      .choices = options_colours,
      .help = "one of three" },
    { .name = "upstream",
      .type = ENCHUFE_OPTION_ENDPOINT,
      OPTIONS_AT(upstream),
      .help = "where to go on" },
    { .name = "file", .type = ENCHUFE_OPTION_PATH, OPTIONS_AT(file), .help = "a file" },
    { .name = "token",
      .type = ENCHUFE_OPTION_SECRET,
      OPTIONS_AT(token),
      .min = 8,
      .max = 64,
      .flags = ENCHUFE_OPTION_REQUIRED,
      .help = "never printed" },
    { .name = "words", .type = ENCHUFE_OPTION_LIST, OPTIONS_AT(words), .help = "some words" },
    { .name = NULL },
};

static int options_check(enchufe_service *service)
{
    const struct options_settings *settings = enchufe_service_settings(service);
    if (settings->low <= settings->high)
        return 0;
    enchufe_option_error(service, "high", "%" PRId64 " is below low, write %" PRId64 " or more",
                         settings->high, settings->low);
    return -EINVAL;
}

static const char *options_or_none(const char *text)
{
    return text == NULL ? "(none)" : text;
}

static void options_show_endpoint(FILE *out, const enchufe_endpoint *endpoint)
{
    char address[ENCHUFE_ADDRESS_TEXT];

    fprintf(out, "upstream=%s kind=%u ", options_or_none(endpoint->text), (unsigned)endpoint->kind);
    if (endpoint->path != NULL)
        fprintf(out, "path=%s\n", endpoint->path);
    else
        fprintf(out, "address=%s\n",
                enchufe_address_format(&endpoint->address, address, sizeof address));
}

static void options_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    const struct options_settings *settings = enchufe_conn_settings(conn);
    char text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");

    (void)data, (void)len;
    if (out == NULL)
        return;
    fprintf(out, "text=%s\nflag=%d\nlow=%" PRId64 "\nhigh=%" PRId64 "\n", settings->text,
            settings->flag, settings->low, settings->high);
    fprintf(out, "size=%" PRIu64 "\nwait=%" PRIu64 "\ncolour=%d\n", settings->size, settings->wait,
            settings->colour);
    options_show_endpoint(out, &settings->upstream);
    fprintf(out, "file=%s\ntoken_length=%zu\n", options_or_none(settings->file),
            strlen(settings->token));
    fprintf(out, "words=%zu\n", settings->words.count);
    for (size_t i = 0; i < settings->words.count; i++)
        fprintf(out, "word=%s\n", settings->words.items[i]);
    fprintf(out, "end\n");
    long total = ftell(out);
    fclose(out);
    enchufe_write(conn, text, total < 0 ? 0 : (size_t)total);
}

static const enchufe_framing options_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

ENCHUFE_PLUGIN(.name = "options", .version = "1.2", .summary = "shows one option of every type",
               .options = options_table, .settings_size = sizeof(struct options_settings),
               .framing = &options_framing, .check = options_check,
               .on_message = options_on_message);
