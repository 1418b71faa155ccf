/* References to connections.
 *
 * A reference holds the loop, not the connection. Only the loop's thread follows `conn`; any other thread
 * looks at `ended` and hands a message to the loop, which finds the connection, or nobody. */
#ifndef CONN_REF_H
#define CONN_REF_H

#include "conn.h"

struct enchufe_ref {
    _Atomic unsigned owners;
    _Atomic bool ended;
    struct loop *loop;
    struct enchufe_conn *conn; /* the loop's thread only; NULL after the end */
};

/* Cuts the references of a connection that ends: what is posted from now on, and what was posted and
 * has not run, finds nobody. On the connection's loop. */
void conn_ref_detach(struct enchufe_conn *conn);

#endif
