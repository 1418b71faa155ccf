"""What plugins eat up: no more than a share, and their neighbours' clients notice nothing."""

import os
import re
import signal
import time

import pytest

from processes import process_state
from server import Server, service
from settings import DEADLINE, SANITIZED, wait_until
from trespasser import TRACED, Trespasser, whole_sandbox  # noqa: F401

# Far below what a client would wait for, far above what a busy machine takes.
QUICK = DEADLINE / 4


def answers_quickly(client, times=20):
    for _ in range(times):
        start = time.monotonic()
        assert client.ask(b"hola", 4) == b"hola"
        assert time.monotonic() - start < QUICK


modes = pytest.mark.parametrize("sandbox", ["yes", "strict"])


def ask_beside(trespasser, request, client):
    """The number that the plugin answers, while the client of another worker has its own."""
    trespasser.client.send(request)
    answers_quickly(client)
    return int(trespasser.client.receive_line())


@modes
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow is larger than any limit")
def test_memory_is_limited_and_others_answer(whole_sandbox, sandbox):
    with Server("[server]\nthreads = 2\n" + service("echo") +
                service("trespass", max_memory="64m", isolate="yes", sandbox=sandbox)) as server:
        with Trespasser(server) as trespasser, server.connect("echo") as client:
            assert 16 <= ask_beside(trespasser, b"eat\n", client) < 64
            assert 16 <= ask_beside(trespasser, b"eat\n", client) < 64


@modes
def test_descriptors_are_limited_and_others_answer(whole_sandbox, sandbox):
    with Server(service("trespass", max_files=200, isolate="yes", sandbox=sandbox) + service("echo")) as server:
        with Trespasser(server) as trespasser, server.connect("echo") as client:
            assert ask_beside(trespasser, b"descriptors\n", client) < 200
            assert trespasser.ask("thread") == "done"


def test_core_dumps_only_where_asked(tmp_path):
    for word, soft in (("no", "0"), ("yes", None)):
        with Server(f"[server]\ncore_dumps = {word}\n" + service("echo")) as server:
            with open(f"/proc/{server.worker()}/limits", encoding="ascii") as file:
                limit = re.search(r"Max core file size\s+(\S+)\s+(\S+)", file.read()).groups()
            assert limit[1] == soft if soft else limit[1] != "0"


# ---- processes ----

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can be another user")

# Debian's own, of whom nothing runs; one for each of the processes that pytest runs tests in.
USERS = ["games", "man", "lp", "news", "uucp", "list", "irc", "backup"]
USER = USERS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % len(USERS)]

def group_of(worker):
    """The processes that came of a worker, and have not ended."""
    found = []
    for name in os.listdir("/proc"):
        state = process_state(name) if name.isdigit() else None
        if state is not None and state[0] not in "ZX" and int(state[2]) == worker:
            found.append(int(name))
    return found


def explode(server):
    """How many processes the plugin got."""
    with server.connect("bomb") as client:
        client.send(b"!")
        return int(client.receive_line())


def bombed(**keys):
    """As a user of its own: the kernel counts by user, and other tests' servers are nobody."""
    return Server(f"[server]\nthreads = 1\nuser = {USER}\n" + service("bomb", isolate="yes", **keys) +
                  service("echo"), crashes=True)


def worker_of(server, name):
    pids = [line["pid"] for line in server.lines("worker started") if line["worker"] == name]
    return int(pids[-1])


@needs_root
# The rest of the limit depends on what else the user runs; the plugin itself stops at 500.
@pytest.mark.parametrize("sandbox, least, most", [("yes", 8, 400), ("no", 8, 400), ("strict", 0, 0)])
def test_processes_are_limited_and_others_answer(whole_sandbox, sandbox, least, most):
    if sandbox == "strict" and TRACED:
        pytest.skip("the leak checker needs processes")
    with bombed(sandbox=sandbox) as server, server.connect("echo") as client:
        assert least <= explode(server) <= most
        answers_quickly(client)


@needs_root
@pytest.mark.parametrize("end", ["crash", "reload", "stop"])
def test_what_a_plugin_forked_goes_with_its_worker(end):
    with bombed(sandbox="no") as server:
        worker = worker_of(server, "bomb")
        explode(server)
        assert len(group_of(worker)) > 1
        if end == "crash":
            os.kill(worker, signal.SIGKILL)
        elif end == "reload":
            server.process.send_signal(signal.SIGHUP)
        else:
            server.stop()
        wait_until(lambda: not group_of(worker), "the processes are gone")


@needs_root
def test_a_worker_that_is_started_again_has_as_much_room_as_before(whole_sandbox):
    with bombed() as server:
        for _ in range(3):
            worker = worker_of(server, "bomb")
            assert explode(server) >= 8
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda old=worker: worker_of(server, "bomb") != old, "another worker")
