/* The names of the reasons why a connection ended, from the table in reasons.h. */
#include "reasons.h"

/* The table is indexed by the numbers of the contract: a row at the wrong place would name every
 * reason after it wrongly. */
#define REASON_ROW(name, word, text) ROW_##name,
enum { ROW_NONE, REASONS(REASON_ROW) };
#define REASON_IN_PLACE(name, word, text)                                                          \
    _Static_assert((int)ENCHUFE_CLOSED_##name == (int)ROW_##name,                                  \
                   "reason " #name " stands in another row than its number says");
REASONS(REASON_IN_PLACE)

#define REASON_WORD(name, word, text) [ENCHUFE_CLOSED_##name] = word,
static const char *const words[REASON_COUNT] = { REASONS(REASON_WORD) };

const char *enchufe_reason_name(int reason)
{
    return reason > 0 && reason < REASON_COUNT ? words[reason] : "unknown";
}
