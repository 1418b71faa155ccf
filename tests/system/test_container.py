"""The server as process 1 of a container."""

import os
import shutil
import signal
import subprocess

import pytest

from client import Client, socket_address
from processes import children_of, process_lives, process_state
from server import service
from settings import DEADLINE, ENCHUFE, wait_until
from upgradable import Upgradable

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def can_unshare():
    return shutil.which("unshare") and \
        subprocess.run(UNSHARE + ["true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="needs the right to make namespaces")


def name_of(pid):
    with open(f"/proc/{pid}/comm", encoding="latin-1") as file:
        return file.read().strip()


class Contained(Upgradable):
    """`process` is unshare(1); pids are those outside."""

    def start(self):
        script = os.path.join(self.directory, "container")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec {' '.join(UNSHARE)} {ENCHUFE} \"$@\"\n")
        os.chmod(script, 0o755)
        self.binary = script
        super().start()
        self.init, = children_of(self.pid)

    def masters(self):
        return [pid for pid in children_of(self.init) if process_lives(pid)]

    def ends(self, status):
        assert self.process.wait(DEADLINE) == status, self.log()
        assert not self.left_behind()

    def echoes(self):
        with Client(*socket_address(self.endpoint("echo"))) as client:
            return client.ask(b"hola", 4) == b"hola"


def test_a_signal_to_process_1_reaches_the_server_whose_status_it_ends_with():
    for sig in (signal.SIGTERM, signal.SIGINT):
        with Contained(service("echo")) as server:
            assert server.echoes()
            os.kill(server.init, signal.SIGHUP)
            server.wait_for_lines("drained", generation="1")
            os.kill(server.init, sig)
            server.ends(0)
    with Contained(service("echo"), crashes=True) as server:
        os.kill(server.masters()[0], signal.SIGKILL)
        server.ends(128 + signal.SIGKILL)


def test_orphans_are_reaped():
    with Contained(service("echo") + service("child", "load_child", isolate="yes", sandbox="no")) as server:
        master, *orphans = wait_until(lambda: len(server.masters()) > 1 and server.masters(),
                                      "a constructor's child has lost its parent")
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
        wait_until(lambda: not any(process_state(orphan) for orphan in orphans), "all are reaped")
        assert server.masters() == [master] and server.echoes()
        # What still lives in the worker's name ends with its namespace or is killed by hand.
        left = [pid for worker in children_of(master) for pid in children_of(worker)]
        os.kill(server.init, signal.SIGTERM)
        server.wait_for_lines("ended")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        server.ends(0)


def test_an_upgrade_does_not_end_the_container():
    with Contained(service("echo")) as server:
        first, = server.masters()
        for _ in range(2):
            done = server.command("upgrade")
            assert done.returncode == 0, done
            wait_until(lambda: not process_lives(first), "the old server has left")
            second, = wait_until(server.masters, "process 1 has the new server")
            assert second != first and server.echoes()
            first = second
        os.kill(server.init, signal.SIGTERM)
        server.ends(0)


def upgraded_with_a_connection(server, held):
    """Returns the old server, which drains because of the connection, and the new one."""
    assert held.ask(b"hola", 4) == b"hola"
    old, = server.masters()
    assert server.command("upgrade").returncode == 0
    return old, next(pid for pid in children_of(old) if name_of(pid) == "enchufe")


def test_signals_reach_the_new_server_while_the_old_one_drains():
    with Contained(service("echo")) as server:
        with Client(*socket_address(server.endpoint("echo"))) as held:
            old, new = upgraded_with_a_connection(server, held)
            os.kill(server.init, signal.SIGHUP)
            server.wait_for_lines("drained", generation="1")
            assert process_lives(old) and server.echoes()
            os.kill(server.init, signal.SIGTERM)
            server.wait_for_lines("ended")
            wait_until(lambda: not process_lives(new), "the new server has ended")
            assert process_lives(old)
            assert held.ask(b"hola", 4) == b"hola", "the old server takes its time"
        server.ends(0)


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_impatience_ends_the_old_server_as_well(signals):
    with Contained(service("echo")) as server:
        with Client(*socket_address(server.endpoint("echo"))) as held:
            _, new = upgraded_with_a_connection(server, held)
            for sig in signals:
                os.kill(server.init, sig)
                wait_until(lambda: not process_lives(new), "the new server has ended")
            server.ends(0)


def test_a_signal_reaches_the_old_server_where_the_new_one_has_died():
    with Contained(service("echo"), crashes=True) as server:
        with Client(*socket_address(server.endpoint("echo"))) as held:
            _, new = upgraded_with_a_connection(server, held)
            os.kill(new, signal.SIGKILL)
            wait_until(lambda: not process_lives(new), "the new server has died")
            os.kill(server.init, signal.SIGTERM)
            server.ends(128 + signal.SIGKILL)
