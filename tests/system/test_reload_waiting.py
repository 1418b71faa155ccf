"""A reload that comes while an old generation drains: read and answered at once, and served in its turn."""

import contextlib
import itertools
import os
import signal
import socket

import pytest

from client import Client, socket_address
from controlled import Controlled, is_refused
from processes import descriptors_at_rest
from server import service
from settings import DEADLINE, wait_until

FOR_EVER = {"drain_timeout": "none"}
ECHO = service("echo")


@contextlib.contextmanager
def draining(services=ECHO, then=None, settings=None, **keys):
    """A server of which generation 2 serves, while a connection holds generation 1, and what lets it go."""
    with Controlled(services, {**FOR_EVER, **(settings or {})}, **keys) as server:
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            if then is not None:
                server.write(then)
            server.reload()
            assert server.generations()["draining"]["number"] == 1
            yield server, held.socket.close


def with_extra(server, listen, **keys):
    server.write(ECHO + service("extra", "echo", listen, **keys))


def said_by(process):
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def answers(endpoint, count=1):
    for _ in range(count):
        with Client(*socket_address(endpoint)) as client:
            assert client.ask(b"hola", 4) == b"hola"


def free_port():
    """One that nobody has for either kind, and that the system gives to no client."""
    for port in itertools.count(12000 + os.getpid() % 7000):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            with contextlib.suppress(OSError):
                stream.bind(("", port))
                datagram.bind(("", port))
                return port


def listening_sockets(port):
    with open("/proc/net/tcp", encoding="ascii") as table:
        return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
                   for line in table.readlines()[1:])


def test_what_is_wrong_is_told_at_once():
    with draining() as (server, _):
        server.write(ECHO + "oops = 1\n")
        for _ in range(2):
            assert "oops" in server.reload(status=1)
        server.write(service("echo", "nowhere"))
        assert "nowhere.so" in server.reload(status=1)
        assert sorted(server.generations()) == ["draining", "serving"]


def test_what_is_right_waits_until_the_old_generation_is_gone_and_the_status_shows_it():
    with draining() as (server, let_go):
        with_extra(server, "unix://{dir}/extra.sock")
        reload = server.reload_in_background()
        waits = server.wait_for_waiting(3)
        assert waits["workers"] == [] and waits["left"] is None
        assert "generation 3 waiting, for " in server.command("status").stdout
        assert server.with_workers() == 2 and reload.poll() is None
        assert is_refused(f"unix://{server.path('extra.sock')}")
        let_go()
        assert said_by(reload) == (0, "generation 3 serves\n", "")
        answers(f"unix://{server.path('extra.sock')}")


def test_a_newer_one_takes_the_place_of_one_that_waits_and_all_that_waited_are_told():
    with draining() as (server, let_go):
        reloads = []
        for number in (3, 4, 5):
            server.write(ECHO + service(f"extra-{number}", "echo"))
            reloads.append(server.reload_in_background())
            server.wait_for_waiting(number)
        let_go()
        for reload in reloads:
            assert said_by(reload) == (0, "generation 5 serves\n", "")
        assert [s["name"] for s in server.status()["services"]] == ["echo", "extra-5"]


def test_a_newer_one_that_is_wrong_is_told_alone_and_the_one_that_waits_stays():
    with draining() as (server, let_go):
        with_extra(server, "unix://{dir}/extra.sock")
        reload = server.reload_in_background()
        server.wait_for_waiting(3)
        for text in (ECHO + "oops = 1\n", ECHO + service("extra", "echo", "unix://{dir}/enchufe.ini")):
            server.write(text)
            server.reload(status=1)
            assert server.wait_for_waiting(3) and reload.poll() is None
        let_go()
        assert said_by(reload) == (0, "generation 3 serves\n", "")
        answers(f"unix://{server.path('extra.sock')}")


def test_one_that_waits_and_then_does_not_start_leaves_the_serving_one():
    with draining() as (server, let_go):
        server.write(ECHO + service("extra", "refuser", "unix://{dir}/extra.sock", at="start"))
        reload = server.reload_in_background()
        server.wait_for_waiting(3)
        let_go()
        status, _, err = said_by(reload)
        assert status == 1 and "the new workers do not start" in err
        server.wait_for_generation(2)
        assert not os.path.exists(server.path("extra.sock"))
        answers(server.endpoint("echo"))


def test_sockets_of_one_whose_place_is_taken_are_closed_and_those_that_stay_are_kept():
    port = free_port()
    with draining() as (server, let_go):
        with_extra(server, f"tcp://127.0.0.1:{port} udp://127.0.0.1:{port} unix://{{dir}}/goes.sock "
                           "unix://{dir}/stays.sock")
        server.hang_up()
        server.wait_for_waiting(3)
        inode = os.stat(server.path("stays.sock")).st_ino
        assert os.path.exists(server.path("goes.sock"))
        with_extra(server, "unix://{dir}/stays.sock")
        server.hang_up()
        server.wait_for_waiting(4)
        assert not os.path.exists(server.path("goes.sock"))
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as other:
                other.bind(("127.0.0.1", port))
        let_go()
        server.wait_for_generation(4)
        assert os.stat(server.path("stays.sock")).st_ino == inode
        answers(f"unix://{server.path('stays.sock')}")


