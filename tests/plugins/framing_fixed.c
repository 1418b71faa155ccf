/* Messages of always eight bytes. */
#include "framing.h"

FRAMING_PLUGIN("framing_fixed", .type = ENCHUFE_FRAMING_FIXED, .max = 8);
