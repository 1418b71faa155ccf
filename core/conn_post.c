/* Events that other threads post to a connection. */
#include "conn_ref.h"
#include <errno.h>
#include <stdlib.h>

struct event {
    struct loop_message message;
    enchufe_ref *ref;
    uint64_t tag;
    void *data;
    void (*destroy)(void *data);
};

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
