/* Keeping lines of the log until several can be written at once. */
#include "log_batch.h"
#include "log_sink.h"
#include <enchufe/plugin.h>
#include <string.h>
#include <sys/mman.h>

static _Thread_local struct log_batch *here;

static void write_kept(struct log_kept *kept)
{
    /* A dead worker may have written anything there. */
    size_t len = kept->len < sizeof kept->bytes ? kept->len : sizeof kept->bytes;

    if (len != 0)
        log_sink_write(ENCHUFE_LOG_INFO, kept->bytes, len);
    /* In this order, a worker that is killed here leaves lines twice rather than not at all. */
    kept->len = 0;
}

void log_batch_flush(void)
{
    if (here != NULL)
        write_kept(here->kept);
}

void log_batch_use(struct log_batch *batch)
{
    log_batch_flush();
    here = batch;
}

bool log_batch_keep(const char *line, size_t len)
{
    if (here == NULL)
        return false;
    struct log_kept *kept = here->kept;
    if (kept->len + len > sizeof kept->bytes)
        write_kept(kept);
    size_t before = kept->len;
    memcpy(kept->bytes + before, line, len);
    kept->len = before + len;
    if (before == 0)
        here->due(here);
    return true;
}

void log_kept_rescue(struct log_kept *kept, size_t threads)
{
    for (size_t i = 0; i < threads; i++)
        write_kept(&kept[i]);
}

struct log_kept *log_kept_create(size_t threads)
{
    void *memory = mmap(NULL, threads * sizeof(struct log_kept), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? memory : NULL;
}

void log_kept_destroy(struct log_kept *kept, size_t threads)
{
    if (kept != NULL)
        munmap(kept, threads * sizeof *kept);
}
