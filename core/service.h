/* A service in a worker: its plugin, its settings and its state, and what it has on each loop. These are
 * the structs behind the opaque handles enchufe_service and enchufe_loop. */
#ifndef SERVICE_H
#define SERVICE_H

#include "config.h"
#include "guard.h"
#include "loop.h"
#include "plugin.h"
#include "refusals.h"
#include "share.h"
#include "stats.h"
#include "timeouts.h"
#include "trace.h"

/* The service on one loop: enchufe_loop of the contract. One thread uses it. */
struct enchufe_loop {
    struct loop *loop;
    struct enchufe_service *service;
    struct stats *stats;
    struct share share;
    void *state;                              /* the plugin's loop_size bytes */
    struct enchufe_conn *conns;               /* every connection, newest first */
    size_t conn_count;                        /* of this service and loop */
    struct datagram_socket *udp;              /* its datagram sockets, newest first */
    void (*emptied)(struct enchufe_loop *at); /* if set: called when the last connection ended */
    void *owner;                              /* of emptied */
};

struct enchufe_service {
    const char *name;
    uint32_t index; /* its row in the counters and in traces */
    const struct service_config *config;
    struct plugin plugin;
    struct options options;
    void *settings;
    void *state; /* the plugin's service_size bytes */
    struct stats_table *counters;
    bool configured;                 /* the plugin is open and its options were parsed */
    _Atomic unsigned refusals_told;  /* bits, by enum refusal */
    struct report *report;           /* only during check */
    struct timeouts timeouts;        /* of the section, the plugin or the server */
    bool awaits;                     /* one of first_byte and message is set */
    size_t max_input;                /* bytes of input kept */
    size_t max_output;               /* bytes of output queued */
    size_t max_message;              /* of the framing */
    int64_t server_max_connections;  /* of the whole server; 0: no limit */
    uint32_t max_reply_ratio;        /* ENCHUFE_RATIO_UNLIMITED: no limit */
    struct guard streams, datagrams; /* set up by service_guard() */
    struct refusals refusals;
};

/* Opens the plugin of a service and parses its options. Everything wrong goes to report. Returns 0 or a
 * negative errno; service_free() is due in both cases. */
int service_init(struct enchufe_service *service, const struct service_config *config,
                 uint32_t index, const struct plugin_file *file, bool from_path,
                 struct report *report);

/* Whether the plugin can serve the section's endpoints and, where they could be parsed, likes its options
 * (check). Errors go to report. */
void service_check(struct enchufe_service *service, struct report *report);

/* Sets up who may come in, in a worker, where config, counters and server_max_connections are set. Returns 0 or
 * a negative errno. */
int service_guard(struct enchufe_service *service);

/* The worker's start and stop of a service. service_start returns 0 or a negative errno. */
int service_start(struct enchufe_service *service);
void service_stop(struct enchufe_service *service);
void service_free(struct enchufe_service *service);

/* What a service has on a loop: fills *at, and calls loop_start and loop_stop. On the loop's thread. */
int service_loop_start(struct enchufe_service *service, struct enchufe_loop *at, struct loop *loop,
                       struct stats *stats);
void service_loop_stop(struct enchufe_loop *at);

/* Calls a callback that the plugin has, noted in the trace:
 *   service_call(service, on_open, conn);
 * For one that returns something, wrap the call itself in trace_enter and trace_leave. */
#define service_call(service, callback, ...)                                                       \
    do {                                                                                           \
        if ((service)->plugin.v.callback != NULL) {                                                \
            trace_enter((service)->index, CALLBACK_##callback);                                    \
            (service)->plugin.v.callback(__VA_ARGS__);                                             \
            trace_leave();                                                                         \
        }                                                                                          \
    } while (0)

#endif
