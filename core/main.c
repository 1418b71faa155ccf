/* The command line. */
#include "call.h"
#include "generation.h"
#include "log.h"
#include "log_sink.h"
#include "master.h"
#include "probe.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef ENCHUFE_VERSION
#define ENCHUFE_VERSION "unknown"
#endif
#ifndef ENCHUFE_CONFIG
#define ENCHUFE_CONFIG "/etc/enchufe/enchufe.ini"
#endif

/* A limit below this is worth a word: most people expect a server to bear a thousand clients. */
#define FEW_DESCRIPTORS 1024

enum { DONE = 0, FAILED = 1, WRONG_USAGE = 2 };

static const char usage[] =
    "usage: enchufe run [FILE]        serve FILE in the foreground\n"
    "               --plugin-dir DIR  look for plugins in DIR\n"
    "               --debug           everything in one process, for debuggers\n"
    "       enchufe check [FILE]      say what is wrong with FILE; opens no port\n"
    "       enchufe plugins [NAME]    list the plugins, or describe one with its options\n"
    "       enchufe call ENDPOINT [MESSAGE...]\n"
    "                                 send each message and print each reply; without\n"
    "                                 messages, standard input\n"
    "               --timeout TIME    wait so long (5s)\n"
    "               --lines           end each message with a newline\n"
    "       enchufe --help | --version\n"
    "\n"
    "FILE is " ENCHUFE_CONFIG " unless said. ENDPOINT is tcp://HOST:PORT,\n"
    "udp://HOST:PORT or unix:///PATH. Exit status: 0 done, 1 failed, 2 wrong usage.\n";

static int wrong_usage(const char *what, const char *word)
{
    fprintf(stderr, "enchufe: %s%s%s\nTry `enchufe --help`.\n", what, word != NULL ? " " : "",
            word != NULL ? word : "");
    return WRONG_USAGE;
}

/* What run, check and plugins can be told. */
struct arguments {
    const char *word; /* the file or plugin; NULL: not said */
    const char *plugin_dir;
    bool debug;
    bool help;
};

/* argv[0] is the command. Returns DONE or WRONG_USAGE. */
static int read_arguments(int argc, char **argv, bool is_run, struct arguments *arguments)
{
    static const struct option options[] = { { "plugin-dir", required_argument, NULL, 'p' },
                                             { "debug", no_argument, NULL, 'd' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    int c;

    opterr = 0;
    *arguments = (struct arguments){ .word = NULL };
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c == 'p')
            arguments->plugin_dir = optarg;
        else if (c == 'd' && is_run)
            arguments->debug = true;
        else if (c == 'h')
            arguments->help = true;
        else if (c == ':')
            return wrong_usage("this option needs a value:", argv[optind - 1]);
        else
            return wrong_usage("unknown option", argv[optind - 1]);
    }
    if (optind < argc)
        arguments->word = argv[optind++];
    if (optind < argc)
        return wrong_usage("one word too many:", argv[optind]);
    return DONE;
}

/* ---- run ---- */

/* Connections are descriptors, and the usual limit of 1,024 is a relic of select(). */
static void raise_descriptor_limit(int64_t max_connections)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (before < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        log_event(ENCHUFE_LOG_INFO, "descriptor limit raised", LOG_NUM("from", before),
                  LOG_NUM("to", limit.rlim_cur));
    else
        limit.rlim_cur = before;
    if (limit.rlim_cur < FEW_DESCRIPTORS || (rlim_t)max_connections > limit.rlim_cur)
        log_event(ENCHUFE_LOG_WARNING, "descriptor limit is low", LOG_NUM("limit", limit.rlim_cur),
                  LOG_STR("advice", "raise the hard limit (ulimit -Hn, LimitNOFILE=)"));
}

static void open_log(const struct config *config, struct report *report)
{
    struct place place = { .file = config->file, .section = "server", .key = "log" };
    const char *target = config->server.log;
    int err = log_sink_open(target);

    if (err != 0)
        report_add(report, &place, "cannot open %s: %s", target != NULL ? target : "stderr",
                   strerror(-err));
}