def test_an_address_may_change_in_the_file_while_the_first_one_waits():
    """0.0.0.0 and 127.0.0.1 cannot both be bound: the newer one is, when the other has gone."""
    port = free_port()
    with draining() as (server, let_go):
        for number, host in ((3, "0.0.0.0"), (4, "127.0.0.1"), (5, "")):
            with_extra(server, f"udp://{host}:{port} tcp://{host}:{port}")
            server.hang_up()
            server.wait_for_waiting(number)
        let_go()
        server.wait_for_generation(5)
        answers(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_what_another_program_has_is_told_at_once_also_where_one_that_waits_is_in_the_way(kind):
    """127.0.0.1 waits; 0.0.0.0 would have to wait for that, but 127.0.0.2 is another's."""
    port = free_port()
    with draining() as (server, let_go):
        with_extra(server, f"{kind}://127.0.0.1:{port}")
        reload = server.reload_in_background()
        server.wait_for_waiting(3)
        with socket.socket(socket.AF_INET, {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]) as other:
            other.bind(("127.0.0.2", port))
            with_extra(server, f"{kind}://0.0.0.0:{port}")
            assert f"{kind}://0.0.0.0:{port} is in use by another program" in server.reload(status=1)
            assert server.wait_for_waiting(3) and reload.poll() is None
        let_go()
        assert said_by(reload) == (0, "generation 3 serves\n", "")


def test_what_another_program_has_is_told_at_once_also_where_one_that_drains_is_in_the_way():
    port = free_port()
    extra = ECHO + service("extra", "echo", f"tcp://127.0.0.1:{port}")
    with draining(extra, ECHO) as (server, _), socket.socket() as other:
        other.bind(("127.0.0.2", port))
        with_extra(server, f"tcp://0.0.0.0:{port}")
        assert f"tcp://0.0.0.0:{port} is in use by another program" in server.reload(status=1)
        assert sorted(server.generations()) == ["draining", "serving"]


def test_an_endpoint_comes_back_although_the_generation_that_had_it_still_drains():
    both = "tcp://127.0.0.1:{port} udp://127.0.0.1:{port} unix://{{dir}}/extra.sock".format(port=free_port())
    with draining(ECHO + service("extra", "echo", both), ECHO) as (server, let_go):
        with_extra(server, both)
        reload = server.reload_in_background()
        server.wait_for_waiting(3)
        let_go()
        assert said_by(reload) == (0, "generation 3 serves\n", "")
        for endpoint in server.service_status("extra")["endpoints"]:
            if not endpoint.startswith("udp"):
                answers(endpoint, 20)
        assert os.path.exists(server.path("extra.sock"))


def test_an_endpoint_that_another_program_took_before_it_came_back_is_an_error():
    unix = "unix://{dir}/extra.sock"
    with draining(ECHO + service("extra", "echo", unix), ECHO) as (server, let_go):
        with_extra(server, unix)
        reload = server.reload_in_background()
        server.wait_for_waiting(3)
        os.unlink(server.path("extra.sock"))
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(server.path("extra.sock"))
            other.listen()
            let_go()
            status, _, err = said_by(reload)
            assert status == 1 and "another server listens there" in err
        server.wait_for_generation(2)
        assert os.path.exists(server.path("extra.sock")), "it is the other program's"


@pytest.mark.parametrize("after", [(8, 2), (2, 8), (8, 8), (1, 1)])
def test_the_number_of_loops_is_that_of_the_one_that_serves_in_the_end(after):
    """Sockets that the others have added are not left for nobody to read."""
    def config(threads, more=""):
        return service("echo", threads=threads) + more
    with draining(config(1), settings={"threads": 8}) as (server, let_go):
        server.write(config(4))
        server.hang_up()
        server.wait_for_waiting(3)
        server.write(config(after[0], service("extra", "echo", "unix://{dir}/enchufe.ini")))
        server.reload(status=1)
        before = server.serving_pids()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: server.serving_pids() not in ([], before), "the worker is restarted")
        server.write(config(after[1]))
        server.hang_up()
        server.wait_for_waiting(5)
        answers(server.endpoint("echo"), 30)
        let_go()
        server.wait_for_generation(5)
        answers(server.endpoint("echo"), 60)
        assert listening_sockets(server.port("echo")) >= after[1]


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_while_one_waits_and_another_is_read(sig):
    with draining() as (server, let_go):
        with_extra(server, "unix://{dir}/extra.sock")
        waiting = [server.reload_in_background()]
        server.wait_for_waiting(3)
        server.write(service("load_endless"))
        waiting.append(server.reload_in_background())
        server.wait_for_lines("reloading", generation="4")
        server.process.send_signal(sig)
        for reload in waiting:
            assert said_by(reload) == (1, "", "the server is leaving\n")
        assert not os.path.exists(server.path("extra.sock"))
        let_go()
        assert server.process.wait(DEADLINE) == 0


def test_no_descriptor_is_left_by_those_whose_place_was_taken():
    with draining() as (server, let_go):
        counts = []
        for number in range(3, 9):
            with_extra(server, "tcp://127.0.0.1:0 udp://127.0.0.1:0 unix://{dir}/extra.sock", threads=2)
            server.hang_up()
            server.wait_for_waiting(number)
            wait_until(lambda: not server.left_over(), "no child is left")
            counts.append(descriptors_at_rest(server.pid))
        assert max(counts) <= counts[0], counts
        let_go()
        server.wait_for_generation(8)


def test_the_servers_end_waits_no_longer_than_the_newest_drain_timeout_says():
    with Controlled(ECHO, FOR_EVER) as server, server.connect("echo") as held:
        assert held.ask(b"hola", 4) == b"hola"
        server.write(ECHO, drain_timeout="500ms")
        server.reload()
        assert server.generations()["draining"]["left"] is None
        server.process.send_signal(signal.SIGTERM)
        assert held.receive_all() == b""
        assert server.process.wait(DEADLINE) == 0
