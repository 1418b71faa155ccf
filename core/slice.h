/* How long the scheduler lets a worker run before others of the processor have their turn. */
#ifndef SLICE_H
#define SLICE_H

/* Asks for the shortest turns for this process and all that it starts. Where the system does not know them (before
 * Linux 6.12), does not let us, or the operator chose another policy, nothing changes. */
void slice_shorten(void);

#endif
