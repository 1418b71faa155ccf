/* Fuzzer of endpoint.c: what is read, written and read again is the same endpoint, and an error leaves the
 * list as it was. */
#include "endpoint.h"
#include "fuzz.h"
#include "resolver.h"
#include <errno.h>

static void check_round_trip(const struct endpoint *endpoint)
{
    struct endpoint_list list = { 0 };
    struct sockaddr_storage address;
    enchufe_address back;
    char text[ENDPOINT_TEXT], again[ENDPOINT_TEXT], error[ENDPOINT_ERROR];

    endpoint_format(endpoint, text);
    CHECK(endpoint_parse(text, "/elsewhere", &list, error) == 0 && list.count == 1);
    CHECK(strcmp(text, endpoint_format(&list.items[0], again)) == 0);
    CHECK(list.items[0].kind == endpoint->kind && list.items[0].any == endpoint->any);
    CHECK(memcmp(&list.items[0].address, &endpoint->address, sizeof endpoint->address) == 0);
    CHECK(strcmp(list.items[0].path, endpoint->path) == 0);
    bool numbered = endpoint->kind == ENCHUFE_UNIX || endpoint->address.port != 0;
    CHECK(endpoint_clashes(endpoint, &list.items[0]) == numbered);

    socklen_t len = endpoint_to_sockaddr(endpoint, &address);
    CHECK(len > 0 && len <= sizeof address);
    if (endpoint->kind != ENCHUFE_UNIX && !endpoint->any) {
        memset(&back, 0, sizeof back);
        address_from_sockaddr(&back, (struct sockaddr *)&address);
        CHECK(back.port == endpoint->address.port);
    }
    endpoint_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .data = data, .len = size };
    struct endpoint_list list = { 0 };
    char error[ENDPOINT_ERROR] = "";
    char *text = input_text(&in);

    CHECK(endpoint_parse("udp://127.0.0.1:7", "/base", &list, error) == 0);
    int status = endpoint_parse(text, "/base", &list, error);
    if (status != 0) {
        CHECK(status == -EINVAL && list.count == 1);
        CHECK(*error != '\0' && strlen(error) < ENDPOINT_ERROR);
    } else {
        CHECK(list.count > 1 && list.count <= 1 + 2 * 65536);
        check_round_trip(&list.items[1]);
        check_round_trip(&list.items[list.count - 1]);
    }
    endpoint_list_free(&list);
    free(text);
    return 0;
}
