/* Would take off its own sandbox. */
#define LOAD_GUARD_KEY "sandbox"
#include "load_guard.h"
