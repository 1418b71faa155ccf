/* One opened plugin: its vtable, checked and brought to this server's size. Only a probe or a worker
 * opens plugins; opening runs the plugin's constructors. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "plugin_file.h"
#include <enchufe/plugin.h>

struct plugin {
    const char *path; /* of the file, borrowed */
    enchufe_plugin v; /* what the plugin lacks is zero; options and framing point to what follows */
    enchufe_option *options;
    enchufe_framing framing;
    size_t counter_count;
};

/* Opens a sealed copy, or with from_path the file itself (for debuggers), and checks it.
 * Returns 0, or -EINVAL with a sentence in error that names the file. What was opened stays mapped: code
 * of a plugin is never unloaded, because nobody can know who still holds a pointer into it. */
int plugin_open(struct plugin *plugin, const struct plugin_file *file, bool from_path,
                char error[PLUGIN_ERROR]);
void plugin_free(struct plugin *plugin);

/* The option with that name, if it shadows a key that the server has only since the plugin was built
 * (config_shadows.h). NULL: it does not, or there is none. */
const enchufe_option *plugin_shadow(const struct plugin *plugin, const char *key);

#endif
