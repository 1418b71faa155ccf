/* Plugins as files: found, and copied into sealed memory by the master, which runs none of their code.
 * A copy outlives whatever happens to the file, and a process that opens it gets exactly the bytes that
 * were probed. */
#ifndef PLUGIN_FILE_H
#define PLUGIN_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define PLUGIN_ERROR 512

struct plugin_file {
    char *path; /* for people */
    int fd;     /* the sealed copy; -1 where it could not be made */
};

/* Where the plugin called name is: in dir, as NAME.so; a path (is_path) is taken as it is.
 * Returns a string to free, or NULL without memory. */
char *plugin_file_path(const char *dir, const char *name, bool is_path);

/* Copies a plugin into sealed memory. Returns 0, or -errno with a sentence in error: not there, not a
 * regular file, not a shared object for this machine. */
int plugin_file_seal(struct plugin_file *file, const char *path, char error[PLUGIN_ERROR]);
void plugin_file_close(struct plugin_file *file);

/* The directory of plugins where nothing names one: `plugins` beside the executable, as in the build
 * directory, or else the installed one. Returns a static string. */
const char *plugin_default_dir(void);

#endif
