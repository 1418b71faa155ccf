/* One INI file, line by line: what inih does not tell (line numbers, headers, lines that are cut
 * or no text) is seen here. What keys mean is config's. Not called ini.h, which is inih's own
 * header. */
#ifndef INIFILE_H
#define INIFILE_H

#include "report.h"

#define INIFILE_SECTION_MAX 48

/* The strings are valid during the call only. */
struct inifile_events {
    void (*section)(void *user, const char *name, unsigned line);
    void (*key)(void *user, const char *key, const char *value, unsigned line);
    /* An indented line that continues the value of the last key. */
    void (*more)(void *user, const char *value, unsigned line);
};

/* Reads the whole file. What is no line of an INI file goes to report, and is passed over; a
 * section with a bad name is announced all the same, so that its keys have a home. file is how
 * the report names it.
 * Returns 0 when the file was read to its end, whatever stood in it; -EINVAL when it could not
 * be, which is in report too; or -ENOMEM. */
int inifile_read(const char *file, const struct inifile_events *events, void *user,
                 struct report *report);

#endif
