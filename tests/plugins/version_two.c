/* The plugin of version.h, second version: bit 5 is turned over, which changes the case of letters. What
 * follows its padding lies elsewhere than in the first. */
#define VERSION_KEY 0x20
#define VERSION_PADDING                                                                            \
    __attribute__((used)) static int version_padding(int n)                                        \
    {                                                                                              \
        static volatile int table[5000] = { 1 };                                                   \
        for (int i = 0; i < n; i++)                                                                \
            table[i % 5000] += table[(i + 7) % 5000] * 3 + i;                                      \
        return table[n % 5000];                                                                    \
    }
#include "version.h"
