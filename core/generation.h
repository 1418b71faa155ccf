/* A generation: what one reading of the configuration comes to. Everything that can be found wrong is
 * found while it is loaded, before anything of it is applied. */
#ifndef GENERATION_H
#define GENERATION_H

#include "config.h"
#include "cpus.h"
#include "plugin_file.h"
#include "privileges.h"
#include "sockets.h"
#include "stats.h"

/* The services that share a worker. */
struct group {
    size_t *services; /* indexes in the configuration */
    size_t service_count;
    size_t loops;
};

struct generation {
    unsigned number; /* 1 is the first */
    struct config *config;
    struct config_shadows shadows; /* what the probe found */
    size_t shadows_used;           /* so many of them were known as the configuration was read */
    const char *plugin_dir;        /* where plugins that are given by name lie; borrowed */
    struct plugin_file *seals;     /* each distinct plugin once */
    size_t seal_count;
    struct plugin_file **files; /* of each service, one of seals; NULL where it names none */
    size_t *loops;              /* of each service */
    struct cpus cpus;
    bool pinned;          /* each loop to one of them */
    struct group *groups; /* `main` first, if it has any service */
    size_t group_count;
    size_t tasks; /* threads of all their workers */
    struct identity identity;
    struct sockets sockets;       /* empty until generation_bind() */
    struct stats_table *counters; /* NULL until then */
};

/* Reads the configuration and copies the plugins; runs nothing of them. plugin_dir (may be NULL) outranks
 * the file's. Everything wrong goes to report, and the rest is checked all the same. For a
 * single-threaded process. Returns 0, or -EINVAL where it reported; generation_free() is due in both
 * cases. */
int generation_read(struct generation *generation, const char *file, const char *plugin_dir,
                    struct report *report);

/* To be asked after a probe. Where it found keys that plugins shadow, which nobody knew before, reads all of it
 * once more with them, as generation_read() does and in place of what it was; the report begins anew.
 * Returns true then: it has to be probed again. Ends, because each time there is one more of few. */
bool generation_read_again(struct generation *generation, const char *file, const char *plugin_dir,
                           struct report *report);

/* Tells in notes which of the server's keys cannot be said where. */
void generation_note_shadows(const struct generation *generation, struct report *notes);

/* Finds the sockets, taking over what there is before it, and makes the counters. Also for a generation
 * with errors, so that those of its endpoints are told too. Returns 0 or -EINVAL. */
int generation_bind(struct generation *generation, const struct sockets_before *before,
                    struct report *report);

/* The sockets that clashed with what was to be gone by now (sockets_bind_late). Returns 0 or -EINVAL. */
int generation_bind_late(struct generation *generation, struct report *report);

/* Whether its log can be opened, where nothing else is wrong: only to tell in time, nothing goes there yet. */
void generation_check_log(const struct generation *generation, struct report *report);

/* The path of a service's plugin, whether it is there or not: a string to free; NULL where the service names
 * none, or without memory. */
char *generation_plugin_path(const struct generation *generation, size_t service);

/* The lines `listening` for each endpoint, with its real port, and `ready`; and at the end the line
 * `served` for each service. */
void generation_log_ready(const struct generation *generation);
void generation_log_served(const struct generation *generation);

/* Closes and frees everything. */
void generation_free(struct generation *generation);

#endif
