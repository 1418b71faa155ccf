/* Timers of one loop: a heap by deadline, four children a node, because a flat heap touches fewer
 * cache lines where most timers are set, moved and cancelled and few ever fire. */
#include "timer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define CHILDREN 4u

static void place(struct timers *timers, uint32_t i, struct timer *timer)
{
    timers->heap[i] = timer;
    timer->slot = i + 1;
}

static void sift_up(struct timers *timers, uint32_t i)
{
    struct timer *timer = timers->heap[i];

    while (i > 0) {
        uint32_t parent = (i - 1) / CHILDREN;

        if (timers->heap[parent]->deadline <= timer->deadline)
            break;
        place(timers, i, timers->heap[parent]);
        i = parent;
    }
    place(timers, i, timer);
}

static void sift_down(struct timers *timers, uint32_t i)
{
    struct timer *timer = timers->heap[i];
    uint32_t end = timers->count - timers->late;

    for (;;) {
        uint32_t child = i * CHILDREN + 1, least = child;

        for (uint32_t c = child + 1; c < child + CHILDREN && c < end; c++)
            if (timers->heap[c]->deadline < timers->heap[least]->deadline)
                least = c;
        if (child >= end || timers->heap[least]->deadline >= timer->deadline)
            break;
        place(timers, i, timers->heap[least]);
        i = least;
    }
    place(timers, i, timer);
}

/* The late ones stand behind the heap in no order, so that a run does not meet them. */
static void insert(struct timers *timers, struct timer *timer)
{
    uint32_t end = timers->count - timers->late;

    if (timers->running && timer->deadline <= timers->now) {
        place(timers, timers->count++, timer);
        timers->late++;
        return;
    }
    if (timers->late)
        place(timers, timers->count, timers->heap[end]);
    timers->count++;
    place(timers, end, timer);
    sift_up(timers, end);
}

static void take_out(struct timers *timers, struct timer *timer)
{
    uint32_t i = timer->slot - 1, hole = i;
    uint32_t end = timers->count - timers->late;

    if (i >= end) {
        timers->late--;
    } else {
        hole = end - 1;
        place(timers, i, timers->heap[hole]);
    }
    timers->count--;
    if (hole != timers->count)
        place(timers, hole, timers->heap[timers->count]);
    if (hole != i) {
        struct timer *moved = timers->heap[i];

        sift_up(timers, i);
        sift_down(timers, moved->slot - 1);
    }
    timer->slot = 0;
}

int timer_set(struct timers *timers, struct timer *timer, uint64_t deadline)
{
    if (timer_running(timer)) {
        take_out(timers, timer);
    } else if (timers->count == timers->cap) {
        uint32_t cap = timers->cap ? timers->cap * 2 : 64;
        struct timer **heap = reallocarray(timers->heap, cap, sizeof(struct timer *));

        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->cap = cap;
    }
    timer->deadline = deadline;
    insert(timers, timer);
    return 0;
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
    if (timer_running(timer))
        take_out(timers, timer);
}

void timers_run(struct timers *timers, uint64_t now)
{
    assert(!timers->running);
    timers->running = true;
    timers->now = now;
    while (timers->count > timers->late && timers->heap[0]->deadline <= now) {
        struct timer *timer = timers->heap[0];

        take_out(timers, timer);
        timer->fire(timer);
    }
    timers->running = false;
    while (timers->late)
        sift_up(timers, timers->count - timers->late--);
}

void timers_free(struct timers *timers)
{
    free(timers->heap);
    *timers = (struct timers){ .heap = NULL };
}
