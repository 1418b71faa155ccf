/* Messages that end with a delimiter of several bytes. */
#include "framing.h"

FRAMING_PLUGIN("framing_delimiter", .type = ENCHUFE_FRAMING_DELIMITER, .delimiter = "\r\n.\r\n",
               .delimiter_len = 5, .max = 64);
