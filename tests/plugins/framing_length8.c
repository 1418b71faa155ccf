/* Messages after a length of 8 bytes, in network order. */
#include "framing.h"

FRAMING_PLUGIN("framing_length8", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 8, .max = 1000);
