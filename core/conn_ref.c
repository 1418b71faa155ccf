/* References that outlive their connection. */
#include "conn_ref.h"
#include <stdlib.h>

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

void conn_ref_detach(struct enchufe_conn *conn)
{
    enchufe_ref *ref = conn->ref;

    if (ref == NULL)
        return;
    conn->ref = NULL;
    ref->conn = NULL;
    atomic_store_explicit(&ref->ended, true, memory_order_relaxed);
    enchufe_ref_release(ref);
}
