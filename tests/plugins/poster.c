/* Long work belongs to a thread of the plugin's own. on_message hands the thread a job with a
 * reference to the connection; the thread posts the answer back, whether the connection still lives
 * or not. Every job ends in exactly one of three ways, and each is counted:
 *   delivered  on_event got it          destroyed  the connection ended between post and event
 *   refused    enchufe_post() failed, so the thread still owned it
 * Commands are lines: `hold` stops the thread, `release` lets it go on, `stats` prints the counts,
 * anything else is a job that comes back as it is. */
#include <enchufe/plugin.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct poster_service;

struct poster_job {
    struct poster_job *next;
    struct poster_service *owner;
    enchufe_ref *ref;
    char text[101];
};

struct poster_service {
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, up to the counts */
    pthread_cond_t changed;
    struct poster_job *first, **last;
    bool held, ending;
    atomic_uint jobs, delivered, destroyed, refused;
};

static const enchufe_framing poster_framing = { .type = ENCHUFE_FRAMING_LINE, .max = 100 };

/* Runs where the connection ended before its event came. */
static void poster_destroy(void *data)
{
    struct poster_job *job = data;
    atomic_fetch_add(&job->owner->destroyed, 1);
    free(job);
}

static struct poster_job *poster_next(struct poster_service *state)
{
    struct poster_job *job = NULL;

    pthread_mutex_lock(&state->lock);
    while (!state->ending && (state->held || state->first == NULL))
        pthread_cond_wait(&state->changed, &state->lock);
    job = state->first;
    if (job != NULL && (state->first = job->next) == NULL)
        state->last = &state->first;
    pthread_mutex_unlock(&state->lock);
    return job;
}

/* Ends when stop() says so and the queue is empty. */
static void *poster_thread(void *argument)
{
    struct poster_service *state = argument;
    struct poster_job *job = NULL;

    while ((job = poster_next(state)) != NULL) {
        /* After a successful post the job may be gone already: its reference is taken out before. */
        enchufe_ref *ref = job->ref;
        if (enchufe_post(ref, strlen(job->text), job, poster_destroy) != 0) {
            atomic_fetch_add(&state->refused, 1);
            free(job);
        }
        enchufe_ref_release(ref);
    }
    return NULL;
}

static int poster_start(enchufe_service *service)
{
    struct poster_service *state = enchufe_service_state(service);

    pthread_mutex_init(&state->lock, NULL);
    pthread_cond_init(&state->changed, NULL);
    state->last = &state->first;
    return -pthread_create(&state->thread, NULL, poster_thread, state);
}

static void poster_set(struct poster_service *state, bool *flag, bool value)
{
    pthread_mutex_lock(&state->lock);
    *flag = value;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

static void poster_log_counts(enchufe_service *service, struct poster_service *state)
{
    enchufe_log(service, ENCHUFE_LOG_INFO, "poster jobs %u delivered %u destroyed %u refused %u",
                atomic_load(&state->jobs), atomic_load(&state->delivered),
                atomic_load(&state->destroyed), atomic_load(&state->refused));
}

static void poster_stop(enchufe_service *service)
{
    struct poster_service *state = enchufe_service_state(service);

    poster_set(state, &state->ending, true);
    pthread_join(state->thread, NULL);
    pthread_cond_destroy(&state->changed);
    pthread_mutex_destroy(&state->lock);
    poster_log_counts(service, state);
}

static void poster_add(enchufe_conn *conn, struct poster_service *state, const char *text)
{
    struct poster_job *job = calloc(1, sizeof *job);

    if (job == NULL || (job->ref = enchufe_ref_get(conn)) == NULL) {
        free(job);
        enchufe_abort(conn);
        return;
    }
    job->owner = state;
    strncpy(job->text, text, sizeof job->text - 1);
    atomic_fetch_add(&state->jobs, 1);
    pthread_mutex_lock(&state->lock);
    *state->last = job;
    state->last = &job->next;
    pthread_cond_signal(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

static void poster_stats(enchufe_conn *conn, struct poster_service *state)
{
    char text[160];
    int len = snprintf(text, sizeof text, "jobs=%u delivered=%u destroyed=%u refused=%u\n",
                       atomic_load(&state->jobs), atomic_load(&state->delivered),
                       atomic_load(&state->destroyed), atomic_load(&state->refused));
    enchufe_write(conn, text, (size_t)len);
}

static void poster_on_message(enchufe_conn *conn, const void *data, size_t len)
{
    struct poster_service *state = enchufe_service_state(enchufe_conn_service(conn));

    (void)len;
    if (strcmp(data, "hold") == 0 || strcmp(data, "release") == 0) {
        poster_set(state, &state->held, strcmp(data, "hold") == 0);
        enchufe_write(conn, "ok\n", 3);
    } else if (strcmp(data, "stats") == 0) {
        poster_stats(conn, state);
    } else {
        poster_add(conn, state, data);
    }
}

static void poster_on_event(enchufe_conn *conn, uint64_t tag, void *data)
{
    struct poster_job *job = data;
    const struct iovec parts[] = {
        { .iov_base = job->text, .iov_len = (size_t)tag },
        { .iov_base = (void *)(uintptr_t) "\n", .iov_len = 1 },
    };

    atomic_fetch_add(&job->owner->delivered, 1);
    enchufe_writev(conn, parts, 2);
    free(job);
}

ENCHUFE_PLUGIN(.name = "poster", .summary = "answers from a thread of its own",
               .service_size = sizeof(struct poster_service), .framing = &poster_framing,
               .start = poster_start, .stop = poster_stop, .on_message = poster_on_message,
               .on_event = poster_on_event);
