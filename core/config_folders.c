/* Finds folders that are not there, in which the server is to make a socket or its log. */
#include "config_folders.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* What cannot be looked into may well be there. */
static void check_folder(const char *path, const struct place *place, struct report *report)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    struct stat st;
    size_t len = slash != NULL ? (size_t)(slash - path) : 0;

    if (len == 0 || len >= sizeof folder)
        return;
    memcpy(folder, path, len);
    folder[len] = '\0';
    bool there = stat(folder, &st) == 0;
    if ((there && !S_ISDIR(st.st_mode)) || (!there && errno == ENOTDIR))
        report_add(report, place, "%s cannot be made: %s is no folder", path, folder);
    else if (!there && errno == ENOENT)
        report_add(report, place, "%s cannot be made: there is no folder %s", path, folder);
}

void config_check_folders(const struct config *config, struct report *report)
{
    const struct server_config *server = &config->server;

    if (server->log != NULL && *server->log == '/')
        check_folder(server->log, &server->log_place, report);
    if (server->control != NULL)
        check_folder(server->control, &server->control_place, report);
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = &config->services[i];

        for (size_t n = 0; n < service->listen_count; n++)
            if (service->listens[n].endpoint.kind == ENCHUFE_UNIX)
                check_folder(service->listens[n].endpoint.path, &service->listens[n].place, report);
    }
}
