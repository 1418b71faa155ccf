/* Who may come, and how often: text to lists of prefixes, rates, prefixes of sources, and the rights of Unix
 * sockets. */
#include "config_sources.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"

const char *const config_source_keys[] = { "rate_per_source", "source_prefix", "allow", "deny",
                                           "socket_mode",     "socket_group",  NULL };

bool config_sources_knows(const char *key)
{
    for (size_t i = 0; config_source_keys[i] != NULL; i++)
        if (strcmp(config_source_keys[i], key) == 0)
            return true;
    return false;
}

bool config_sources_is_list(const char *key)
{
    return strcmp(key, "allow") == 0 || strcmp(key, "deny") == 0;
}

/* What reading a section needs. */
struct reader {
    const struct setting *settings;
    size_t count;
    struct config_memory *memory;
    struct report *report;
};

/* The one setting with that key, or NULL. */
static const struct setting *find_one(const struct reader *reader, const char *key)
{
    const struct setting *found = NULL;

    for (size_t i = 0; i < reader->count; i++) {
        const struct setting *setting = &reader->settings[i];

        if (strcmp(setting->key, key) != 0)
            continue;
        if (found != NULL)
            report_add(reader->report, &setting->place,
                       "said twice, first in line %u; it takes one value", found->place.line);
        else
            found = setting;
    }
    return found;
}

/* ---- rate_per_source, source_prefix */

static void read_rate(const struct reader *reader, struct rate *rate)
{
    const struct setting *setting = find_one(reader, "rate_per_source");
    char error[RATE_ERROR];

    if (setting == NULL)
        return;
    if (strcmp(setting->value, "unlimited") == 0)
        *rate = (struct rate){ .count = 0 };
    else if (rate_parse(setting->value, rate, error) != 0)
        report_add(reader->report, &setting->place, "%s; or unlimited", error);
}

/* `/BITS` at *text, which moves behind it and the blanks that follow. Returns 0 where it is none of 1 to
 * most. */
static uint8_t read_bits(const char **text, unsigned most)
{
    if (**text != '/')
        return 0;
    const char *digits = *text + 1;
    size_t len = strspn(digits, "0123456789");
    unsigned long bits = strtoul(digits, NULL, 10);
    if (len == 0 || len > 3 || *digits == '0' || bits > most ||
        (digits[len] != '\0' && !strchr(BLANKS, digits[len])))
        return 0;
    *text = digits + len + strspn(digits + len, BLANKS);
    return (uint8_t)bits;
}

static void read_prefix(const struct reader *reader, struct source_prefix *prefix)
{
    const struct setting *setting = find_one(reader, "source_prefix");

    if (setting == NULL)
        return;
    const char *at = setting->value;
    struct source_prefix said = { .ipv4 = read_bits(&at, 32) };
    if (said.ipv4 != 0)
        said.ipv6 = read_bits(&at, 128);
    if (said.ipv6 == 0 || *at != '\0')
        report_add(
            reader->report, &setting->place,
            "\"%s\" is not two prefixes; write that of IPv4 (/1 to /32) and that of IPv6 (/1 "
            "to /128), such as /32 /64",
            setting->value);
    else
        *prefix = said;
}

/* ---- allow, deny */

/* A list that grows; at most two prefixes come of a word. */
static void add_word(const struct reader *reader, const struct setting *setting, char *word,
                     struct cidr_entries *list)
{
    static const char *const all[] = { "0.0.0.0/0", "::/0" };
    const char *const one[] = { word };
    bool every = strcmp(word, "all") == 0;
    char error[CIDR_ERROR];

    for (size_t i = 0; i < (every ? 2 : 1); i++)
        if (cidr_parse((every ? all : one)[i], &list->items[list->count], error) == 0)
            list->count++;
        else
            report_add(reader->report, &setting->place, "%s", error);
}

static size_t count_blanks(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += strchr(BLANKS, *text) != NULL;
    return count;
}

/* Room for all prefixes that the settings of that key can make: NULL where it is not said. */
static struct cidr *make_room(const struct reader *reader, const char *key)
{
    size_t words = 0;

