/* What became of datagrams that are not sent: the count, the line of the log, the plugin's error. */
#include "datagram_refusal.h"
#include "log.h"
#include <errno.h>

struct kind {
    size_t counter; /* offset in struct stats */
    int error;
    const char *message;
    const char *advice;
};

static const struct kind kinds[] = {
    [REFUSAL_SERVICE] = { .counter = offsetof(struct stats, datagrams_refused),
                          .error = -EACCES,
                          .message = "not answered: the sender looks like a service itself",
                          .advice = "trust_source_ports = yes answers all the same" },
    [REFUSAL_GROUP] = { .counter = offsetof(struct stats, datagrams_to_groups),
                        .error = -EACCES,
                        .message = "not answered: multicast and broadcast reach too many",
                        .advice = "trust_source_ports = yes answers all the same" },
    [REFUSAL_RATIO] = { .counter = offsetof(struct stats, datagrams_over_ratio),
                        .error = -EDQUOT,
                        .message = "not answered: it would be more than max_reply_ratio allows",
                        .advice =
                            "a larger max_reply_ratio in the section, or unlimited, lets it go, "
                            "to forged senders too" },
};

int datagram_refusal_note(struct enchufe_loop *at, enum refusal why, const enchufe_address *peer,
                          size_t len)
{
    const struct kind *kind = &kinds[why];
    struct enchufe_service *service = at->service;
    unsigned bit = 1u << why;
    char text[ENCHUFE_ADDRESS_TEXT];

    stats_add((_Atomic uint64_t *)(void *)((char *)at->stats + kind->counter), 1);
    if ((atomic_load_explicit(&service->refusals_told, memory_order_relaxed) & bit) == 0 &&
        (atomic_fetch_or(&service->refusals_told, bit) & bit) == 0)
        log_event(ENCHUFE_LOG_WARNING, kind->message, LOG_STR("service", service->name),
                  LOG_STR("peer", enchufe_address_format(peer, text, sizeof text)),
                  LOG_NUM("size", len), LOG_STR("advice", kind->advice));
    return kind->error;
}
