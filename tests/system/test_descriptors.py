"""A process that runs plugins has the descriptors that it needs, and none that are the master's alone."""

import os
import signal
import socket

import pytest

from client import Client
from controlled import Controlled
from server import service
from settings import VARIANT, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"


def descriptors(pid, thread=""):
    """What each is: `socket:[123]`, `anon_inode:[eventpoll]`, a path."""
    found = []
    folder = f"/proc/{pid}/task/{thread}/fd" if thread else f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{fd}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def thread_name(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as file:
        return file.read().strip()


def count(links, word):
    return sum(word in link for link in links)


def kinds(pid, word):
    return sorted(link for link in descriptors(pid) if word in link)


def sockets_of(pid):
    return {link for link in descriptors(pid) if link.startswith("socket:")}


def worker_pids(generation):
    return {worker["name"]: worker["pid"] for worker in generation["workers"]
            if worker["pid"]}


def test_a_worker_has_the_sockets_and_plugins_of_its_own_services_only():
    inherited = os.open("/etc/passwd", os.O_RDONLY)
    config = service("echo", listen=BOTH) + service("apart", "drain", isolate="yes", threads=1)
    with Controlled(config, {"threads": 2, "watch": "yes"}, pass_fds=[inherited]) as server:
        with Client(socket.AF_UNIX, server.control), server.connect("echo", "tcp") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.write(config + service("later", "drain", isolate="yes"))
            server.reload()
            draining, serving = (worker_pids(server.generations()[state])
                                 for state in ("draining", "serving"))
            # The old one of `apart` serves nobody, and may be gone at any time.
            every = [("main", draining["main"]), *serving.items()]
            master = sockets_of(server.pid)
            for name, pid in every:
                loops = 1 if name == "apart" else 2
                assert len(kinds(pid, "eventpoll")) == loops, (name, descriptors(pid))
                assert len(kinds(pid, "timerfd")) == loops
                assert len(kinds(pid, "memfd")) == 1
                assert not kinds(pid, "signalfd") and not kinds(pid, "inotify")
                assert not kinds(pid, "/etc/passwd")
                # Two loops, TCP and UDP; the others have a socket for each loop. And what the log's bell is rung with.
                assert len(sockets_of(pid) & master) == {"main": 4, "apart": 1, "later": 2}[name] + 1
            assert len(sockets_of(serving["main"]) & sockets_of(serving["apart"])) == 1
            held.end()
            assert held.receive_all() == b""
    os.close(inherited)


@pytest.mark.skipif(VARIANT == "tsan", reason="ThreadSanitizer knows one table")
def test_the_thread_for_orders_holds_nothing_of_what_the_loop_serves():
    """Else what the loop closes would stay open, and each use of a descriptor would cost more."""
    with Controlled(service("echo", listen=BOTH), {"threads": 1}) as server:
        with server.connect("echo", "tcp") as client:
            assert client.ask(b"hola", 4) == b"hola"
            worker = server.worker()
            orders, = [thread for thread in os.listdir(f"/proc/{worker}/task")
                       if thread_name(worker, thread) == "orders"]
            held, loop = descriptors(worker, orders), descriptors(worker, worker)
            for kind in ("eventpoll", "timerfd", "memfd"):
                assert count(loop, kind) == 1 and count(held, kind) == 0, (kind, held)
            # The channel of the master, that for the log, and the log's bell; the loop has the connection and the two
            # listeners as well.
            assert count(held, "socket:") == 3 and count(loop, "socket:") == 7, (held, loop)
            assert len(sockets_of(server.pid) & set(loop)) == 3
            assert len(sockets_of(server.pid) & set(held)) == 1


def test_a_plugin_that_is_probed_finds_nothing_of_the_masters():
    """Its constructor does not return, and leaves a process behind that holds what there was."""
    with Controlled(service("echo", listen=BOTH), {"watch": "yes"}) as server:
        with open(server.path("hang"), "w", encoding="ascii"):
            pass
        server.write(service("echo", listen=BOTH) + service("more", "load_child", isolate="yes", sandbox="no"))
        server.hang_up()

        def children():
            if not os.path.exists(server.path("children")):
                return []
            with open(server.path("children"), encoding="ascii") as file:
                return list(map(int, file))
        probed = wait_until(children, "the constructor has left a child")[0]
        try:
            assert descriptors(probed)
            bell = sockets_of(server.pid) & sockets_of(server.worker()) & sockets_of(probed)
            assert len(bell) == 1 and sockets_of(probed) & sockets_of(server.pid) == bell
            assert not kinds(probed, "eventpoll") and not kinds(probed, "inotify")
        finally:
            os.kill(probed, signal.SIGKILL)
