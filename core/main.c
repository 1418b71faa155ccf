/* The command line. */
#include "call.h"
#include "control.h"
#include "generation.h"
#include "init.h"
#include "landlock.h"
#include "log.h"
#include "log_sink.h"
#include "master.h"
#include "notify.h"
#include "probe.h"
#include "sandbox.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
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

/* A limit below this that cannot be raised is worth a word. */
#define FEW_DESCRIPTORS 10000

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
    "       enchufe status [--json]   what the server does\n"
    "       enchufe reload            read the configuration again\n"
    "       enchufe upgrade           execute the program again, with nothing lost\n"
    "       enchufe stop              let open connections finish, and end\n"
    "               --control PATH    the socket of another server\n"
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
    const char *control;
    char **argv; /* the whole command line */
    bool debug, json, help;
};

/* argv[0] is the command, and allowed the letters of its options. Returns DONE or WRONG_USAGE. */
static int read_arguments(int argc, char **argv, const char *allowed, struct arguments *arguments)
{
    static const struct option options[] = { { "plugin-dir", required_argument, NULL, 'p' },
                                             { "debug", no_argument, NULL, 'd' },
                                             { "control", required_argument, NULL, 'c' },
                                             { "json", no_argument, NULL, 'j' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    int c;

    opterr = 0;
    *arguments = (struct arguments){ .word = NULL };
    while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (c == ':')
            return wrong_usage("this option needs a value:", argv[optind - 1]);
        if (c == '?' || (c != 'h' && strchr(allowed, c) == NULL))
            return wrong_usage("unknown option", argv[optind - 1]);
        if (c == 'p')
            arguments->plugin_dir = optarg;
        else if (c == 'c')
            arguments->control = optarg;
        arguments->debug = arguments->debug || c == 'd';
        arguments->json = arguments->json || c == 'j';
        arguments->help = arguments->help || c == 'h';
    }
    if (optind < argc && strchr(allowed, 'W') != NULL)
        arguments->word = argv[optind++];
    if (optind < argc)
        return wrong_usage("one word too many:", argv[optind]);
    return DONE;
}

/* ---- run ---- */

/* Connections are descriptors, and the usual limit of 1,024 is a relic of select(). Returns the limit from
 * before. */
static rlim_t raise_descriptor_limit(struct rlimit *limit)
{
    rlim_t before;

    if (getrlimit(RLIMIT_NOFILE, limit) != 0)
        *limit = (struct rlimit){ .rlim_cur = FEW_DESCRIPTORS };
    before = limit->rlim_cur;
    limit->rlim_cur = limit->rlim_max;
    if (before < limit->rlim_max && setrlimit(RLIMIT_NOFILE, limit) != 0)
        limit->rlim_cur = before;
    return before;
}

static void log_descriptor_limit(rlim_t before, rlim_t now, int64_t max_connections)
{
    if (now > before)
        log_event(ENCHUFE_LOG_INFO, "descriptor limit raised", LOG_NUM("from", before),
                  LOG_NUM("to", now));
    if (now < FEW_DESCRIPTORS || (rlim_t)max_connections > now)
        log_event(ENCHUFE_LOG_WARNING, "descriptor limit is low", LOG_NUM("limit", now),
                  LOG_STR("advice", "raise the hard limit (ulimit -Hn, LimitNOFILE=)"));
}

static void open_log(const struct config *config, struct report *report)
{
    const char *target = config->server.log;
    int err = log_sink_open(target);
    const char *path;

    if (err != 0)
        report_add(report, &config->server.log_place, "cannot open %s: %s",
                   target != NULL ? target : "stderr", strerror(-err));
    else if (log_sink_is_syslog() && (err = log_sink_find_syslog(&path)) != 0)
        fprintf(stderr,
                "enchufe: warning: nobody listens at %s (%s), so all lines of the log are lost "
                "until the system's log comes up; log = stderr, or a file, needs none\n",
                path, strerror(-err));
}

/* Who plugins run as, and what keeps them to it. */
static void log_privileges(const struct generation *generation, bool debug)
{
    static const char *const filters[] = {
        [SANDBOX_FILTER_NONE] = "no",
        [SANDBOX_FILTER_STRICT] = "strict",
        [SANDBOX_FILTER_ALL] = "all",
    };
    const struct config *config = generation->config;
    const struct identity *identity = &generation->identity;
    char text[SANDBOX_TEXT];

    if (debug) {
        log_event(ENCHUFE_LOG_WARNING, "no sandbox in one process", LOG_NUM("uid", geteuid()));
        return;
    }
    if (geteuid() == 0)
        log_event(ENCHUFE_LOG_INFO, "workers run as", LOG_NUM("uid", identity->uid),
                  LOG_NUM("gid", identity->gid));
    log_event(ENCHUFE_LOG_INFO, "sandbox", LOG_NUM("landlock", landlock_abi()),
              LOG_STR("filter", filters[sandbox_filter(config, identity)]));
    if (*sandbox_lacking(config, identity, text) != '\0')
        log_event(ENCHUFE_LOG_WARNING, "sandbox is incomplete", LOG_STR("lacking", text),
                  LOG_STR("advice", "Linux 6.12 has all, where its administrator allows it"));
}

/* Reads and probes: what run and check have in common. */
static int load(struct generation *generation, const char *file, const struct arguments *arguments,
                struct report *report)
{
    generation_read(generation, file, arguments->plugin_dir, report);
    do {
        if (generation->files != NULL)
            probe_services(generation->config, generation->files, &generation->identity,
                           &generation->shadows, report);
    } while (generation_read_again(generation, file, arguments->plugin_dir, report));
    return report->count != 0 ? -EINVAL : 0;
}

static int run(const char *file, const struct arguments *arguments)
{
    char program[PATH_MAX];
    struct handover handover;
    struct generation generation;
    struct report report = { .lines = NULL };
    struct master_setup setup = { .file = file,
                                  .plugin_dir = arguments->plugin_dir,
                                  .program = program,
                                  .argv = arguments->argv,
                                  .handover = &handover,
                                  .debug = arguments->debug };
    struct rlimit limit;
    int status = FAILED;

    if (!arguments->debug)
        init_if_first();
    privileges_reduce();
    notify_init();
    int taken = handover_take(&handover);
    if (realpath("/proc/self/exe", program) == NULL)
        strcpy(program, "/proc/self/exe");
    load(&generation, file, arguments, &report);
    if (taken != 0)
        report_add(&report, NULL, "no memory for the sockets that were handed over");
    rlim_t before = raise_descriptor_limit(&limit);
    if (generation.config != NULL)
        handover_check_names(&handover, generation.config, &report);
    /* Bound also where something is wrong already, so that one run tells everything. */
    generation_bind(&generation, &(struct sockets_before){ .serving = &handover.sockets }, &report);
    if (generation.config != NULL && report.count == 0)
        open_log(generation.config, &report);
    if (report.count == 0) {
        const struct server_config *server = &generation.config->server;
        log_setup(server->log_level, (enum log_format)server->log_format);
        log_descriptor_limit(before, limit.rlim_cur, server->max_connections);
        log_privileges(&generation, arguments->debug);
        status = master_run(&setup, &generation);
    } else {
        handover_fail(&handover, &report);
        report_print(&report, stderr);
    }
    generation_free(&generation);
    handover_end(&handover, false);
    report_free(&report);
    log_sink_close();
    return status;
}

/* ---- check ---- */

static void say_notes(const struct report *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        fprintf(stderr, "note: %s\n", notes->lines[i].text);
}

static int check(const char *file, const struct arguments *arguments)
{
    struct generation generation;
    struct report report = { .lines = NULL };
    int err = load(&generation, file, arguments, &report);

    if (err == 0) {
        privileges_allow(generation.config, &generation.identity, &report);
        generation_note_shadows(&generation, &report);
        say_notes(&report);
    }
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
    if (err == -ENOENT && strchr(arguments->word, '/') == NULL)
        fputs("enchufe: `enchufe plugins` lists those there are; a path has a / in it, such as "
              "./echo.so\n",
              stderr);
    free(path);
    return err == 0 ? DONE : FAILED;
}

/* ---- commands ---- */

static int run_command(const struct arguments *arguments)
{
    return run(arguments->word != NULL ? arguments->word : ENCHUFE_CONFIG, arguments);
}

static int check_command(const struct arguments *arguments)
{
    return check(arguments->word != NULL ? arguments->word : ENCHUFE_CONFIG, arguments);
}

static int ask(const struct arguments *arguments, const char *command)
{
    return control_call(arguments->control != NULL ? arguments->control : control_default_path(),
                        command);
}

static int status_command(const struct arguments *arguments)
{
    return ask(arguments, arguments->json ? "status json" : "status");
}

static int reload_command(const struct arguments *arguments)
{
    return ask(arguments, "reload");
}

static int upgrade_command(const struct arguments *arguments)
{
    return ask(arguments, "upgrade");
}

static int stop_command(const struct arguments *arguments)
{
    return ask(arguments, "stop");
}

static const struct command {
    const char *name;
    const char *allowed; /* letters of options; W: a word */
    int (*run)(const struct arguments *arguments);
} commands[] = {
    { "run", "Wpd", run_command },       { "check", "Wp", check_command },
    { "plugins", "Wp", plugins },        { "status", "cj", status_command },
    { "reload", "c", reload_command },   { "stop", "c", stop_command },
    { "upgrade", "c", upgrade_command },
};

/* argv[0] is the command. */
static int command_main(int argc, char **argv)
{
    struct arguments arguments;

    if (strcmp(argv[0], "call") == 0)
        return call_main(argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        int status = read_arguments(argc, argv, commands[i].allowed, &arguments);
        if (status != DONE)
            return status;
        if (arguments.help)
            return fputs(usage, stdout) < 0 ? FAILED : DONE;
        arguments.argv = argv - 1;
        return commands[i].run(&arguments);
    }
    return wrong_usage("unknown command", argv[0]);
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
        return wrong_usage(
            "what to do is missing: run, check, plugins, call, status, reload, upgrade or stop",
            NULL);
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
