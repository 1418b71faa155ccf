/* The configuration: INI text to structs. Parsed with inih; strict; every error of a file is reported.
 * Plugin options stay text here (`settings`), since only a worker or probe may look into a plugin. */
#ifndef CONFIG_H
#define CONFIG_H

#include "cidr.h"
#include "config_shadows.h"
#include "endpoint.h"
#include "options.h"
#include "report.h"
#include "sources.h"
#include "timeouts.h"

/* Whether each loop is bound to a processor. */
enum pin { PIN_AUTO, PIN_YES, PIN_NO };

/* What keeps a plugin to what its section names. */
enum sandbox { SANDBOX_YES, SANDBOX_STRICT, SANDBOX_NO };

/* [server]. */
struct server_config {
    const char *plugin_dir; /* NULL: not said */
    const char *include;    /* a glob of drop-in files */
    int64_t threads;        /* 0: auto, one loop for each processor that the process may use */
    int pin;                /* enum pin */
    const char *user;       /* NULL: stay who we are */
    const char *group;      /* NULL: the user's */
    const char *log;        /* an absolute path, or `syslog`; NULL: standard error */
    int log_level;          /* enum enchufe_log_level */
    int log_format;         /* enum log_format of log.h */
    bool watch;             /* reload by itself when files change */
    const char *control;    /* control socket path; NULL: none */
    uint64_t start_timeout; /* 0: no limit */
    uint64_t drain_timeout;
    uint64_t stall_limit;    /* 0: never */
    int64_t max_connections; /* 0: no limit */
    bool core_dumps;
    bool require_sandbox;
    struct place user_place, group_place, log_place, control_place,
        sandbox_place; /* where they were said */
};

#define RATIO_OF_PLUGIN (-1)

/* Prefixes as they were said. */
struct cidr_entries {
    struct cidr *items; /* NULL: the key was not said */
    size_t count;
};

/* Who may connect to a Unix socket: the rights of its file. */
struct socket_access {
    int mode; /* -1: not said */
    uint32_t gid;
    struct place group_place; /* line 0: no group was said */
};

/* What a section of its own or [defaults] can say of every service. A service starts with a copy of the
 * defaults; what is pointed to is the configuration's. */
struct service_limits {
    bool isolate;
    int64_t threads;         /* 0: as many loops as its worker has */
    int64_t max_connections; /* 0: no limit */
    struct timeouts timeouts;
    uint64_t max_input; /* 0: not said */
    uint64_t max_output;
    int64_t backlog;
    bool trust_source_ports;
    int64_t max_reply_ratio;            /* 0: no limit; RATIO_OF_PLUGIN: not said */
    int64_t max_connections_per_source; /* 0: no limit */
    struct rate rate_per_source;        /* count 0: no limit */
    struct source_prefix source_prefix; /* 0: not said, which differs for streams and datagrams */
    struct cidr_entries allow, deny;
    const struct cidr_list *access; /* of both; NULL: everybody */
    struct socket_access socket;
    int sandbox;           /* enum sandbox */
    uint64_t max_memory;   /* 0: no limit */
    int64_t max_files;     /* 0: as many as the server may have */
    int64_t max_processes; /* 0: as many as its user may have */
};

/* One endpoint of a service (`listen`, or `connect`), and where it was said. */
struct listen_config {
    struct endpoint endpoint;
    struct place place;
};

/* Absolute paths, and where each was said. */
struct path_list {
    struct named_path {
        const char *path;
        struct place place;
    } * items;
    size_t count;
};

struct service_config {
    const char *name;
    struct place place; /* of the section's header */
    const char *plugin; /* as said: a name, or a path made absolute; NULL after an error */
    bool plugin_is_path;
    struct place plugin_place;
    struct listen_config *listens;
    size_t listen_count;
    struct listen_config *connects; /* where it may connect to */
    size_t connect_count;
    struct path_list read_paths, write_paths;
    struct service_limits limits;
    struct setting *settings; /* every key that is not the server's: the plugin's */
    size_t setting_count;
};

struct config {
    char *file;
    struct server_config server;
    struct service_config *services;
    size_t service_count;
    size_t endpoint_count;        /* of all services */
    struct config_memory *memory; /* what the strings live in */
};

/* Reads the file and what it includes. shadows (may be NULL) are the keys that belong to plugins. Never
 * returns NULL except without memory; a configuration with errors in report holds whatever could be read, so
 * that the rest can be checked in the same go. */
struct config *config_read(const char *file, const struct config_shadows *shadows,
                           struct report *report);
void config_free(struct config *config);

/* How many loops a service uses in a worker with that many. */
size_t config_loops(const struct service_config *service, size_t loops);

#endif
