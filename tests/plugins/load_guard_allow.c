/* Would let everybody in, where its section says whom. */
#define LOAD_GUARD_KEY "allow"
#include "load_guard.h"
