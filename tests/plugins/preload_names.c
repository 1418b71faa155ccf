/* No plugin: a library for LD_PRELOAD, which plays a name server. It knows `slow.example` once the file that the
 * environment variable GATE names is there (and makes GATE.asked when it is asked), and never answers about hosts and users that begin with `silent`. */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *node, const char *service, const struct addrinfo *hints,
                   struct addrinfo **out);
typedef struct passwd *user_lookup(const char *name);

static void be_silent(const char *name)
{
    while (strncmp(name, "silent", 6) == 0)
        pause();
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **out)
{
    lookup *next = (lookup *)(uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *gate = getenv("GATE");
    char asked[4096];

    be_silent(node);
    if (strcmp(node, "slow.example") != 0)
        return next(node, service, hints, out);
    snprintf(asked, sizeof asked, "%s.asked", gate != NULL ? gate : "");
    close(open(asked, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    while (gate == NULL || access(gate, F_OK) != 0)
        usleep(10000);
    return next("127.0.0.1", service, hints, out);
}

__attribute__((visibility("default"))) struct passwd *getpwnam(const char *name)
{
    user_lookup *next = (user_lookup *)(uintptr_t)dlsym(RTLD_NEXT, "getpwnam");

    be_silent(name);
    return next(name);
}
