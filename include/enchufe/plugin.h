/* SPDX-License-Identifier: MIT
 *
 * enchufe/plugin.h - the contract between the Enchufe server and a plugin.
 *
 * A plugin is a shared object that defines one object with ENCHUFE_PLUGIN() and includes nothing
 * of the server but this header (and enchufe/wire.h if it likes). The server opens sockets, accepts,
 * reads, frames, queues, times out, counts and logs; the plugin speaks its protocol.
 *
 * Promises to a plugin
 *   - What compiles against 1.0 loads in every 1.x: structs and enumerations only grow at their end, and an
 *     option stays the plugin's when a later server gets a key of that name.
 *   - A connection lives on one loop (one thread). Its callbacks are never concurrent and never
 *     nested, and none comes after on_close.
 *   - Nothing that a plugin writes blocks, and after a close every call is harmless.
 *   - Nothing arrives in bigger parts than the plugin's framing, or the section's max_input, allows.
 *
 * What a plugin promises
 *   - Its callbacks return soon; long work goes to a thread of its own, which answers with
 *     enchufe_post().
 *   - It keeps no pointer to a connection beyond on_close. An enchufe_ref is for that.
 *   - No C++ exception leaves a callback.
 *
 * Threads: unless a declaration says otherwise, a function may be called only on the loop thread
 * that runs the callback one is in, and a connection may be used only on its own loop.
 *
 * Units: times are milliseconds, lengths are bytes. Functions that can fail return 0 or a negative
 * errno value.
 */
#ifndef ENCHUFE_PLUGIN_H
#define ENCHUFE_PLUGIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A server loads a plugin of the same major version, whichever minor is newer. */
#define ENCHUFE_ABI_MAJOR 1
#define ENCHUFE_ABI_MINOR 1

#define ENCHUFE_EXPORT __attribute__((visibility("default")))
#define ENCHUFE_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* One stream connection (TCP or Unix). Owned by the server; valid from on_open to on_close. */
typedef struct enchufe_conn enchufe_conn;

/* One section of the configuration that names this plugin. A plugin may serve several; each has
 * settings and state of its own. Valid from check or start until stop has returned. */
typedef struct enchufe_service enchufe_service;

/* One service on one loop: the place for state that needs no lock, because one thread uses it.
 * Valid from loop_start until loop_stop has returned. */
typedef struct enchufe_loop enchufe_loop;

/* A counted reference that outlives its connection; see enchufe_ref_get(). */
typedef struct enchufe_ref enchufe_ref;

/* ---------------------------------------------------------------------------------------------
 * Addresses
 */

/* A network address by value. The port is in host byte order; an IPv4 address stands in ip[0..3].
 * A peer on a Unix socket has family ENCHUFE_FAMILY_NONE. */
typedef struct enchufe_address {
    uint8_t family; /* enum enchufe_family */
    uint8_t reserved;
    uint16_t port;
    uint32_t scope; /* the interface index of a link-local IPv6 address, else 0 */
    uint8_t ip[16];
} enchufe_address;

enum enchufe_family { ENCHUFE_FAMILY_NONE = 0, ENCHUFE_FAMILY_IPV4 = 4, ENCHUFE_FAMILY_IPV6 = 6 };

/* Room for every text that enchufe_address_format() makes, with its final NUL. */
#define ENCHUFE_ADDRESS_TEXT 64

enum enchufe_endpoint_kind { ENCHUFE_TCP = 1, ENCHUFE_UDP = 2, ENCHUFE_UNIX = 3 };

/* The value of an option of type ENCHUFE_OPTION_ENDPOINT: `tcp://HOST:PORT`, `udp://HOST:PORT` or
 * `unix:///path`. A host name was resolved, to its first address, when the configuration was read.
 * The strings belong to the server and live as long as the service. */
typedef struct enchufe_endpoint {
    uint32_t kind; /* enum enchufe_endpoint_kind */
    uint32_t reserved;
    enchufe_address address; /* of TCP and UDP */
    const char *path;        /* of a Unix socket, else NULL */
    const char *text;        /* as configured */
} enchufe_endpoint;

/* Writes `127.0.0.1:8000`, `[::1]:8000` or `unix` into text, cut to size with a final NUL.
 * Returns text. Any thread. */
const char *enchufe_address_format(const enchufe_address *address, char *text, size_t size);

