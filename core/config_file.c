/* The sections of all files as they were written. Finds what is wrong with their order: keys
 * without a section, sections that come twice, values that go on where they may not. */
#include "config_file.h"
#include "config.h"
#include "config_keys.h"
#include "config_sources.h"
#include "inifile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One file being read. */
struct reading {
    struct sections *sections;
    struct section
        *section;    /* the last header's; NULL before the first, and where it is not wanted */
    const char *key; /* the last one, which an indented line continues */
    const char *file;
    bool included;
    bool seen_header;
    struct config_memory *memory;
    struct report *report;
};

bool config_is_reserved(const char *section)
{
    return strcmp(section, "server") == 0 || strcmp(section, "defaults") == 0;
}

struct section *config_file_find(const struct sections *sections, const char *name)
{
    for (size_t i = 0; i < sections->count; i++)
        if (strcmp(sections->items[i].name, name) == 0)
            return &sections->items[i];
    return NULL;
}

/* A second [server] goes on with the first one's keys, so that a key in both is seen. */
static struct section *open_section(struct reading *reading, const struct place *place,
                                    struct section *first)
{
    struct sections *sections = reading->sections;
    bool reserved = config_is_reserved(place->section);

    if (first && reserved)
        return first;
    struct section *items = config_grow(sections->items, sections->count, sizeof *items);
    if (!items) {
        reading->memory->failed = true;
        return NULL;
    }
    sections->items = items;
    sections->services += !reserved;
    items[sections->count] =
        (struct section){ .name = place->section, .place = *place, .repeated = first != NULL };
    return &items[sections->count++];
}

static void on_section(void *user, const char *name, unsigned line)
{
    struct reading *reading = user;
    struct place place = { .file = reading->file, .line = line };
    struct section *first = config_file_find(reading->sections, name);

    reading->section = NULL;
    reading->seen_header = true;
    place.section = config_keep_text(reading->memory, name);
    if (reading->included && config_is_reserved(name)) {
        report_add(reading->report, &place,
                   "belongs into the main file; an included one holds services");
        return;
    }
    if (first && first->place.file == place.file)
        report_add(reading->report, &place, "is there already, in line %u", first->place.line);
    else if (first)
        report_add(reading->report, &place, "is there already, in %s:%u", first->place.file,
                   first->place.line);
    reading->section = open_section(reading, &place, first);
}

static void add_setting(struct reading *reading, const char *value, const struct place *place)
{
    struct section *section = reading->section;
    struct setting *settings = config_grow(section->settings, section->count, sizeof *settings);

    if (!settings) {
        reading->memory->failed = true;
        return;
    }
    section->settings = settings;
    settings[section->count++] = (struct setting){
        .key = place->key, .value = config_keep_text(reading->memory, value), .place = *place
    };
}

static struct place place_of(const struct reading *reading, unsigned line)
{
    return (struct place){
        .file = reading->file,
        .line = line,
        .section = reading->section ? reading->section->name : NULL,
        .key = reading->key,
    };
}

static void on_key(void *user, const char *key, const char *value, unsigned line)
{
    struct reading *reading = user;

    reading->key = config_keep_text(reading->memory, key);
    struct place place = place_of(reading, line);
    if (!reading->seen_header)
        report_add(reading->report, &place, "stands before any section; begin one with [NAME]");
    if (!reading->section)
        return;
    add_setting(reading, value, &place);
}

/* A plugin's option may be a list; what its type is, options.c knows. */
static bool takes_more(const struct reading *reading, const char *key)
{
    const struct section *section = reading->section;

    if (config_shadows_has(reading->sections->shadows, section->name, key))
        return true;
    if (config_sources_is_list(key))
        return strcmp(section->name, "server") != 0;
    if (config_is_reserved(section->name))
        return false;
    if (strcmp(key, "listen") == 0)
        return true;
    for (const char *const *known = config_service_keys(); *known; known++)
        if (strcmp(key, *known) == 0)
            return false;
    return true;
}

static void on_more(void *user, const char *value, unsigned line)
{
    struct reading *reading = user;
    struct place place = place_of(reading, line);

    if (!reading->section)
        return;
    if (takes_more(reading, reading->key))
        add_setting(reading, value, &place);
    else
        report_add(
            reading->report, &place,
            "takes one value, and an indented line continues it; begin the line at its left edge");
}

static const struct inifile_events events = {
    .section = on_section,
    .key = on_key,
    .more = on_more,
};

int config_file_read(struct sections *sections, const char *file, bool included,
                     struct config_memory *memory, struct report *report)
{
    struct reading reading = { .sections = sections,
                               .file = config_keep_text(memory, file),
                               .included = included,
                               .memory = memory,
                               .report = report };
    int error = inifile_read(reading.file, &events, &reading, report);

    if (error == -ENOMEM)
        memory->failed = true;
    return error;
}

void config_file_free(struct sections *sections)
{
    for (size_t i = 0; i < sections->count; i++)
        free(sections->items[i].settings);
    free(sections->items);
    *sections = (struct sections){ 0 };
}
