/* The name of the function at an offset in a shared object or program, from the file's own symbol table. */
#ifndef SYMBOL_H
#define SYMBOL_H

#include <stddef.h>
#include <stdint.h>

/* name is set to "" where the file cannot be read or does not tell, and is cut where it is too long.
 * Neither allocates nor locks. Offsets in the file are checked, so that a damaged one is harmless. */
void symbol_find(const char *file, uint64_t offset, char *name, size_t size);

#endif
