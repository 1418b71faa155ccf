/* Messages after a length of 1 byte. */
#include "framing.h"

FRAMING_PLUGIN("framing_length1", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 1, .max = 200);