/* ---------------------------------------------------------------------------------------------
 * Options: the keys of a section that belong to the plugin
 */

/* clang-format off */
enum enchufe_option_type {
    /* the type                     the field at `offset`          written as */
    ENCHUFE_OPTION_STRING = 1,   /* const char *                   any text */
    ENCHUFE_OPTION_BOOL = 2,     /* bool                           yes no, true false, on off, 1 0 */
    ENCHUFE_OPTION_INTEGER = 3,  /* int64_t                        42, -7, 0x1f */
    ENCHUFE_OPTION_SIZE = 4,     /* uint64_t, bytes                512, 64k, 1m, 2g (powers of 1024) */
    ENCHUFE_OPTION_DURATION = 5, /* uint64_t, milliseconds         250ms, 10s, 1h30m, 2d */
    ENCHUFE_OPTION_ENUM = 6,     /* int, the index in `choices`    one word of `choices` */
    ENCHUFE_OPTION_ENDPOINT = 7, /* enchufe_endpoint               tcp://, udp://, unix:// */
    ENCHUFE_OPTION_PATH = 8,     /* const char *, made absolute    relative to the file that says it;
                                    what it names can be opened where the section's read_paths or
                                    write_paths name it, or a folder above it, too */
    ENCHUFE_OPTION_SECRET = 9,   /* const char *, never printed    any text */
    ENCHUFE_OPTION_LIST = 10,    /* enchufe_list                   words separated by blanks; the key
                                                                   may be repeated to add more */
};
/* clang-format on */

/* The value of an option of type ENCHUFE_OPTION_LIST. Owned by the server. */
typedef struct enchufe_list {
    const char *const *items;
    size_t count;
} enchufe_list;

enum enchufe_option_flag {
    ENCHUFE_OPTION_REQUIRED = 1u << 0, /* the section must say it; `value` is then unused */
};

/* One row of a plugin's option table. The table ends with a row whose name is NULL. */
typedef struct enchufe_option {
    const char *name;  /* lower case letters, digits, `_`; none of the keys that every service has
                          (README.md lists them) since this header's version or longer: such a plugin is
                          refused. A key that comes with a later version takes nothing away: in the sections
                          of a plugin that was built before, the name goes on to mean the option, and the
                          server's key cannot be set there */
    uint32_t type;     /* enum enchufe_option_type */
    uint32_t flags;    /* enum enchufe_option_flag */
    size_t offset;     /* offsetof() the field in the settings struct */
    const char *value; /* the default, written as in the file; NULL leaves the field zeroed */
    int64_t min, max;  /* of INTEGER, SIZE (bytes), DURATION (milliseconds) and the length of STRING
                          and SECRET; both 0: any */
    const char *const
        *choices;     /* NULL-terminated. ENUM: the words. INTEGER, SIZE and DURATION: words
                                   that stand for 0, 1, ... and need not lie in the range, such as
                                   { "never", NULL } */
    const char *help; /* one line, for people */
} enchufe_option;

/* ---------------------------------------------------------------------------------------------
 * Framing: how a stream is cut into messages
 */

enum enchufe_framing_type {
    /* A line that ends with \n or \r\n. The message is without its ending, and message[len] is a
     * NUL byte. A last line that the end of the stream cuts off is a message too. */
    ENCHUFE_FRAMING_LINE = 1,
    /* Bytes up to `delimiter`, which is not part of the message. */
    ENCHUFE_FRAMING_DELIMITER = 2,
    /* A length of `length_size` bytes, then that many bytes, which are the message. */
    ENCHUFE_FRAMING_LENGTH = 3,
    /* Always `max` bytes. */
    ENCHUFE_FRAMING_FIXED = 4,
    /* `5:hello,` (https://cr.yp.to/proto/netstrings.txt): the message is `hello`. */
    ENCHUFE_FRAMING_NETSTRING = 5,
};

typedef struct enchufe_framing {
    uint32_t type;         /* enum enchufe_framing_type */
    uint8_t length_size;   /* LENGTH: 1, 2, 4 or 8 */
    bool little_endian;    /* LENGTH: least significant byte first; otherwise network order */
    uint8_t delimiter_len; /* DELIMITER: 1 to 16 */
    uint8_t reserved;
    size_t max;            /* the longest message, 1 to 1 GiB; a longer one closes the connection
                   (ENCHUFE_CLOSED_TOO_LONG). A smaller max_input of the section lowers it. */
    const char *delimiter; /* DELIMITER */
} enchufe_framing;

