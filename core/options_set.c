/* One value of an option: from text, by the option's type, into its field. */
#include "options_set.h"
#include "endpoint.h"
#include "value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"

/* What a field of each type needs. */
#define FIELD(c_type)                                                                              \
    {                                                                                              \
        .size = sizeof(c_type), .align = _Alignof(c_type)                                          \
    }
static const struct option_field fields[] = {
    [ENCHUFE_OPTION_STRING] = FIELD(char *),
    [ENCHUFE_OPTION_BOOL] = FIELD(bool),
    [ENCHUFE_OPTION_INTEGER] = FIELD(int64_t),
    [ENCHUFE_OPTION_SIZE] = FIELD(uint64_t),
    [ENCHUFE_OPTION_DURATION] = FIELD(uint64_t),
    [ENCHUFE_OPTION_ENUM] = FIELD(int),
    [ENCHUFE_OPTION_ENDPOINT] = FIELD(enchufe_endpoint),
    [ENCHUFE_OPTION_PATH] = FIELD(char *),
    [ENCHUFE_OPTION_SECRET] = FIELD(char *),
    [ENCHUFE_OPTION_LIST] = FIELD(enchufe_list),
};

const struct option_field *options_field(uint32_t type)
{
    return options_type_name(type) ? &fields[type] : NULL;
}

