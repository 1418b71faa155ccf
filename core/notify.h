/* What a service manager is told: the datagrams of sd_notify(3), which are a protocol, not a library.
 * Without NOTIFY_SOCKET nothing happens. */
#ifndef NOTIFY_H
#define NOTIFY_H

#include "loop.h"
#include <sys/types.h>

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment, which
 * plugins see. Once, at start. */
void notify_init(void);

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

/* Another process is the main one from now on. */
void notify_main_pid(pid_t pid);

/* Puts NOTIFY_SOCKET and the watchdog's variables back, for a program about to be executed as `pid`. */
void notify_restore_environment(pid_t pid);

/* Sends WATCHDOG=1 twice in each period that the service manager asked for, as long as the loop turns. */
void notify_watchdog(struct loop *loop);
void notify_watchdog_stop(struct loop *loop);

#endif
