/* Messages after a length of 2 bytes, in network order. */
#include "framing.h"

FRAMING_PLUGIN("framing_length2", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 2, .max = 1000);
