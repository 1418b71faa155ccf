/* The plugin of version.h, first version: an echo. */
#define VERSION_KEY 0
#define VERSION_PADDING
#include "version.h"