/* ---------------------------------------------------------------------------------------------
 * Why a connection ended
 */

enum enchufe_reason {
    ENCHUFE_CLOSED_BY_CLIENT = 1,     /* the client ended its side, and all was flushed */
    ENCHUFE_CLOSED_BY_PLUGIN = 2,     /* enchufe_close() */
    ENCHUFE_CLOSED_ABORTED = 3,       /* enchufe_abort() */
    ENCHUFE_CLOSED_RESET = 4,         /* the client reset the connection */
    ENCHUFE_CLOSED_IDLE = 5,          /* idle_timeout passed */
    ENCHUFE_CLOSED_SLOW_READER = 6,   /* write_timeout passed, or max_output was reached */
    ENCHUFE_CLOSED_INPUT_FULL = 7,    /* max_input bytes, and the plugin consumed none of them */
    ENCHUFE_CLOSED_TOO_LONG = 8,      /* a message longer than the framing allows */
    ENCHUFE_CLOSED_BAD_FRAME = 9,     /* bytes that the framing cannot read */
    ENCHUFE_CLOSED_CUT_SHORT = 10,    /* the client ended its side in the middle of a message */
    ENCHUFE_CLOSED_NO_MEMORY = 11,    /* no memory for this connection */
    ENCHUFE_CLOSED_IO_ERROR = 12,     /* the system refused to send or receive */
    ENCHUFE_CLOSED_SHUTDOWN = 13,     /* the server ends */
    ENCHUFE_CLOSED_PLUGIN_ERROR = 14, /* the plugin broke the contract; the log says how */
    ENCHUFE_CLOSED_LIMIT = 15,        /* refused: max_connections */
    ENCHUFE_CLOSED_FIRST_BYTE = 16,   /* first_byte_timeout passed */
    ENCHUFE_CLOSED_MESSAGE = 17,      /* message_timeout passed */
    ENCHUFE_CLOSED_SESSION = 18,      /* session_timeout passed */
    ENCHUFE_CLOSED_DENIED = 19,       /* refused: allow and deny */
    ENCHUFE_CLOSED_SOURCE_LIMIT = 20, /* refused: max_connections_per_source */
    ENCHUFE_CLOSED_SOURCE_RATE = 21,  /* refused: rate_per_source */
    ENCHUFE_CLOSED_WORKER_DIED = 22,  /* the process that served it died; only counted */
};

/* Returns the name of a reason for logs, such as `closed-by-client`; `unknown` for any other
 * number. A static string. Any thread. */
const char *enchufe_reason_name(int reason);

/* ---------------------------------------------------------------------------------------------
 * Datagrams
 */

/* The way back to a sender: copy it to send again later with enchufe_send(). */
typedef struct enchufe_route {
    enchufe_address peer;  /* who sent the datagram */
    enchufe_address local; /* the address that it was sent to */
    uint32_t endpoint;     /* which endpoint of the service; opaque */
    uint32_t flags;        /* opaque */
} enchufe_route;

/* One datagram that arrived; valid only during on_datagram. */
typedef struct enchufe_datagram {
    const void *data;
    size_t len; /* 0 to 65,507 */
    enchufe_service *service;
    enchufe_loop *loop;
    enchufe_route route;
} enchufe_datagram;

/* ---------------------------------------------------------------------------------------------
 * The plugin
 */

