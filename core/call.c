/* `enchufe call`: its command line, and which messages it sends. The client does the rest. */
#include "call.h"

#include "client.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: enchufe call [--timeout DURATION] [--lines] ENDPOINT [MESSAGE...]\n"
    "\n"
    "Sends each message to ENDPOINT (tcp://HOST:PORT, udp://HOST:PORT or unix:///path) and prints each\n"
    "reply. Without messages it sends standard input: to a stream as it comes, to UDP each line as a\n"
    "datagram.\n"
    "\n"
    "  --timeout DURATION  how long to wait for the connection and for each reply (5s)\n"
    "  --lines             add a newline to each message\n"
    "  --                  no options after this, even where a message begins with --\n";

struct call {
    struct client client;
    char **messages;
    int message_count;
    bool lines; /* add a newline to each */
};

static int call_message(struct call *call, const char *text, size_t len)
{
    char *message = malloc(len + 1);
    int status;

    if (!message)
        return client_failed(&call->client, "%s", strerror(ENOMEM));
    memcpy(message, text, len);
    if (call->lines)
        message[len++] = '\n';
    status = client_message(&call->client, message, len);
    free(message);
    return status;
}

static int call_messages(struct call *call)
{
    for (int i = 0; i < call->message_count; i++) {
        int left = call->message_count - i;
        if (call->client.ended)
            return client_failed(&call->client,
                                 "the server closed the connection with %d message%s left", left,
                                 left == 1 ? "" : "s");
        if (call_message(call, call->messages[i], strlen(call->messages[i])))
            return 1;
    }
    return 0;
}

/* Each line of standard input is a message. */
static int call_input_lines(struct call *call)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int status = 0;

    while (status == 0 && (len = getline(&line, &size, stdin)) >= 0) {
        if (len && line[len - 1] == '\n')
            len--;
        status = call_message(call, line, (size_t)len);
    }
    free(line);
    if (status == 0 && !call->client.received)
        return client_failed(&call->client, "nothing answered: standard input was empty");
    return status;
}

static int call_run(struct call *call)
{
    int status = client_connect(&call->client);

    if (status)
        return status;
    if (call->message_count)
        status = call_messages(call);
    else if (!client_is_stream(&call->client))
        status = call_input_lines(call);
    else
        status = client_copy(&call->client);
    close(call->client.fd);
    return status;
}

/* ---------------------------------------------------------------------------------------------
 * The command line
 */

__attribute__((format(printf, 1, 2))) static int call_misused(const char *format, ...)
{
    va_list args;

    fputs("enchufe call: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nenchufe call --help tells how to use it\n", stderr);
    return 2;
}

static int call_parse_timeout(struct call *call, const char *text)
{
    static const enchufe_option table[] = {
        { .name = "timeout",
          .type = ENCHUFE_OPTION_DURATION,
          .min = 1,
          .max = 24 * 60 * 60 * 1000,
          .value = "5s" },
        { .name = NULL },
    };
    const struct place place = { .key = "--timeout" };
    const struct setting setting = { .key = "timeout", .value = text, .place = place };
    struct options options = { 0 };
    struct report report = { 0 };
    int status = 0;

    call->client.timeout_text = text;
    if (options_parse(&options, table, &call->client.timeout, &setting, 1, &place, NULL, &report))
        status = call_misused("%s", report.count ? report.lines[0].text : strerror(ENOMEM));
    options_free(&options);
    report_free(&report);
    return status;
}

static int call_parse_endpoint(struct call *call)
{
    struct endpoint *items;
    char error[ENDPOINT_ERROR];

    if (endpoint_parse(call->client.target, ".", &call->client.endpoints, error))
        return call_misused("%s: %s", call->client.target, error);
    items = call->client.endpoints.items;
    for (size_t i = 0; i < call->client.endpoints.count && items[i].kind != ENCHUFE_UNIX; i++) {
        if (items[i].address.port != items[0].address.port)
            return call_misused("%s: a range of ports cannot be called, only one port",
                                call->client.target);
        if (items[i].address.port == 0)
            return call_misused("%s: port 0 cannot be called, ports are 1 to 65535",
                                call->client.target);
    }
    if (items[0].any) /* no host: this one, in the family that every machine has */
        items[0] = (struct endpoint){
            .kind = items[0].kind,
            .address = { .family = ENCHUFE_FAMILY_IPV4,
                         .port = items[0].address.port,
                         .ip = { 127, 0, 0, 1 } },
        };
    return 0;
}

/* Takes the options out of the arguments, wherever they stand before `--`. */
static int call_parse(struct call *call, int argc, char **argv)
{
    const char *timeout = "5s";
    int count = 0;
    bool options = true;

    for (int i = 0; i < argc; i++) {
        if (!options || strncmp(argv[i], "--", 2) != 0)
            argv[count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            options = false;
        else if (strcmp(argv[i], "--lines") == 0)
            call->lines = true;
        else if (strncmp(argv[i], "--timeout=", 10) == 0)
            timeout = argv[i] + 10;
        else if (strcmp(argv[i], "--timeout") == 0 && i + 1 < argc)
            timeout = argv[++i];
        else if (strcmp(argv[i], "--timeout") == 0)
            return call_misused("--timeout needs a duration, such as 5s");
        else
            return call_misused("unknown option %s; a message that begins with -- stands after --",
                                argv[i]);
    }
    if (count == 0)
        return call_misused("an endpoint is missing, such as tcp://127.0.0.1:8000");
    call->client.target = argv[0];
    call->messages = argv + 1;
    call->message_count = count - 1;
    if (call_parse_timeout(call, timeout))
        return 2;
    return call_parse_endpoint(call);
}

/* A standard descriptor that was closed must not become the socket: then what is printed would go to
 * the server. Opened for reading, /dev/null is an empty input and an output that fails. */
static void call_fill_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDONLY);
}

int call_main(int argc, char **argv)
{
    struct call call = { .client = { .fd = -1, .input = -1 } };
    int status;

    if (argc > 0 && strcmp(argv[0], "--help") == 0) {
        fputs(usage, stdout);
        return fflush(stdout) ? 1 : 0;
    }
    call_fill_descriptors();
    signal(SIGPIPE, SIG_IGN);
    status = call_parse(&call, argc, argv);
    if (status == 0)
        status = call_run(&call);
    endpoint_list_free(&call.client.endpoints);
    return status;
}
