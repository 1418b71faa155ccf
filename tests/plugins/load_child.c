/* Its constructor leaves a child behind that keeps every descriptor, and where a file `hang` is in the
 * working directory it does not return. The file `children` there gets the child's pid. */
#include <enchufe/plugin.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((constructor)) static void load_child_constructor(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        setsid();
        sleep(120); /* the test ends it long before */
        _exit(0);
    }
    /* Until then it is in our process group, and ends with it. */
    for (int i = 0; i < 5000 && pid > 0 && getsid(pid) != pid; i++)
        usleep(1000);
    FILE *children = fopen("children", "a");
    if (children != NULL && pid > 0)
        fprintf(children, "%d\n", (int)pid);
    if (children != NULL)
        fclose(children);
    while (access("hang", F_OK) == 0)
        pause();
}

static size_t load_child_on_data(enchufe_conn *conn, const void *data, size_t len)
{
    enchufe_write(conn, data, len);
    return len;
}

ENCHUFE_PLUGIN(.name = "load_child", .on_data = load_child_on_data);