typedef struct enchufe_plugin {
    /* Filled by ENCHUFE_PLUGIN. The sizes let a server read what an older or newer plugin has. */
    uint16_t abi_major, abi_minor;
    uint32_t size;         /* of this struct */
    uint32_t option_size;  /* of enchufe_option */
    uint32_t framing_size; /* of enchufe_framing */

    const char *name;    /* required; letters, digits, `-` and `_` */
    const char *version; /* the plugin's own, for people; may be NULL */
    const char *summary; /* one line, for people; may be NULL */

    const enchufe_option *options; /* NULL: the plugin has none */
    size_t settings_size;          /* of the struct that the options fill */
    size_t service_size; /* zeroed bytes for each service: enchufe_service_state(). Shared by all
                            loops: guard what changes after start. */
    size_t loop_size;    /* zeroed bytes for each service and loop: enchufe_loop_state() */
    size_t conn_size;    /* zeroed bytes for each connection: enchufe_conn_state() */
    const enchufe_framing *framing; /* NULL: on_data gets the bytes as they come */
    const char *const *counters;    /* NULL, or up to 16 names, NULL-terminated: enchufe_count() */
    uint64_t flags;                 /* none is defined in 1.0: 0 */

    /* Cross-checks the parsed options of a service. Also called in a disposable process, before
     * anything is opened: no side effects. It runs as the worker will, in its sandbox, and so may read
     * what the section's read_paths name. Returns 0; otherwise it has said what is wrong with
     * enchufe_option_error(). */
    int (*check)(enchufe_service *service);

    /* Once for each service and worker process, before its loops start and after they ended. Called
     * on the main thread of the worker. start returns 0, or a negative errno value: the worker does
     * not come up. stop is called only where start succeeded. */
    int (*start)(enchufe_service *service);
    void (*stop)(enchufe_service *service);

    /* Once for each service and loop, on that loop's thread, before its first and after its last
     * connection or datagram. loop_start returns 0 or a negative errno value. */
    int (*loop_start)(enchufe_service *service, enchufe_loop *loop);
    void (*loop_stop)(enchufe_service *service, enchufe_loop *loop);

    /* A connection was accepted. */
    void (*on_open)(enchufe_conn *conn);

    /* Bytes arrived. Returns how many were consumed, 0 to len. The rest is kept and comes again: at
     * once where some were consumed, together with more where none was, and after enchufe_resume() where the
     * plugin paused. What is left when the client ends its side is dropped after on_eof. */
    size_t (*on_data)(enchufe_conn *conn, const void *data, size_t len);

    /* A whole message arrived; required with `framing`, in place of on_data. data is valid until
     * the callback returns. */
    void (*on_message)(enchufe_conn *conn, const void *data, size_t len);

    /* The client will send no more (it may still read). If absent: flush and close. */
    void (*on_eof)(enchufe_conn *conn);

    /* The output queue had passed the high-water mark and fell below the low-water mark. */
    void (*on_drained)(enchufe_conn *conn);

    /* The timer that enchufe_timer_set() started ran out. */
    void (*on_timer)(enchufe_conn *conn);

    /* Work arrived through enchufe_post(); data is the plugin's now. */
    void (*on_event)(enchufe_conn *conn, uint64_t tag, void *data);

    /* The server is leaving: say goodbye and close, soon. If absent, the connection may go on until
     * drain_timeout. */
    void (*on_drain)(enchufe_conn *conn);

    /* The connection is over; exactly once for each on_open. It can be neither read nor written;
     * its state is freed when this returns. reason: enum enchufe_reason. */
    void (*on_close)(enchufe_conn *conn, int reason);

    /* A datagram arrived on a udp:// endpoint. */
    void (*on_datagram)(enchufe_service *service, const enchufe_datagram *datagram);

    /* Since 1.1. The timeouts of a service whose configuration says none, in milliseconds. 0: the
     * server's own default; ENCHUFE_NEVER: none. The section and [defaults] overrule them, and no
     * timeout fires early. Each closes the connection with the reason of its name.
     * While the plugin has paused the input, or output is above the high-water mark, the server does
     * not wait for the client's input: first_byte_timeout and message_timeout start anew after it. */
    uint64_t first_byte_timeout; /* from the accept to the client's first byte */
    uint64_t idle_timeout;       /* without a byte in either direction, whoever is waited for */
    uint64_t message_timeout;    /* from a message's first byte until on_message gets it; without a
                                    framing: while bytes are kept of which on_data takes none */
    uint64_t write_timeout;   /* without a byte that the client takes, while output waits for it */
    uint64_t session_timeout; /* from the accept to the end, whatever happens in between */

    /* Since 1.1. How many times its own size a datagram may be answered with, where the section does not say
     * max_reply_ratio; 0: 3. More than that helps to flood others, because senders can be forged. A protocol
     * whose answers are longer declares what it needs, one that proves its peers itself
     * ENCHUFE_RATIO_UNLIMITED; see enchufe_reply(). */
    uint32_t max_reply_ratio;
    uint32_t reserved;
} enchufe_plugin;

/* A timeout of a plugin that is none. */
#define ENCHUFE_NEVER UINT64_MAX

/* For max_reply_ratio: the plugin limits itself. */
#define ENCHUFE_RATIO_UNLIMITED UINT32_MAX

