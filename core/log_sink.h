/* Where the lines of the log go: standard error, a file, or the system's log. Nothing here blocks: what
 * cannot be written at once is lost, counted over the master and all its workers, and told later. */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens where the log goes: NULL is standard error, `syslog` the system's log, all else a file. For the
 * master, before it forks; again, for itself and those that it forks from then on. Returns 0, or -errno,
 * and then the log goes where it went. */
int log_sink_open(const char *target);
void log_sink_close(void);

/* Whether log_sink_open() would find a file that it can open, which is made if it is not there. Returns 0 or
 * -errno. */
int log_sink_check(const char *target);

/* Whether somebody listens for the system's log where log_sink_open() said that lines go there. Returns 0 or
 * -errno, and in path where that is. */
int log_sink_find_syslog(const char **path);

/* Opens the file of a log that was moved away, for log_sink_take() here and in the workers. Returns the
 * descriptor, which is the caller's, or -errno. */
int log_sink_open_file(const char *path);

/* Writes to what fd is, from now on; fd stays the caller's. Any thread, while others write: each line is
 * in the old file or in the new one. */
void log_sink_take(int fd);

/* Gives the log a descriptor of its own, whose number stays: for a process in which threads have tables of descriptors
 * of their own, before the second one. Where there is none left, the log stays on standard error. */
void log_sink_number(void);

/* log_sink_take() in a second table, where another thread does that in the first. */
void log_sink_follow(int fd);

/* The descriptor in use, for a process forked from the master to keep. */
int log_sink_fd(void);

/* Of the bell that is rung where lines are lost, be it in the master, a worker, or a process that a plugin forked: what
 * the master waits for (EPOLLIN), and what the others ring it with, which a forked process is to keep, and not the
 * first. Made by the first log_sink_open(). -1: the system gave none, or the log was not opened. */
int log_sink_bell(void);
int log_sink_ringer(void);

/* Takes a ring away, in the master. Never blocks. Returns whether there was one. */
bool log_sink_take_ring(void);

/* Whether the system's log adds time and level of its own. */
bool log_sink_is_syslog(void);

/* The path of the system's log, where lines go there; else NULL. */
const char *log_sink_syslog_path(void);

/* Writes lines, each with its newline and together no longer than PIPE_BUF; to the system's log, one. Those
 * that cannot be written are counted. Any thread. */
void log_sink_write(int level, const char *text, size_t len);

/* Lines lost that no report has told yet. */
uint64_t log_sink_lost(void);

/* Whether there is something for log_sink_claim(); cheap. */
bool log_sink_in_trouble(void);

/* Ends a torn line, if there is one, and claims the report. Returns how many lines to report, and
 * log_sink_report() must follow; or 0: there is nothing to report, or it cannot be done now. */
uint64_t log_sink_claim(void);

/* Writes the report of `count` lost lines: written, the count starts again; else it stays. */
void log_sink_report(int level, const char *line, size_t len, uint64_t count);

#endif
