/* The probe: disposable children that open every plugin and check every option before anything else
 * happens, so that a plugin that crashes, hangs or exits as it is loaded costs one line of the report. */
#ifndef PROBE_H
#define PROBE_H

#include "config.h"
#include "plugin_file.h"
#include "privileges.h"
#include <stdio.h>
#include <sys/types.h>

/* Opens the plugin of every service, parses its options and calls its check, in a child that has
 * become the workers' user. files[i] is
 * the sealed plugin of service i; one with fd -1 was reported already and is passed over. Everything
 * wrong goes to report, and the keys that plugins shadow to shadows: where these are new, the
 * configuration has to be read again and the report means nothing. For a single-threaded process. Returns 0,
 * or -EINVAL where it reported. */
int probe_services(const struct config *config, struct plugin_file *const *files,
                   const struct identity *identity, struct config_shadows *shadows,
                   struct report *report);

/* The same without waiting, for a process that has other things to do: a child runs probe_services() and
 * says what it finds on *fd, which becomes readable. Returns the child, or a negative errno. */
pid_t probe_begin(const struct config *config, struct plugin_file *const *files,
                  const struct identity *identity, int *fd);

/* Takes what the child has said. Never blocks. Returns true at its end: the child is reaped and fd
 * closed. */
bool probe_continue(pid_t child, int fd, struct config_shadows *shadows, struct report *report);

/* Ends a child that probe_begin() made, whatever it is at. */
void probe_abandon(pid_t child, int fd);

/* Describes one plugin on standard output (name, version, summary, what it serves), in a child; with
 * options, its option table too. Returns 0, or -EINVAL with a sentence in error. */
int probe_describe(const struct plugin_file *file, bool options, char error[PLUGIN_ERROR]);

#endif