    for (size_t i = 0; i < reader->count; i++)
        if (strcmp(reader->settings[i].key, key) == 0)
            words += count_blanks(reader->settings[i].value) + 1;
    return words == 0 ? NULL : config_keep(reader->memory, calloc(words, 2 * sizeof(struct cidr)));
}

static void add_setting(const struct reader *reader, const struct setting *setting,
                        struct cidr_entries *list)
{
    char *words = strdup(setting->value), *rest = NULL;
    char *word = words != NULL ? strtok_r(words, BLANKS, &rest) : NULL;

    if (words == NULL)
        reader->memory->failed = true;
    else if (word == NULL)
        report_add(reader->report, &setting->place,
                   "is empty; write addresses such as 192.0.2.1 or 2001:db8::/32, or all");
    else if (strcmp(setting->value, "none") == 0 && strcmp(setting->key, "deny") == 0)
        word = NULL; /* only lifts what [defaults] said */
    for (; word != NULL; word = strtok_r(NULL, BLANKS, &rest))
        add_word(reader, setting, word, list);
    free(words);
}

/* What the section says takes the place of what [defaults] said. */
static void read_list(const struct reader *reader, const char *key, struct cidr_entries *out)
{
    struct cidr_entries list = { .items = make_room(reader, key) };

    if (list.items == NULL)
        return;
    for (size_t i = 0; i < reader->count; i++)
        if (strcmp(reader->settings[i].key, key) == 0)
            add_setting(reader, &reader->settings[i], &list);
    *out = list;
}

/* ---- socket_mode, socket_group */

static void read_mode(const struct reader *reader, struct socket_access *socket)
{
    const struct setting *setting = find_one(reader, "socket_mode");

    if (setting == NULL)
        return;
    size_t len = strlen(setting->value);
    if (len < 3 || len > 4 || strspn(setting->value, "01234567") != len ||
        (len == 4 && setting->value[0] != '0'))
        report_add(reader->report, &setting->place,
                   "\"%s\" is no mode of a file; write three octal digits, such as 0660",
                   setting->value);
    else
        socket->mode = (int)strtol(setting->value, NULL, 8);
}

static void read_group(const struct reader *reader, struct socket_access *socket)
{
    const struct setting *setting = find_one(reader, "socket_group");
    struct name name;

    if (setting == NULL)
        return;
    names_look_up(NAME_GROUP, setting->value, &name);
    if (name.silent)
        report_add(reader->report, &setting->place, "cannot look up group \"%s\": %s",
                   setting->value, name.wrong);
    else if (!name.found)
        report_add(reader->report, &setting->place,
                   "unknown group \"%s\"; `getent group` lists those there are", setting->value);
    socket->gid = name.gid;
    socket->group_place = setting->place;
}

void config_sources_check(const struct service_config *service, const struct setting *settings,
                          size_t count, struct report *report)
{
    size_t others = 0;

    while (others < service->listen_count && service->listens[others].endpoint.kind != ENCHUFE_UNIX)
        others++;
    if (others == 0 || others < service->listen_count)
        return;
    for (size_t i = 0; i < count; i++)
        if (strncmp(settings[i].key, "socket_", 7) == 0 && config_sources_knows(settings[i].key))
            report_add(report, &settings[i].place,
                       "is for unix:// endpoints, and this service has none; remove the key");
}

void config_sources_read(struct service_limits *limits, const struct setting *settings,
                         size_t count, struct config_memory *memory, struct report *report)
{
    const struct reader reader = {
        .settings = settings, .count = count, .memory = memory, .report = report
    };

    read_rate(&reader, &limits->rate_per_source);
    read_prefix(&reader, &limits->source_prefix);
    read_list(&reader, "allow", &limits->allow);
    read_list(&reader, "deny", &limits->deny);
    read_mode(&reader, &limits->socket);
    read_group(&reader, &limits->socket);
    limits->access = NULL;
    if (limits->allow.count + limits->deny.count != 0)
        limits->access = config_keep(memory, cidr_compile(limits->allow.items, limits->allow.count,
                                                          limits->deny.items, limits->deny.count));
}
