/* Forks a process that holds every descriptor of the worker, connections among them. Commands are bytes:
 *   f  fork; the answer is the pid of the child and a newline. It logs a warning at each SIGUSR1, until it is killed
 *   c  close                  a  abort
 * and any other is echoed. */
#include <enchufe/plugin.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

static void forker_fork(enchufe_conn *conn)
{
    char text[32];
    sigset_t told;
    int number;

    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &told, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (sigwait(&told, &number) == 0)
            enchufe_log(enchufe_conn_service(conn), ENCHUFE_LOG_WARNING, "a child of forker logs");
        _exit(1);
    }
    pthread_sigmask(SIG_UNBLOCK, &told, NULL);
    if (pid < 0) {
        enchufe_abort(conn); /* -1 is no pid to tell anybody */
        return;
    }
    enchufe_write(conn, text, (size_t)snprintf(text, sizeof text, "%d\n", (int)pid));
}

static size_t forker_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    const char *commands = data;

    for (size_t i = 0; i < len; i++) {
        if (commands[i] == 'f')
            forker_fork(conn);
        else if (commands[i] == 'c')
            enchufe_close(conn);
        else if (commands[i] == 'a')
            enchufe_abort(conn);
        else
            enchufe_write(conn, &commands[i], 1);
    }
    return len;
}

ENCHUFE_PLUGIN(.name = "forker", .summary = "forks while it serves", .on_data = forker_on_data);
