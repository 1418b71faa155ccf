/* References to connections, and events that other threads post through them. */
#ifndef CONN_REF_H
#define CONN_REF_H

#include "conn.h"

/* Cuts the references of a connection that ends: what is posted from now on, and what was posted and
 * has not run, finds nobody. On the connection's loop. */
void ref_detach(struct enchufe_conn *conn);

#endif
