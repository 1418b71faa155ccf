/* As process 1 of a container there is work that is nobody else's: to reap every orphan, and to stay while
 * an upgrade puts one server in the place of another, since all processes end with process 1. */
#ifndef INIT_H
#define INIT_H

/* Where this is process 1, the server becomes a child of it: returns there only. Process 1 itself passes
 * signals on, reaps, and ends with the last server's status when no process is left. Elsewhere returns at
 * once. */
void init_if_first(void);

/* In a server that another has replaced: what process 1 hears is for the other one from now on. */
void init_replaced(void);

#endif
