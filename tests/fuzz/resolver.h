/* In place of the system's resolver, so that no fuzzer asks the network: `one` has one address, `two` has
 * two, and nothing else has any. */
#ifndef FUZZ_RESOLVER_H
#define FUZZ_RESOLVER_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct resolved {
    struct addrinfo info;
    struct sockaddr_in address;
};

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    int count = node == NULL ? 0 : strcmp(node, "one") == 0 ? 1 : strcmp(node, "two") == 0 ? 2 : 0;
    struct addrinfo *list = NULL;

    (void)service, (void)hints;
    for (int i = 0; i < count; i++) {
        struct resolved *one = calloc(1, sizeof *one);
        one->address = (struct sockaddr_in){ .sin_family = AF_INET,
                                             .sin_addr.s_addr = htonl(0x0a000001 + (unsigned)i) };
        one->info = (struct addrinfo){ .ai_family = AF_INET,
                                       .ai_socktype = SOCK_STREAM,
                                       .ai_addrlen = sizeof one->address,
                                       .ai_addr = (struct sockaddr *)&one->address,
                                       .ai_next = list };
        list = &one->info;
    }
    *out = list;
    return list != NULL ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

#endif
