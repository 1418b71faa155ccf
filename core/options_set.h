/* One value of an option: from text, by the option's type, into its field. For options.c only. */
#ifndef OPTIONS_SET_H
#define OPTIONS_SET_H

#include "options.h"

/* Room for the sentence that says what is wrong with a value. */
#define OPTIONS_ERROR 1024

/* One value on its way into its field. */
struct option_job {
    struct options *options;
    const enchufe_option *option;
    const struct setting *settings; /* the first is the one; a list takes all of its key */
    size_t count;
    char *error; /* OPTIONS_ERROR bytes: the sentence where the value is refused */
};

/* Returns 0, -EINVAL with the sentence in job->error, or -ENOMEM. */
int options_set(const struct option_job *job);

/* What a field of a type needs; NULL for a number that is no type. */
struct option_field {
    size_t size, align;
};
const struct option_field *options_field(uint32_t type);

#endif