/* The one symbol that the server looks up. */
#define ENCHUFE_PLUGIN_SYMBOL "enchufe_plugin_entry"

#ifdef __cplusplus
#define ENCHUFE_EXTERN_C extern "C"
#else
#define ENCHUFE_EXTERN_C extern
#endif

/* Defines the plugin; once, at file scope:  ENCHUFE_PLUGIN(.name = "echo", .on_data = echo_on_data);
 * In C++ (17 or later) the fields must stand in the order of the struct. What is not named is zero, and
 * compilers that would remark on it are asked not to. */
#define ENCHUFE_PLUGIN(...)                                                                        \
    ENCHUFE_EXTERN_C ENCHUFE_EXPORT const enchufe_plugin enchufe_plugin_entry;                     \
    _Pragma("GCC diagnostic push")                                                                 \
        _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")                         \
            const enchufe_plugin enchufe_plugin_entry = { .abi_major = ENCHUFE_ABI_MAJOR,          \
                                                          .abi_minor = ENCHUFE_ABI_MINOR,          \
                                                          .size = sizeof(enchufe_plugin),          \
                                                          .option_size = sizeof(enchufe_option),   \
                                                          .framing_size = sizeof(enchufe_framing), \
                                                          __VA_ARGS__ };                           \
    _Pragma("GCC diagnostic pop") ENCHUFE_EXTERN_C const enchufe_plugin enchufe_plugin_entry

/* ---------------------------------------------------------------------------------------------
 * Services and loops
 */

/* The section's name. Any thread. */
const char *enchufe_service_name(const enchufe_service *service);

/* The settings struct that the options filled; it does not change. Any thread. */
const void *enchufe_service_settings(const enchufe_service *service);

/* The plugin's service_size bytes. Any thread. */
void *enchufe_service_state(const enchufe_service *service);

/* The plugin's loop_size bytes, and the service that a loop belongs to. */
void *enchufe_loop_state(const enchufe_loop *loop);
enchufe_service *enchufe_loop_service(const enchufe_loop *loop);

/* Says what is wrong with the value of an option (NULL: with the service as a whole), from check
 * only. The server adds file, line, section and key; the text says what would be right. */
void enchufe_option_error(enchufe_service *service, const char *option, const char *format, ...)
    ENCHUFE_PRINTF(3, 4);

/* ---------------------------------------------------------------------------------------------
 * Connections
 */

enchufe_service *enchufe_conn_service(const enchufe_conn *conn);
enchufe_loop *enchufe_conn_loop(const enchufe_conn *conn);

/* The plugin's conn_size bytes, zeroed before on_open. */
void *enchufe_conn_state(const enchufe_conn *conn);

/* The settings of the connection's service; short for enchufe_service_settings(). */
const void *enchufe_conn_settings(const enchufe_conn *conn);

/* The client's address, valid as long as the connection. */
const enchufe_address *enchufe_conn_peer(const enchufe_conn *conn);

/* Writes the address that the client connected to into *local. Returns 0 or a negative errno. */
int enchufe_conn_local(const enchufe_conn *conn, enchufe_address *local);

/* Appends a copy of the bytes to the connection's output. What is written during one batch of input
 * leaves together, right after it. Never blocks.
 * Returns 0; 1 when the bytes were taken and the queue is now above the high-water mark (a producer
 * stops here and goes on in on_drained); -ENOTCONN after a close; -ENOBUFS when the queue would pass
 * the section's max_output and -ENOMEM without memory: the connection is then closed. */
int enchufe_write(enchufe_conn *conn, const void *data, size_t len);
int enchufe_writev(enchufe_conn *conn, const struct iovec *parts, int count);

/* Bytes written and not yet taken by the system. */
size_t enchufe_queued(const enchufe_conn *conn);

/* Closes after all output was sent. No further input is delivered. */
void enchufe_close(enchufe_conn *conn);

/* Closes at once with a reset; queued output is lost. */
void enchufe_abort(enchufe_conn *conn);

/* Stops and continues the delivery of input: back-pressure towards the client. What arrived already
 * is kept. */
void enchufe_pause(enchufe_conn *conn);
void enchufe_resume(enchufe_conn *conn);

/* Calls on_timer once, no earlier than delay_ms from now (up to about 49 days). A connection has one
 * timer: setting it again moves it. */
