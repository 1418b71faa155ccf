/* Messages written as netstrings: `5:hello,`. */
#include "framing.h"

FRAMING_PLUGIN("framing_netstring", .type = ENCHUFE_FRAMING_NETSTRING, .max = 64);
