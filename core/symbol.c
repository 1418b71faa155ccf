/* Names from ELF symbol tables: the full one, or in a stripped file that of the dynamic linker. */
#include "symbol.h"
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const char *bytes;
    size_t size;
};

/* `count` entries at `at`, or NULL where the file does not have as many, or has them at an odd place. */
static const void *part(const struct image *image, uint64_t at, uint64_t count, uint64_t entry)
{
    if (at > image->size || count > (image->size - at) / entry || at % 8 != 0)
        return NULL;
    return image->bytes + at;
}

static const ElfW(Ehdr) * header_of(const struct image *image)
{
    const ElfW(Ehdr) *header = part(image, 0, 1, sizeof *header);

    return header != NULL && memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
                   header->e_shentsize == sizeof(ElfW(Shdr))
               ? header
               : NULL;
}

static void copy_name(const struct image *image, const ElfW(Shdr) * strings, uint64_t at,
                      char *name, size_t size)
{
    if (strings->sh_offset > image->size || at > image->size - strings->sh_offset)
        return;
    const char *from = image->bytes + strings->sh_offset + at;
    size_t left = image->size - strings->sh_offset - at;
    size_t len = strnlen(from, left < size - 1 ? left : size - 1);
    memcpy(name, from, len);
    name[len] = '\0';
}

static void search(const struct image *image, const ElfW(Shdr) * table, const ElfW(Shdr) * strings,
                   uint64_t offset, char *name, size_t size)
{
    uint64_t count = table->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *symbols = part(image, table->sh_offset, count, sizeof *symbols);

    if (symbols == NULL)
        return;
    for (uint64_t i = 0; i < count; i++) {
        const ElfW(Sym) *symbol = &symbols[i];
        if ((symbol->st_info & 0xf) == STT_FUNC && symbol->st_shndx != SHN_UNDEF &&
            offset >= symbol->st_value && offset - symbol->st_value < symbol->st_size) {
            copy_name(image, strings, symbol->st_name, name, size);
            return;
        }
    }
}

static void search_image(const struct image *image, uint64_t offset, char *name, size_t size)
{
    static const unsigned kinds[] = { SHT_SYMTAB, SHT_DYNSYM };
    const ElfW(Ehdr) *header = header_of(image);
    const ElfW(Shdr) *sections =
        header != NULL ? part(image, header->e_shoff, header->e_shnum, sizeof *sections) : NULL;

    if (sections == NULL)
        return;
    for (size_t kind = 0; kind < 2 && *name == '\0'; kind++)
        for (size_t i = 0; i < header->e_shnum && *name == '\0'; i++)
            if (sections[i].sh_type == kinds[kind] && sections[i].sh_link < header->e_shnum)
                search(image, &sections[i], &sections[sections[i].sh_link], offset, name, size);
}

void symbol_find(const char *file, uint64_t offset, char *name, size_t size)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *name = '\0';
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        struct image image = { .size = (size_t)st.st_size };
        void *bytes = mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            image.bytes = bytes;
            search_image(&image, offset, name, size);
            munmap(bytes, image.size);
        }
    }
    close(fd);
}