void enchufe_timer_set(enchufe_conn *conn, uint64_t delay_ms);
void enchufe_timer_cancel(enchufe_conn *conn);

/* Milliseconds of a clock that never goes backward. Any thread. */
uint64_t enchufe_now(void);

/* ---------------------------------------------------------------------------------------------
 * Work from other threads
 */

/* Returns a reference to the connection, or NULL without memory or after a close. The caller owns
 * it and ends it with enchufe_ref_release(). */
enchufe_ref *enchufe_ref_get(enchufe_conn *conn);

/* Adds an owner: each release ends one. Returns ref. Any thread. */
enchufe_ref *enchufe_ref_share(enchufe_ref *ref);

/* Ends one ownership; NULL is allowed. Any thread. */
void enchufe_ref_release(enchufe_ref *ref);

/* Asks the connection's loop to call on_event(conn, tag, data). Any thread, also after the
 * connection ended.
 * Returns 0: exactly one of on_event and destroy(data) will run, on the loop's thread (destroy, which
 * may be NULL, where the connection ended first). -ENOTCONN when the connection or its loop has
 * ended and -ENOMEM without memory: nothing will run and the caller still owns data. */
int enchufe_post(enchufe_ref *ref, uint64_t tag, void *data, void (*destroy)(void *data));

/* ---------------------------------------------------------------------------------------------
 * Datagrams
 */

/* Answers the datagram that on_datagram got, from the address that it was sent to. The bytes are
 * copied, or sent before on_datagram's data ends; replies leave in batches.
 *
 * Some are dropped, because the sender may be forged and is somebody else then. Each is counted (`enchufe
 * status`), and the first of a kind is in the log with the key that allows it:
 *   -EACCES  The datagram came from a port below 1024 or from an endpoint of this server: two services would
 *            answer each other for ever. Or it was sent to a multicast or broadcast address, or claims to
 *            come from one. The section's trust_source_ports = yes allows all of these; replies then leave
 *            from this host's own address (RFC 1122, section 4.1.3.5).
 *   -EDQUOT  All replies to this datagram together would be more than max_reply_ratio times its size, both
 *            counted with IP and UDP headers (RFC 9000, section 8.1). A shorter one may still fit.
 * Returns 0, one of these, -EMSGSIZE over 65,507 bytes, or -EINVAL where the datagram is none of this
 * loop's. As always with datagrams, 0 promises no delivery. */
int enchufe_reply(const enchufe_datagram *datagram, const void *data, size_t len);

/* Sends a datagram along a route that was copied from an earlier one of the same service and loop.
 * What holds for replies holds here: within on_datagram it counts with the replies to that datagram, whoever
 * gets it, so that a service never sends more than max_reply_ratio times what it receives. From any other
 * callback nothing was received that would allow it: -EDQUOT. A plugin that sends on its own account has to
 * prove the address first (by something unguessable that came back from it, say) and declares
 * ENCHUFE_RATIO_UNLIMITED.
 * Returns 0, -EACCES, -EDQUOT, -EMSGSIZE, or -EINVAL where the route is none of this loop's. */
int enchufe_send(enchufe_loop *loop, const enchufe_route *route, const void *data, size_t len);

/* ---------------------------------------------------------------------------------------------
 * Log and counters
 */

enum enchufe_log_level {
    ENCHUFE_LOG_ERROR = 0,
    ENCHUFE_LOG_WARNING = 1,
    ENCHUFE_LOG_INFO = 2,
    ENCHUFE_LOG_DEBUG = 3,
};

/* Whether a level is logged at all: ask before work that only the log needs. Any thread. */
bool enchufe_log_enabled(int level);

/* Writes one line with the service's name, and of enchufe_conn_log also the peer's address. Control
 * characters are escaped; a line is cut at about 4,000 bytes. Any thread (enchufe_conn_log: the
 * connection's loop). */
void enchufe_log(const enchufe_service *service, int level, const char *format, ...)
    ENCHUFE_PRINTF(3, 4);
void enchufe_conn_log(const enchufe_conn *conn, int level, const char *format, ...)
    ENCHUFE_PRINTF(3, 4);

/* Adds n to the counter with this index in the plugin's `counters`; any other index is ignored. */
void enchufe_count(enchufe_loop *loop, size_t counter, uint64_t n);

#ifdef __cplusplus
}
#endif

#endif
