/* Looking up names, and passing on the answers. */
#include "names.h"
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const struct names *known; /* NULL: the system is asked */
static int hearer = -1;           /* who is told every answer */

/* ---- the system ---- */

static bool as_number(const char *text, uint32_t *number)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *number = (uint32_t)value;
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && value < UINT32_MAX;
}

static void ask_host(struct name *name)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int rc = getaddrinfo(name->key, NULL, &hints, &found);

    if (rc != 0) {
        snprintf(name->wrong, sizeof name->wrong, "%s",
                 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        return;
    }
    for (const struct addrinfo *ai = found; ai != NULL && name->count < NAMES_ADDRESSES;
         ai = ai->ai_next)
        address_from_sockaddr(&name->addresses[name->count++], ai->ai_addr);
    freeaddrinfo(found);
    name->found = true;
}

static void ask_user(struct name *name)
{
    const struct passwd *entry = getpwnam(name->key);
    uint32_t number;

    if (entry == NULL && as_number(name->key, &number))
        entry = getpwuid(number);
    if (entry == NULL)
        return;
    name->uid = entry->pw_uid;
    name->gid = entry->pw_gid;
    name->found = true;
}

static void ask_group(struct name *name)
{
    const struct group *entry = getgrnam(name->key);

    name->found = entry != NULL || as_number(name->key, &name->gid);
    if (entry != NULL)
        name->gid = entry->gr_gid;
}

static void ask(struct name *name)
{
    if (name->kind == NAME_HOST)
        ask_host(name);
    else if (name->kind == NAME_USER)
        ask_user(name);
    else
        ask_group(name);
}

/* ---- asking ---- */

static struct name *find(const struct names *names, char kind, const char *key)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].kind == kind && strcmp(names->items[i].key, key) == 0)
            return &names->items[i];
    return NULL;
}

static void tell(const struct name *name)
{
    if (hearer >= 0)
        (void)!send(hearer, name, sizeof *name, MSG_NOSIGNAL);
}

static void be_silent(struct name *name, const char *why)
{
    name->silent = true;
    snprintf(name->wrong, sizeof name->wrong, "%s", why);
}

void names_look_up(enum name_kind kind, const char *key, struct name *name)
{
    const struct name *there = known != NULL ? find(known, (char)kind, key) : NULL;

    *name = (struct name){ .kind = (char)kind };
    if (strlen(key) >= sizeof name->key)
        return;
    strcpy(name->key, key);
    if (there != NULL) {
        *name = *there;
    } else if (known != NULL) {
        be_silent(name, known->cut ? "it comes after a name that nobody answered about in time"
                                   : "the file was changed while it was read; try again");
    } else {
        be_silent(name, "no answer in time; does the name server work?");
        tell(name);
        *name = (struct name){ .kind = (char)kind };
        strcpy(name->key, key);
        ask(name);
        tell(name);
    }
}

void names_use(const struct names *names)
{
    known = names;
}

void names_tell(int fd)
{
    hearer = fd;
}

/* ---- hearing ---- */

int names_keep(struct names *names, const void *answer, size_t len)
{
    const struct name *name = answer;

    if (len != sizeof *name)
        return -EINVAL;
    struct name *place = find(names, name->kind, name->key);
    if (place == NULL) {
        struct name *items = reallocarray(names->items, names->count + 1, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        names->items = items;
        place = &items[names->count++];
    }
    memcpy(place, name, sizeof *place);
    return 0;
}

void names_free(struct names *names)
{
    free(names->items);
    *names = (struct names){ .items = NULL };
}
