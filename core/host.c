/* What a plugin can call: the functions of enchufe/plugin.h that are about services, connections and the log.
 * Writing is in conn_output.c, references are in conn_ref.c and conn_post.c, datagrams in datagram_out.c,
 * addresses in address.c. */
#include "conn.h"
#include "log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message of a plugin's; the log cuts the line again. */
#define MESSAGE_SIZE 4096

const char *enchufe_service_name(const enchufe_service *service)
{
    return service->name;
}

const void *enchufe_service_settings(const enchufe_service *service)
{
    return service->settings;
}

void *enchufe_service_state(const enchufe_service *service)
{
    return service->state;
}

void *enchufe_loop_state(const enchufe_loop *loop)
{
    return loop->state;
}

enchufe_service *enchufe_loop_service(const enchufe_loop *loop)
{
    return loop->service;
}

void enchufe_option_error(enchufe_service *service, const char *option, const char *format, ...)
{
    struct place place = service->config->place;
    va_list args;

    if (service->report == NULL)
        return;
    place.key = option;
    for (size_t i = 0; option != NULL && i < service->config->setting_count; i++)
        if (strcmp(service->config->settings[i].key, option) == 0)
            place = service->config->settings[i].place;
    va_start(args, format);
    report_addv(service->report, &place, format, args);
    va_end(args);
}

enchufe_service *enchufe_conn_service(const enchufe_conn *conn)
{
    return conn->at->service;
}

enchufe_loop *enchufe_conn_loop(const enchufe_conn *conn)
{
    return conn->at;
}

void *enchufe_conn_state(const enchufe_conn *conn)
{
    return (void *)conn->state;
}

const void *enchufe_conn_settings(const enchufe_conn *conn)
{
    return conn->at->service->settings;
}

const enchufe_address *enchufe_conn_peer(const enchufe_conn *conn)
{
    return &conn->peer;
}

int enchufe_conn_local(const enchufe_conn *conn, enchufe_address *local)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    if (getsockname(conn->source.fd, (struct sockaddr *)&address, &len) != 0)
        return -errno;
    address_from_sockaddr(local, (const struct sockaddr *)&address);
    return 0;
}

size_t enchufe_queued(const enchufe_conn *conn)
{
    return conn->out.len;
}

void enchufe_close(enchufe_conn *conn)
{
    if (conn->phase != CONN_OPEN)
        return;
    conn->phase = CONN_FLUSHING;
    conn->reason = ENCHUFE_CLOSED_BY_PLUGIN;
    if (!conn->busy)
        conn_later(conn);
}

void enchufe_abort(enchufe_conn *conn)
{
    conn_close(conn, ENCHUFE_CLOSED_ABORTED);
}

void enchufe_pause(enchufe_conn *conn)
{
    conn->paused = true;
    if (!conn->busy && conn->phase == CONN_OPEN)
        conn_later(conn);
}

void enchufe_resume(enchufe_conn *conn)
{
    conn->paused = false;
    if (!conn->busy && conn->phase == CONN_OPEN)
        conn_later(conn);
}

void enchufe_timer_set(enchufe_conn *conn, uint64_t delay_ms)
{
    if (conn->phase != CONN_OPEN)
        return;
    if (delay_ms > UINT32_MAX)
        delay_ms = UINT32_MAX;
    /* One more, because the clock's millisecond may be all but over. */
    conn->plugin_deadline = clock_ms() + delay_ms + 1;
    conn_schedule(conn);
}

void enchufe_timer_cancel(enchufe_conn *conn)
{
    conn->plugin_deadline = TIMER_NEVER;
}

uint64_t enchufe_now(void)
{
    return clock_ms();
}

void enchufe_count(enchufe_loop *loop, size_t counter, uint64_t n)
{
    if (counter < loop->service->plugin.counter_count)
        stats_add(&loop->stats->plugin[counter], n);
}

void enchufe_log(const enchufe_service *service, int level, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    if (!enchufe_log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_event(level, message, LOG_STR("service", service->name));
}

void enchufe_conn_log(const enchufe_conn *conn, int level, const char *format, ...)
{
    char message[MESSAGE_SIZE], peer[ENCHUFE_ADDRESS_TEXT];
    va_list args;

    if (!enchufe_log_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_event(level, message, LOG_STR("service", conn->at->service->name),
              LOG_STR("peer", enchufe_address_format(&conn->peer, peer, sizeof peer)));
}
