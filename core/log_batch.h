/* Lines that a thread keeps for a moment, so that one write takes many of them. They are kept in memory
 * that the master shares: what a dead worker had not written yet, the master writes. */
#ifndef LOG_BATCH_H
#define LOG_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With its bytes no more than PIPE_BUF, so that a pipe takes all of them or none. */
struct log_kept {
    _Atomic size_t len; /* of whole lines */
    char bytes[4096 - sizeof(size_t)];
};

struct log_batch {
    struct log_kept *kept;
    /* Called on the thread when the first line is kept: log_batch_flush() is due within a moment. */
    void (*due)(struct log_batch *batch);
};

/* Zeroed shared memory for so many threads; NULL without memory. */
struct log_kept *log_kept_create(size_t threads);
void log_kept_destroy(struct log_kept *kept, size_t threads);

/* This thread's lines go to the batch from now on; NULL: to the log. What the batch kept is written. */
void log_batch_use(struct log_batch *batch);

/* Keeps the line, which ends with a newline; or returns false: the thread has no batch. */
bool log_batch_keep(const char *line, size_t len);

/* Writes what this thread has kept. */
void log_batch_flush(void);

/* Writes what the threads of a process that is gone had kept. */
void log_kept_rescue(struct log_kept *kept, size_t threads);

#endif
