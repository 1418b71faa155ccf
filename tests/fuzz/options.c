/* Fuzzer of options.c, options_set.c and options_text.c: a section's settings against a table with every type.
 * What is taken lies in its range and nothing beside its field is written; what is refused is told, in one
 * line, without a secret. */
#include "options.h"
#include "fuzz.h"
#include "resolver.h"
#include "value.h"

#define CANARY 0xa5
#define SECRET "(s3cr3t)"

struct field {
    unsigned char before[8];
    union {
        const char *text;
        bool yes;
        int64_t number;
        uint64_t count;
        int choice;
        enchufe_endpoint endpoint;
        enchufe_list list;
    };
    unsigned char after[8];
};

enum { FIELDS = 10 };

static const char *const choices[] = { "red", "green", "blue", NULL };
static const char *const words[] = { "never", "auto", NULL };
static const char *const also_known[] = { "listen", "plugin", NULL };
static const char *const names[FIELDS] = { "text", "yes",   "number",    "size", "time",
                                           "kind", "place", "file_name", "key",  "names" };

static bool is_number(uint32_t type)
{
    return type >= ENCHUFE_OPTION_INTEGER && type <= ENCHUFE_OPTION_DURATION;
}

/* Every type once, ranges and flags as the input wants them. */
static void make_table(struct input *in, enchufe_option table[FIELDS + 1])
{
    for (unsigned i = 0; i < FIELDS; i++) {
        unsigned how = input_byte(in);
        table[i] = (enchufe_option){ .name = names[i],
                                     .type = i + 1,
                                     .flags = how & 1,
                                     .offset = i * sizeof(struct field) + 8 };
        bool ranged =
            is_number(i + 1) || i + 1 == ENCHUFE_OPTION_STRING || i + 1 == ENCHUFE_OPTION_SECRET;
        if (ranged && how & 2) {
            table[i].min = input_byte(in);
            table[i].max = table[i].min + (int64_t)input_number(in);
        }
        if (i + 1 == ENCHUFE_OPTION_ENUM)
            table[i].choices = choices;
        else if (is_number(i + 1) && how & 4)
            table[i].choices = words;
    }
    table[FIELDS] = (enchufe_option){ .name = NULL };
}

/* Lines of `KEY VALUE`, where a digit stands for a key of the table. */
static size_t make_settings(char *text, struct setting *settings, size_t room)
{
    static const struct place place = { .file = "conf/e.ini", .line = 7, .section = "echo" };
    static char secret[4096];
    size_t count = 0;

    for (char *line; count < room && (line = strsep(&text, "\n")) != NULL;) {
        char *key = strsep(&line, " ");
        struct setting *setting = &settings[count++];
        if (key[0] >= '0' && key[0] <= '9' && key[1] == '\0')
            key = (char *)names[key[0] - '0'];
        *setting =
            (struct setting){ .key = key, .value = line != NULL ? line : "", .place = place };
        setting->place.key = key;
        if (strcmp(key, names[ENCHUFE_OPTION_SECRET - 1]) == 0) {
            snprintf(secret, sizeof secret, SECRET "%s", setting->value);
            setting->value = secret;
        }
    }
    return count;
}

static bool in_range(const enchufe_option *option, int64_t number)
{
    bool word = option->choices != NULL && (number == 0 || number == 1);

    return (option->min == 0 && option->max == 0) || word ||
           (number >= option->min && number <= option->max);
}

static void check_field(const enchufe_option *option, const struct field *field)
{
    static const enchufe_list no_list;

    switch (option->type) {
    case ENCHUFE_OPTION_STRING:
    case ENCHUFE_OPTION_SECRET:
        CHECK(field->text == NULL || in_range(option, (int64_t)strlen(field->text)));
        break;
    case ENCHUFE_OPTION_INTEGER:
    case ENCHUFE_OPTION_SIZE:
    case ENCHUFE_OPTION_DURATION:
        CHECK(field->number == 0 || in_range(option, field->number));
        CHECK(field->number >= 0 || option->type == ENCHUFE_OPTION_INTEGER);
        break;
    case ENCHUFE_OPTION_ENUM:
        CHECK(field->choice >= 0 && field->choice < 3);
        break;
    case ENCHUFE_OPTION_ENDPOINT:
        CHECK(field->endpoint.kind <= ENCHUFE_UNIX);
        CHECK((field->endpoint.kind == 0) == (field->endpoint.text == NULL));
        CHECK((field->endpoint.kind == ENCHUFE_UNIX) == (field->endpoint.path != NULL));
        break;
    case ENCHUFE_OPTION_PATH:
        CHECK(field->text == NULL || *field->text == '/');
        break;
    case ENCHUFE_OPTION_LIST:
        CHECK(field->list.items != NULL || memcmp(&field->list, &no_list, sizeof no_list) == 0);
        for (size_t i = 0; i < field->list.count; i++)
            CHECK(field->list.items[i][strcspn(field->list.items[i], " \t")] == '\0');
        break;
    }
}

static void check_report(const struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        CHECK(report->lines[i].line == 7 && report->lines[i].file != NULL);
        CHECK(strchr(report->lines[i].text, '\n') == NULL);
        CHECK(strstr(report->lines[i].text, SECRET) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct place section = { .file = "conf/e.ini", .line = 7, .section = "echo" };
    struct input in = { .data = data, .len = size };
    enchufe_option table[FIELDS + 1];
    struct field fields[FIELDS];
    struct setting settings[32];
    struct report report = { .lines = NULL };
    struct options options;
    char error[256];

    if (memmem(data, size, SECRET, strlen(SECRET)) != NULL)
        return 0; /* where it is no secret's value it may be shown */
    make_table(&in, table);
    CHECK(options_check_table(table, sizeof fields, error, sizeof error) == NULL);
    char *text = input_text(&in);
    size_t count = make_settings(text, settings, 32);
    memset(fields, 0, sizeof fields);
    for (unsigned i = 0; i < FIELDS; i++) {
        memset(fields[i].before, CANARY, 8);
        memset(fields[i].after, CANARY, 8);
    }
    int status =
        options_parse(&options, table, fields, settings, count, &section, also_known, &report);
    CHECK((status != 0) == (report.count != 0));
    check_report(&report);
    for (unsigned i = 0; i < FIELDS; i++) {
        for (unsigned n = 0; n < 8; n++)
            CHECK(fields[i].before[n] == CANARY && fields[i].after[n] == CANARY);
        check_field(&table[i], &fields[i]);
    }
    options_free(&options);
    report_free(&report);
    free(text);
    return 0;
}
