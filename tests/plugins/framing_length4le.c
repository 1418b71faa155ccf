/* Messages after a length of 4 bytes, least significant first. */
#include "framing.h"

FRAMING_PLUGIN("framing_length4le", .type = ENCHUFE_FRAMING_LENGTH, .length_size = 4,
               .little_endian = true, .max = (size_t)1 << 20);
