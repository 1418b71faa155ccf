/* Fuzzer of plugins, through the whole of a connection (conn*.c): the first byte chooses one of the plugins that
 * were built, the rest is what its clients send and read, how sockets fail, when time passes, and what else
 * happens to connections. A plugin must keep its sanitizers silent, and the promises in connections.h are kept
 * to it. New plugins in plugins/ are found by themselves; FUZZ_PLUGIN=FILE.so is one alone. */
#include "connections.h"
#include <glob.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

#define PLUGINS_MAX 64

static struct enchufe_service services[PLUGINS_MAX];
static struct service_config configs[PLUGINS_MAX];
static size_t service_count;

static void client_received(struct client *client, const unsigned char *data, size_t len)
{
    (void)client, (void)data, (void)len;
}

/* With the options' defaults; a plugin that needs more, or serves no streams, is passed over. */
static void add_plugin(char *path)
{
    struct service_config *config = &configs[service_count];
    struct enchufe_service *service = &services[service_count];
    struct plugin_file file = { .path = path, .fd = -1 };
    struct report report = { .lines = NULL };

    *config = (struct service_config){ .name = "fuzz", .limits = { .max_output = 1 << 20 } };
    int err = service_init(service, config, 0, &file, true, &report);
    if (err == 0)
        service_check(service, &report);
    report_print(&report, stderr);
    if (err == 0 && report.count == 0 &&
        (service->plugin.v.on_data != NULL || service->plugin.v.on_message != NULL)) {
        service->counters = stats_create(2, 1);
        CHECK(service->counters != NULL && service_start(service) == 0);
        service_count++;
    }
    report_free(&report);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *one = getenv("FUZZ_PLUGIN"), *build = getenv("FUZZ_BUILD");
    char pattern[4096];
    glob_t found = { 0 };

    (void)argc, (void)argv;
    log_setup(ENCHUFE_LOG_ERROR, 0);
    fake.now = 1000000;
    snprintf(pattern, sizeof pattern, "%s/plugins/*.so", build != NULL ? build : "build/fuzz");
    if (glob(one != NULL ? one : pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && service_count < PLUGINS_MAX; i++)
            add_plugin(strdup(found.gl_pathv[i]));
    globfree(&found);
    if (service_count == 0) {
        fprintf(stderr, "no plugin that serves streams: %s\n", one != NULL ? one : pattern);
        exit(1);
    }
    return 0;
}

/* What happens to a connection from elsewhere. */
static void disturb(struct enchufe_conn *conn, unsigned how)
{
    switch (how) {
    case 0:
        enchufe_pause(conn);
        break;
    case 1:
    case 2:
        enchufe_resume(conn);
        break;
    case 3:
        conn_drain(conn);
        break;
    case 4:
        enchufe_close(conn);
        break;
    case 5:
        enchufe_abort(conn);
        break;
    case 6:
        enchufe_write(conn, "from elsewhere", 14);
        break;
    default:
        enchufe_timer_set(conn, 100);
        break;
    }
}

static bool step(void)
{
    static const uint64_t times[] = { 1, 50, 101, 1000, 2001, 5000, 60000, 600000 };
    unsigned op = input_byte(&world.ops), how = op >> 5;
    struct client *client = &world.clients[op >> 3 & 3];
    struct input said;

    switch (op & 7) {
    case 0:
        client_open();
        break;
    case 1:
    case 2:
        said = input_part(&world.ops, how < 7 ? 1 + how : input_byte(&world.ops));
        client_send(client, said.data, said.len);
        break;
    case 3: /* more than a socket takes at once */
        said = input_part(&world.ops, 16);
        for (int n = 0; n < 1 << how; n++)
            client_send(client, said.data, said.len);
        break;
    case 4:
        client_receive(client, (size_t)1 << 2 * how);
        break;
    case 5:
        if (client->fd >= 0 && how < 4)
            shutdown(client->fd, SHUT_WR);
        else
            client_close(client);
        break;
    case 6:
        fake_advance(times[how]);
        break;
    case 7:
        if (client->conn != NULL)
            disturb(client->conn, how);
        break;
    }
    return world.ops.len != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t outputs[] = { 1 << 20, 100000, 1000, 20 };
    struct input in = { .data = data, .len = size };

    world.service = services[input_byte(&in) % service_count];
    world.config = *world.service.config;
    world.service.config = &world.config;
    unsigned how = input_byte(&in);
    world.service.timeouts =
        (struct timeouts){ .idle = how & 1 ? 3000 : 0, .write = how & 2 ? 5000 : 0 };
    world.config.limits.max_output = outputs[how >> 2 & 3];
    world.service.max_output = world.config.limits.max_output;
    fake.now = 1000000;
    fake.faults = input_part(&in, input_byte(&in));
    world.ops = in;
    wrap();
    run_world();
    loop_drop(world.at.loop);
    return 0;
}
