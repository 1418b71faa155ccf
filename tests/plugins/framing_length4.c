/* Messages after a length of 4 bytes, in network order. */
#include "framing.h"

FRAMING_PLUGIN("framing_length4", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 4,
               .max = (size_t)1 << 20);
