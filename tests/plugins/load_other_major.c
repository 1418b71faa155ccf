/* A plugin for another major version of the contract: it must be refused, with both versions and
 * the fix in the message. */
#include <enchufe/plugin.h>

static size_t load_other_major_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    (void)conn, (void)data;
    return len;
}

ENCHUFE_EXTERN_C ENCHUFE_EXPORT const enchufe_plugin enchufe_plugin_entry;
const enchufe_plugin enchufe_plugin_entry = {
    .abi_major = ENCHUFE_ABI_MAJOR + 1,
    .abi_minor = 0,
    .size = sizeof(enchufe_plugin),
    .option_size = sizeof(enchufe_option),
    .framing_size = sizeof(enchufe_framing),
    .name = "load_other_major",
    .on_data = load_other_major_on_data,
};