static int run(const char *file, const struct arguments *arguments)
{
    struct generation generation;
    struct report report = { .lines = NULL };
    int status = FAILED;

    generation_load(&generation, file, arguments->plugin_dir, &report);
    /* Descriptors for the sockets of every loop; told when the log is there. */
    if (generation.config != NULL) {
        open_log(generation.config, &report);
        if (report.count == 0) {
            const struct server_config *server = &generation.config->server;
            log_setup(server->log_level, (enum log_format)server->log_format);
            raise_descriptor_limit(server->max_connections);
        }
    }
    if (generation_bind(&generation, &report) == 0)
        status = master_run(&generation, arguments->debug);
    else
        report_print(&report, stderr);
    generation_free(&generation);
    report_free(&report);
    log_sink_close();
    return status;
}

/* ---- check ---- */

static int check(const char *file, const struct arguments *arguments)
{
    struct generation generation;
    struct report report = { .lines = NULL };
    int err = generation_load(&generation, file, arguments->plugin_dir, &report);

    if (err == 0)
        printf("%s: ok, %zu service%s, %zu endpoint%s\n", file, generation.config->service_count,
               generation.config->service_count == 1 ? "" : "s", generation.config->endpoint_count,
               generation.config->endpoint_count == 1 ? "" : "s");
    else
        report_print(&report, stderr);
    generation_free(&generation);
    report_free(&report);
    return err == 0 ? DONE : FAILED;
}

/* ---- plugins ---- */

static int describe(const char *path, bool options)
{
    struct plugin_file file;
    char error[PLUGIN_ERROR];
    int err = plugin_file_seal(&file, path, error);

    if (err == 0)
        err = probe_describe(&file, options, error);
    if (err != 0)
        fprintf(stderr, "enchufe: %s\n", error);
    plugin_file_close(&file);
    return err;
}

static int is_plugin(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return len > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + len - 3, ".so") == 0;
}

static int list_plugins(const char *dir)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_plugin, alphasort), status = DONE;

    if (count < 0) {
        fprintf(stderr, "enchufe: cannot list %s: %s\n", dir, strerror(errno));
        return FAILED;
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0 || describe(path, false) != 0)
            status = FAILED;
        free(path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static int plugins(const struct arguments *arguments)
{
    const char *dir = arguments->plugin_dir != NULL ? arguments->plugin_dir : plugin_default_dir();

    if (arguments->word == NULL)
        return list_plugins(dir);
    char *path = plugin_file_path(dir, arguments->word, strchr(arguments->word, '/') != NULL);
    int err = path != NULL ? describe(path, true) : -ENOMEM;
    free(path);
    return err == 0 ? DONE : FAILED;
}

/* argv[0] is the command. */
static int command_main(int argc, char **argv)
{
    struct arguments arguments;
    const char *command = argv[0];
    bool is_run = strcmp(command, "run") == 0, is_check = strcmp(command, "check") == 0;

    if (strcmp(command, "call") == 0)
        return call_main(argc - 1, argv + 1);
    if (!is_run && !is_check && strcmp(command, "plugins") != 0)
        return wrong_usage("unknown command", command);
    int status = read_arguments(argc, argv, is_run, &arguments);
    if (status != DONE)
        return status;
    if (arguments.help)
        return fputs(usage, stdout) < 0 ? FAILED : DONE;
    const char *file = arguments.word != NULL ? arguments.word : ENCHUFE_CONFIG;
    return is_run     ? run(file, &arguments)
           : is_check ? check(file, &arguments)
                      : plugins(&arguments);
}

/* Who starts us may have closed them, and then a socket that takes such a number would be written to. */
static void open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    int status = DONE;

    open_standard();
    if (first == NULL)
        return wrong_usage("what to do is missing: run, check, plugins or call", NULL);
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0)
        fputs(usage, stdout);
    else if (strcmp(first, "--version") == 0)
        printf("enchufe " ENCHUFE_VERSION " (plugin ABI %d.%d)\n", ENCHUFE_ABI_MAJOR,
               ENCHUFE_ABI_MINOR);
    else
        status = command_main(argc - 1, argv + 1);
    if (fflush(stdout) != 0 && status == DONE) {
        fprintf(stderr, "enchufe: cannot write the output: %s\n", strerror(errno));
        status = FAILED;
    }
    return status;
}
