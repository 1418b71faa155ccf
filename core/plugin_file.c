/* Finding plugin files and sealing copies of them. */
#include "plugin_file.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef ENCHUFE_PLUGIN_DIR
#define ENCHUFE_PLUGIN_DIR "/usr/local/lib/enchufe/plugins"
#endif

#if defined __x86_64__
#define OUR_MACHINE EM_X86_64
#elif defined __aarch64__
#define OUR_MACHINE EM_AARCH64
#elif defined __riscv
#define OUR_MACHINE EM_RISCV
#elif defined __arm__
#define OUR_MACHINE EM_ARM
#elif defined __i386__
#define OUR_MACHINE EM_386
#elif defined __powerpc64__
#define OUR_MACHINE EM_PPC64
#elif defined __s390x__
#define OUR_MACHINE EM_S390
#else
#error "which ELF machine is this?"
#endif

char *plugin_file_path(const char *dir, const char *name, bool is_path)
{
    char *path = NULL;

    if (is_path)
        return strdup(name);
    return asprintf(&path, "%s/%s.so", dir, name) < 0 ? NULL : path;
}

const char *plugin_default_dir(void)
{
    static char dir[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", dir, sizeof dir - sizeof "/plugins");
    struct stat st;

    if (len > 0) {
        dir[len] = '\0';
        char *slash = strrchr(dir, '/');
        if (slash != NULL) {
            strcpy(slash, "/plugins");
            if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
                return dir;
        }
    }
    return ENCHUFE_PLUGIN_DIR;
}

/* Looks at the ELF header, because the dynamic linker's own words on these are short. */
static const char *check_elf(int fd, off_t size)
{
    ElfW(Ehdr) header;
    ssize_t n = pread(fd, &header, sizeof header, 0);

    if (n < 4 || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return "is not a shared object (no ELF file); build it with cc -shared -fPIC";
    if ((size_t)n < sizeof header)
        return "is cut short: build or copy it again";
    if (header.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
        header.e_machine != OUR_MACHINE)
        return "was built for another kind of machine; build it for this one";
    if (header.e_type != ET_DYN)
        return "is an ELF file but no shared object; build it with cc -shared -fPIC";
    /* The section headers are what linkers write last; what is missing before them is for the probe. */
    if (header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize > (uint64_t)size)
        return "is cut short: build or copy it again";
    return NULL;
}

static int fail(char error[PLUGIN_ERROR], const char *path, const char *what, int err)
{
    snprintf(error, PLUGIN_ERROR, "plugin %s %s", path, what);
    return -err;
}

/* O_NONBLOCK, so that a FIFO does not hang the server. */
static int open_regular(const char *path, struct stat *st, char error[PLUGIN_ERROR])
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        int err = errno;
        snprintf(error, PLUGIN_ERROR, "cannot open plugin %s: %s", path, strerror(err));
        return -err;
    }
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        const char *what =
            S_ISDIR(st->st_mode) ? "is a directory, not a shared object" : "is not a regular file";
        close(fd);
        return fail(error, path, what, EINVAL);
    }
    return fd;
}

/* No plugin is this large; a sparse file can pretend to be. */
#define SIZE_LIMIT ((off_t)256 << 20)

static int copy_sealed(int from, off_t size, const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    for (off_t at = 0; at < size;) {
        ssize_t n = sendfile(fd, from, &at, (size_t)(size - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int err = errno;
            close(fd);
            return -err;
        }
        if (n == 0)
            break; /* it shrank meanwhile: the probe will tell what is missing */
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

int plugin_file_seal(struct plugin_file *file, const char *path, char error[PLUGIN_ERROR])
{
    struct stat st = { 0 };
    const char *slash = strrchr(path, '/');
    const char *wrong;

    *file = (struct plugin_file){ .path = strdup(path), .fd = -1 };
    if (file->path == NULL)
        return fail(error, path, "cannot be opened: no memory", ENOMEM);
    int from = open_regular(path, &st, error);
    if (from < 0)
        return from;
    if ((wrong = check_elf(from, st.st_size)) != NULL) {
        close(from);
        return fail(error, path, wrong, ENOEXEC);
    }
    if (st.st_size > SIZE_LIMIT) {
        close(from);
        return fail(error, path, "is larger than 256 MiB", EFBIG);
    }
    int fd = copy_sealed(from, st.st_size, slash != NULL ? slash + 1 : path);
    close(from);
    if (fd < 0) {
        snprintf(error, PLUGIN_ERROR, "cannot copy plugin %s into memory: %s", path, strerror(-fd));
        return fd;
    }
    file->fd = fd;
    return 0;
}

void plugin_file_close(struct plugin_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (struct plugin_file){ .fd = -1 };
}
