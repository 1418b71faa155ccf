/* The probe: disposable children that open every plugin and check every option before anything else
 * happens, so that a plugin that crashes, hangs or exits as it is loaded costs one line of the report. */
#ifndef PROBE_H
#define PROBE_H

#include "config.h"
#include "plugin_file.h"
#include <stdio.h>

/* Opens the plugin of every service, parses its options and calls its check, in a child. files[i] is
 * the sealed plugin of service i; one with fd -1 was reported already and is passed over. Everything
 * wrong goes to report. For a single-threaded process. Returns 0, or -EINVAL where it reported. */
int probe_services(const struct config *config, struct plugin_file *const *files,
                   struct report *report);

/* Describes one plugin on standard output (name, version, summary, what it serves), in a child; with
 * options, its option table too. Returns 0, or -EINVAL with a sentence in error. */
int probe_describe(const struct plugin_file *file, bool options, char error[PLUGIN_ERROR]);

#endif
