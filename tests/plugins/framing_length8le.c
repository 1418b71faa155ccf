/* Messages after a length of 8 bytes, least significant first. */
#include "framing.h"

FRAMING_PLUGIN("framing_length8le", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 8,
               .little_endian = true, .max = 1000);
