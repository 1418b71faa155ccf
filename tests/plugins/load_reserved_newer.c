/* Built for ABI 1.1, when the server had keys of these names already. */
#define LOAD_SHADOW_MINOR 1
#include "load_shadow.h"
