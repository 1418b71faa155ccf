/* Messages after a length of 2 bytes, least significant first. */
#include "framing.h"

FRAMING_PLUGIN("framing_length2le", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 2,
               .little_endian = true, .max = 1000);