static int refuse(const struct option_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(const struct option_job *job, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(job->error, OPTIONS_ERROR, format, args);
    va_end(args);
    return -EINVAL;
}

/* Makes memory the options' own, so that options_free() ends it; on failure it is freed here. */
static int own(struct options *options, void *memory)
{
    size_t count = options->owned_count;
    void **owned = options->owned;

    if (memory && (count & (count - 1)) == 0)
        owned = reallocarray(options->owned, count ? count * 2 : 1, sizeof *owned);
    if (!memory || !owned) {
        free(memory);
        return -ENOMEM;
    }
    owned[count] = memory;
    options->owned = owned;
    options->owned_count = count + 1;
    return 0;
}

static int set_text(const struct option_job *job, char *copy, void *field)
{
    int error = own(job->options, copy);

    if (!error)
        *(const char **)field = copy;
    return error;
}

static bool in_range(const enchufe_option *option, int64_t number)
{
    return (option->min == 0 && option->max == 0) ||
           (number >= option->min && number <= option->max);
}

/* Never repeats the text: it may be a secret. */
static int set_string(const struct option_job *job, const char *text, void *field)
{
    char range[OPTIONS_RANGE];
    size_t len = strlen(text);

    if (!in_range(job->option, (int64_t)len))
        return refuse(job, "%s; allowed is %s", len ? "has the wrong length" : "is empty",
                      options_range(job->option, range));
    return set_text(job, strdup(text), field);
}

static int set_path(const struct option_job *job, const char *text, void *field)
{
    const char *file = job->settings->place.file;

    if (!*text)
        return refuse(job, "is empty; write a path");
    return set_text(job, value_path(file ? file : "", text), field);
}

static int find_choice(const enchufe_option *option, const char *text)
{
    for (int i = 0; option->choices && option->choices[i]; i++)
        if (strcmp(option->choices[i], text) == 0)
            return i;
    return -1;
}

static int refuse_choice(const struct option_job *job, const char *text, const char *what)
{
    const char *near = job->option->choices ? options_nearest(text, job->option->choices) : NULL;
    char range[OPTIONS_RANGE];

    options_range(job->option, range);
    if (near)
        return refuse(job, "\"%s\" is %s, did you mean \"%s\"? Allowed is %s", text, what, near,
                      range);
    return refuse(job, "\"%s\" is %s; allowed is %s", text, what, range);
}

static int set_enum(const struct option_job *job, const char *text, void *field)
{
    int index = find_choice(job->option, text);

    if (index < 0)
        return refuse_choice(job, text, "none of the words");
    *(int *)field = index;
    return 0;
}

static int set_bool(const struct option_job *job, const char *text, void *field)
{
    return value_bool(text, field) ? refuse(job, "\"%s\" is neither yes nor no", text) : 0;
}

/* How a number of each type is read, and what to say of a text that is none. */
static const struct number {
    int (*parse)(const char *text, int64_t *out);
    const char *none, *like;
} numbers[] = {
    [ENCHUFE_OPTION_INTEGER] = { .parse = value_integer,
                                 .none = "no whole number",
                                 .like = "a number such as 42, -7, 0x1f" },
    [ENCHUFE_OPTION_SIZE] = { .parse = value_size,
                              .none = "no size",
                              .like = "a size such as 512, 64k, 1m, 2g" },
    [ENCHUFE_OPTION_DURATION] = { .parse = value_duration,
                                  .none = "no duration",
                                  .like = "a duration such as 250ms, 10s, 1h30m" },
};

static int refuse_number(const struct option_job *job, const char *text, const struct number *type)
{
    bool digits = *text && strspn(text, "0123456789") == strlen(text);
    char range[OPTIONS_RANGE];

    if (digits && job->option->type == ENCHUFE_OPTION_DURATION)
        return refuse(job, "\"%s\" has no unit; add ms, s, m, h or d, such as %ss", text, text);
    if (!*options_range(job->option, range))
        return refuse(job, "\"%s\" is %s; write %s", text, type->none, type->like);
    /* The range of an integer says how one is written; that of the others has no unit, or no number. */
    if (job->option->type == ENCHUFE_OPTION_INTEGER ||
        (job->option->choices && options_nearest(text, job->option->choices)))
        return refuse_choice(job, text, type->none);
    return refuse(job, "\"%s\" is %s; write %s; allowed is %s", text, type->none, type->like,
                  range);
}

/* SIZE and DURATION are unsigned fields, but no reader returns less than 0 for them. */
static int set_number(const struct option_job *job, const char *text, void *field)
{
    const struct number *type = &numbers[job->option->type];
    int64_t number = find_choice(job->option, text);
    char range[OPTIONS_RANGE];

    if (number < 0) {
        int error = type->parse(text, &number);

        if (error == -EINVAL)
            return refuse_number(job, text, type);
        if (error && !*options_range(job->option, range))
            return refuse(job, "\"%s\" is too large", text);
        if (error || !in_range(job->option, number))
            return refuse_choice(job, text, "out of range");
    }
    memcpy(field, &number, sizeof number);
    return 0;
}

/* A host name may have several addresses, of which the first is taken; ports it must have one. */
static int set_endpoint(const struct option_job *job, const char *text, void *field)
{
    const char *file = job->settings->place.file;
    struct endpoint_list list = { 0 };
    char *base = value_path(file ? file : "", NULL);
    enchufe_endpoint value = { 0 };
    int error = base ? endpoint_parse(text, base, &list, job->error) : -ENOMEM;

    if (error)
        goto out;
    for (size_t i = 1; i < list.count; i++) {
        if (list.items[i].address.port != list.items[0].address.port) {
            error = refuse(job, "\"%s\" is a range; one port is wanted", text);
            goto out;
        }
    }
    value.kind = (uint32_t)list.items[0].kind;
    value.address = list.items[0].address;
    error = set_text(job, strdup(text), &value.text);
    if (!error && value.kind == ENCHUFE_UNIX)
        error = set_text(job, strdup(list.items[0].path), &value.path);
    if (!error)
        memcpy(field, &value, sizeof value);
out:
    endpoint_list_free(&list);
    free(base);
    return error;
}

static bool same_key(const struct setting *a, const struct setting *b)
{
    return strcmp(a->key, b->key) == 0;
}

/* Adds copies of the words to list, or only counts them where it has no items yet. */
static int add_words(struct options *options, const char *text, const char **items, size_t *count)
{
    for (text += strspn(text, BLANKS); *text; text += strspn(text, BLANKS)) {
        size_t len = strcspn(text, BLANKS);

        if (items) {
            char *word = strndup(text, len);
            if (own(options, word))
                return -ENOMEM;
            items[*count] = word;
        }
        (*count)++;
        text += len;
    }
    return 0;
}

/* Takes the words of every setting of its key at once, so that the array is made once. */
static int set_list(const struct option_job *job, void *field)
{
    const char **items = NULL;
    size_t count = 0;

    for (int filling = 0; filling < 2; filling++) {
        if (filling) {
            items = calloc(count + 1, sizeof *items);
            if (own(job->options, items))
                return -ENOMEM;
            count = 0;
        }
        for (size_t i = 0; i < job->count; i++)
            if (same_key(&job->settings[i], &job->settings[0]) &&
                add_words(job->options, job->settings[i].value, items, &count))
                return -ENOMEM;
    }
    *(enchufe_list *)field = (enchufe_list){ .items = items, .count = count };
    return 0;
}

int options_set(const struct option_job *job)
{
    const char *text = job->settings->value;
    void *field = (char *)job->options->values + job->option->offset;

    switch (job->option->type) {
    case ENCHUFE_OPTION_STRING:
    case ENCHUFE_OPTION_SECRET:
        return set_string(job, text, field);
    case ENCHUFE_OPTION_BOOL:
        return set_bool(job, text, field);
    case ENCHUFE_OPTION_INTEGER:
    case ENCHUFE_OPTION_SIZE:
    case ENCHUFE_OPTION_DURATION:
        return set_number(job, text, field);
    case ENCHUFE_OPTION_ENUM:
        return set_enum(job, text, field);
    case ENCHUFE_OPTION_ENDPOINT:
        return set_endpoint(job, text, field);
    case ENCHUFE_OPTION_PATH:
        return set_path(job, text, field);
    case ENCHUFE_OPTION_LIST:
        return set_list(job, field);
    default:
        return refuse(job, "is of a type that this server does not know");
    }
}
