/* Built for ABI 1.0, when its options were its own. */
#define LOAD_SHADOW_MINOR 0
#include "load_shadow.h"
