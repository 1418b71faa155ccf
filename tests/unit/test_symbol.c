/* Unit tests of the names of functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "symbol.h"
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Exported or not, a function of this program has a name in its symbol table. */
__attribute__((noinline)) static int a_function_to_find(int n)
{
    return n * 3 + 1;
}

static uint64_t offset_of_function(void)
{
    uintptr_t at = (uintptr_t)&a_function_to_find;
    struct dl_find_object found;

    assert_int_equal(_dl_find_object((void *)at, &found), 0);
    return at - found.dlfo_link_map->l_addr;
}

static void a_function_is_named_from_the_file_it_is_in(void **state)
{
    char name[64], cut[6];

    (void)state;
    symbol_find("/proc/self/exe", offset_of_function() + 1, name, sizeof name);
    assert_string_equal(name, "a_function_to_find");
    symbol_find("/proc/self/exe", offset_of_function() + 1, cut, sizeof cut);
    assert_string_equal(cut, "a_fun");
    symbol_find("/proc/self/exe", UINT64_MAX, name, sizeof name);
    assert_string_equal(name, "");
    symbol_find("/dev/null", 0, name, sizeof name);
    assert_string_equal(name, "");
    symbol_find("/nowhere", 0, name, sizeof name);
    assert_string_equal(name, "");
}

/* Whatever stands in the file's tables, nothing outside of it is read. */
static void a_damaged_file_has_no_names_and_does_no_harm(void **state)
{
    enum { SIZE = 4096, SECTIONS = 4 }; /* what is read behind a page is not mapped */
    char bytes[SIZE], path[64], name[64];
    int fd = memfd_create("damaged", MFD_CLOEXEC);

    (void)state;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    srand(1);
    for (int round = 0; round < 20000; round++) {
        ElfW(Ehdr) header = { .e_ident = ELFMAG,
                              .e_shoff = (uint64_t)(rand() % (SIZE / 8 + 2)) * 8,
                              .e_shentsize = sizeof(ElfW(Shdr)),
                              .e_shnum = (uint16_t)(rand() % 70) };
        for (size_t i = 0; i < SIZE; i++)
            bytes[i] = (char)(rand() % 3);
        memcpy(bytes, &header, sizeof header);
        for (size_t i = 0; i < SECTIONS; i++) {
            ElfW(Shdr) section = { .sh_type = rand() % 2 ? SHT_SYMTAB : SHT_DYNSYM,
                                   .sh_offset = (uint64_t)(rand() % (SIZE / 8 + 2)) * 8,
                                   .sh_size = rand() % 2 ? UINT64_MAX : (uint64_t)(rand() % SIZE),
                                   .sh_link = (uint32_t)(rand() % 6) };
            size_t at = header.e_shoff + i * sizeof section;
            if (at >= sizeof header && at + sizeof section <= SIZE)
                memcpy(bytes + at, &section, sizeof section);
        }
        assert_int_equal(pwrite(fd, bytes, SIZE, 0), SIZE);
        symbol_find(path, (uint64_t)rand() % 3, name, sizeof name);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_is_named_from_the_file_it_is_in),
        cmocka_unit_test(a_damaged_file_has_no_names_and_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
