/* Unit tests of upgrades: what cannot go wrong from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "upgrade.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Closes the descriptor that the loop waits with. */
static void break_loop(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char path[32], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "eventpoll") != NULL)
            close(fd);
    }
}

static void done(void *context, bool good, pid_t pid, const char *text)
{
    (void)context;
    (void)good;
    (void)pid;
    fail_msg("%s", text);
}

static void a_child_that_cannot_be_heard_is_ended(void **state)
{
    char *argv[] = { (char *)"sleep", (char *)"1000", NULL };
    const struct sockets sockets = { .items = NULL };
    const struct config config = { .file = NULL };
    struct upgrade upgrade = {
        .loop = loop_create(), .program = "/bin/sleep", .argv = argv, .done = done
    };

    (void)state;
    break_loop();
    assert_true(upgrade_begin(&upgrade, &sockets, &config, -1) < 0);
    assert_int_equal(upgrade.pid, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    upgrade_abandon(&upgrade);
    loop_drop(upgrade.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_that_cannot_be_heard_is_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
