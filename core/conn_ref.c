/* References that outlive their connection.
 *
 * A reference holds the loop, not the connection. Only the loop's thread follows `conn`; any other thread
 * looks at `ended` and hands a message to the loop, which finds the connection, or nobody. */
#include "conn_ref.h"
#include <errno.h>
#include <stdlib.h>

struct enchufe_ref {
    _Atomic unsigned owners;
    _Atomic bool ended;
    struct loop *loop;
    struct enchufe_conn *conn; /* the loop's thread only; NULL after the end */
};

struct event {
    struct loop_message message;
    enchufe_ref *ref;
    uint64_t tag;
    void *data;
    void (*destroy)(void *data);
};

enchufe_ref *enchufe_ref_get(enchufe_conn *conn)
{
    if (conn->phase != CONN_OPEN)
        return NULL;
    if (conn->ref == NULL) {
        enchufe_ref *ref = calloc(1, sizeof *ref);
        if (ref == NULL)
            return NULL;
        ref->owners = 1; /* the connection's own */
        ref->loop = conn->at->loop;
        ref->conn = conn;
        loop_hold(ref->loop);
        conn->ref = ref;
    }
    return enchufe_ref_share(conn->ref);
}

enchufe_ref *enchufe_ref_share(enchufe_ref *ref)
{
    atomic_fetch_add_explicit(&ref->owners, 1, memory_order_relaxed);
    return ref;
}

void enchufe_ref_release(enchufe_ref *ref)
{
    if (ref == NULL || atomic_fetch_sub_explicit(&ref->owners, 1, memory_order_acq_rel) != 1)
        return;
    loop_drop(ref->loop);
    free(ref);
}

void ref_detach(struct enchufe_conn *conn)
{
    enchufe_ref *ref = conn->ref;

    if (ref == NULL)
        return;
    conn->ref = NULL;
    ref->conn = NULL;
    atomic_store_explicit(&ref->ended, true, memory_order_relaxed);
    enchufe_ref_release(ref);
}

static void deliver(struct loop_message *message)
{
    struct event *event = (struct event *)message;
    enchufe_ref *ref = event->ref;

    if (ref->conn == NULL || !conn_event(ref->conn, event->tag, event->data))
        if (event->destroy != NULL)
            event->destroy(event->data);
    enchufe_ref_release(ref);
    free(event);
}

int enchufe_post(enchufe_ref *ref, uint64_t tag, void *data, void (*destroy)(void *data))
{
    if (atomic_load_explicit(&ref->ended, memory_order_relaxed))
        return -ENOTCONN;
    struct event *event = calloc(1, sizeof *event);
    if (event == NULL)
        return -ENOMEM;
    *event = (struct event){
        .message = { .run = deliver },
        .ref = enchufe_ref_share(ref),
        .tag = tag,
        .data = data,
        .destroy = destroy,
    };
    if (loop_post(ref->loop, &event->message) == 0)
        return 0;
    enchufe_ref_release(ref);
    free(event);
    return -ENOTCONN;
}
