/* What `enchufe status` shows. */
#ifndef STATUS_H
#define STATUS_H

#include "predecessor.h"
#include "rollover.h"
#include <stdio.h>

/* For people, within 80 columns. */
void status_print(FILE *out, const struct rollover *rollover, const struct predecessor *predecessor,
                  uint64_t up_ms);

/* The same, and more, as one JSON object. */
void status_print_json(FILE *out, const struct rollover *rollover,
                       const struct predecessor *predecessor, uint64_t up_ms);

#endif
