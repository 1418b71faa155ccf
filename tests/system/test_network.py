"""In which network plugin code is: one without anything, unless its section names where to connect to."""

import os
import re
import socket

import pytest

from controlled import Controlled
from processes import process_lives
from server import Server, service
from settings import VARIANT, wait_until
from trespasser import (DENIED, NOWHERE, TRACED, Trespasser, no_namespaces, status_of, whole_sandbox)  # noqa: F401
from upgradable import Upgradable

pytestmark = pytest.mark.skipif(VARIANT == "tsan", reason="the sanitizer's thread cannot go there")

ROOT = os.geteuid() == 0
MPTCP = 262

ATTEMPTS = ["tcp", "mptcp", "fastopen", "udp", "datagram", "datagram6", "sctp", "raw", "abstract"]
THROUGH_A_RING = ["tcp", "mptcp", "fastopen", "udp", "datagram", "abstract"]


def network_of(pid):
    return os.readlink(f"/proc/{pid}/ns/net")


class Targets:
    """What there is to connect to outside: `of(ATTEMPT)` is the word for it."""

    def __init__(self):
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.both = None
        try:
            self.both = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
            self.both.bind(("127.0.0.1", 0))
            self.both.listen()
        except OSError:
            pass
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        self.name = "enchufe-test-%d" % os.getpid()
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.name)
        self.abstract.listen()

    def of(self, attempt):
        if attempt == "abstract":
            return self.name
        if attempt in ("udp", "datagram", "datagram6"):
            return self.datagrams.getsockname()[1]
        return (self.both if self.both and attempt == "mptcp" else self.stream).getsockname()[1]

    def close(self):
        for one in (self.stream, self.both, self.datagrams, self.abstract):
            if one:
                one.close()


@pytest.fixture(scope="module")
def targets():
    found = Targets()
    yield found
    found.close()


class Starter:
    """Starts servers as one of those who do."""

    def __init__(self, nobody):
        self.nobody = nobody

    def section(self, name, plugin=None, **keys):
        return service(name, self.nobody.plugin(plugin or name) if self.nobody else plugin, **keys)

    def server(self, config, **keys):
        return self.nobody.server(config, **keys) if self.nobody else Server(config, **keys)


@pytest.fixture(params=["as who tests", "as nobody"])
def starter(request):
    return Starter(request.getfixturevalue("as_nobody") if request.param == "as nobody" else None)


# ---- what gets out ----

@pytest.mark.parametrize("sandbox", ["yes", "strict"])
def test_no_socket_of_a_plugins_own_gets_out(whole_sandbox, starter, targets, sandbox):
    with starter.server("".join(starter.section(name, sandbox=sandbox)
                                for name in ("trespass", "echo"))) as server:
        worker = server.worker()
        with Trespasser(server) as trespasser:
            answers = {attempt: trespasser.ask(attempt, targets.of(attempt)) for attempt in ATTEMPTS}
        assert {attempt: answer for attempt, answer in answers.items()
                if answer not in NOWHERE} == {}
        assert network_of(worker) != network_of("self")
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
        assert server.worker() == worker


def test_no_socket_of_a_ring_gets_out(whole_sandbox, starter, targets):
    with starter.server(starter.section("ring") + starter.section("echo")) as server:
        with Trespasser(server, "ring") as trespasser:
            if trespasser.ask("open /dev/null") != "done":
                pytest.skip("this kernel has no io_uring")
        for attempt in THROUGH_A_RING:
            with Trespasser(server, "ring") as trespasser:
                assert trespasser.ask(attempt, targets.of(attempt)) in NOWHERE, attempt
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


@pytest.mark.parametrize("plugin, attempts", [("trespass", ATTEMPTS), ("ring", THROUGH_A_RING)])
def test_all_of_it_works_without_a_sandbox(targets, plugin, attempts):
    """Or the tests above would show nothing."""
    needless = {"sctp", "raw", "datagram6"}  # may be missing here, or are no matter of the sandbox
    if targets.both is None:
        needless.add("mptcp")
    with Server(service("x", plugin, sandbox="no", isolate="yes")) as server:
        for attempt in set(attempts) - needless:
            with Trespasser(server, "x") as trespasser:
                answer = trespasser.ask(attempt, targets.of(attempt))
                if answer.startswith("ring"):
                    pytest.skip("this kernel has no io_uring")
                assert answer in ("done", "EOPNOTSUPP") if attempt == "fastopen" else answer == "done", attempt


def test_strict_disconnects_no_client_to_connect_elsewhere(whole_sandbox, targets):
    with Server(service("trespass", sandbox="strict")) as server:
        with Trespasser(server) as trespasser, server.connect("trespass") as client:
            own = client.socket.getsockname()[1]
            assert client.ask(b"open /dev/null\n", 5) == b"done\n"
            assert trespasser.ask("reuse", targets.of("tcp"), own) == "EPERM"
            assert client.ask(b"open /dev/null\n", 5) == b"done\n"


def test_datagrams_of_the_service_itself_go_on(whole_sandbox, starter):
    with starter.server(starter.section("echo", listen="udp://127.0.0.1:0 tcp://127.0.0.1:0")) as server, \
            server.datagram_socket("echo") as client, server.connect("echo", "tcp") as stream:
        assert network_of(server.worker()) != network_of("self")
        client.send(b"hola")
        assert client.recv(10) == b"hola"
        assert stream.ask(b"adios", 5) == b"adios"


@pytest.mark.skipif(TRACED, reason="the leak checker needs its own way")
def test_inside_nobody_makes_user_namespaces(whole_sandbox, starter):
    with starter.server(starter.section("trespass")) as server, Trespasser(server) as trespasser:
        if not os.access("/proc/sys/user/max_user_namespaces", os.F_OK):
            pytest.skip("this kernel does not count them")
        assert trespasser.ask("nest") in (*DENIED, "ENOSPC")


# ---- who stays in the network ----

def test_who_names_a_place_is_in_the_network(whole_sandbox, starter, targets):
    port = targets.of("udp")
    with starter.server(starter.section("trespass", connect=f"udp://127.0.0.1:{port}") +
                        starter.section("local", "trespass", isolate="yes", connect="unix:///run/x.sock") +
                        starter.section("alone", "trespass", isolate="yes")) as server:
        assert [network_of(pid) == network_of("self") for pid in server.workers()].count(True) == 1
        with Trespasser(server) as trespasser:
            assert trespasser.ask("udp", port) == "done"
            assert trespasser.ask("datagram", port) == "done"
            assert trespasser.ask("abstract", targets.name) == "EPERM"
        for name in ("local", "alone"):
            with Trespasser(server, name) as trespasser:
                assert trespasser.ask("udp", port) in NOWHERE, name


def test_services_of_one_worker_share_the_network(whole_sandbox, targets):
    with Server(service("a", "echo", connect="tcp://127.0.0.1:9") + service("b", "trespass")) as server:
        with Trespasser(server, "b") as trespasser:
            assert trespasser.ask("udp", targets.of("udp")) == "done"


def test_a_unix_socket_is_found_from_everywhere(whole_sandbox, shared_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared_path / "sock"))
        os.chmod(shared_path / "sock", 0o666)
        listener.listen()
        with Server(service("trespass", connect=f"unix://{shared_path}/sock")) as server, \
                Trespasser(server) as trespasser:
            assert network_of(server.worker()) != network_of("self")
            assert trespasser.ask("unix", shared_path / "sock") == "done"


def test_unix_sockets_that_nobody_named_are_closed_where_landlock_sees_them(whole_sandbox, shared_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared_path / "sock"))
        os.chmod(shared_path / "sock", 0o666)
        listener.listen()
        with Server(service("trespass", write_paths=shared_path)) as server, Trespasser(server) as trespasser:
            if int(server.lines("sandbox")[0]["landlock"]) < 9:
                pytest.skip("this kernel's Landlock does not look at them")
            assert trespasser.ask("unix", shared_path / "sock") == "EACCES"


# ---- what else a worker is there ----

def test_a_worker_there_has_no_right_whoever_started_it(whole_sandbox, starter):
    with starter.server(starter.section("echo")) as server:
        status = status_of(server.worker())
        assert status["NoNewPrivs"] == "1"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        held = [os.readlink(f"/proc/{server.worker()}/fd/{fd}") for fd in os.listdir(f"/proc/{server.worker()}/fd")]
        assert not [name for name in held if re.match("net:|user:", name)]


@pytest.mark.skipif(not ROOT, reason="only root can name others")
def test_users_are_there_who_they_are_outside(whole_sandbox):
    with Server(service("echo")) as server:
        with open(f"/proc/{server.worker()}/uid_map", encoding="ascii") as file:
            extents = [list(map(int, line.split())) for line in file]
        assert extents and all(inside == outside for inside, outside, _ in extents)
        assert extents[0][0] == 1


def test_a_worker_that_is_killed_is_followed_by_one_without_a_network(whole_sandbox, starter):
    with starter.server(starter.section("echo"), crashes=True) as server:
        first = server.worker()
        empty = network_of(first)
        os.kill(first, 9)
        wait_until(lambda: not process_lives(first) and server.workers(), "the next worker")
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
        assert network_of(server.worker()) == empty


def test_a_reload_changes_it(whole_sandbox, targets):
    plain, named = service("trespass"), service("trespass", connect="udp://127.0.0.1:9")
    with Controlled(plain) as server:
        for config, inside in ((named, True), (plain, False)):
            server.write(config)
            server.reload()
            with Trespasser(server) as trespasser:
                assert (trespasser.ask("udp", targets.of("udp")) == "done") == inside


def test_an_upgrade_keeps_it(whole_sandbox, targets):
    with Upgradable(service("trespass")) as server:
        server.upgrade()
        assert network_of(server.worker()) != network_of("self")
        with Trespasser(server) as trespasser:
            assert trespasser.ask("udp", targets.of("udp")) in NOWHERE


# ---- where it cannot be had ----

def test_without_namespaces_there_is_the_filter_and_a_warning(whole_sandbox, starter, targets):
    with starter.server(starter.section("trespass") + starter.section("echo", isolate="yes"),
                        preexec=no_namespaces) as server:
        lines = server.lines("sandbox is incomplete")
        assert len(lines) == 1 and "an empty network" in lines[0]["lacking"]
        assert server.lines("sandbox")[0]["filter"] == "all"
        with Trespasser(server) as trespasser:
            for attempt in ATTEMPTS:
                assert trespasser.ask(attempt, targets.of(attempt)) in DENIED, attempt
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_sandbox_that_is_required_needs_them():
    with Server("[server]\nrequire_sandbox = yes\n" + service("echo"), preexec=no_namespaces,
                wait=False) as server:
        assert server.process.wait(20) == 1
        assert re.search(r"\[server\] require_sandbox: .*an empty network", server.log())


@pytest.mark.parametrize("keys", [{"connect": "tcp://127.0.0.1:9"}, {"sandbox": "no", "isolate": "yes"}])
def test_who_needs_none_does_not_miss_them(whole_sandbox, keys):
    with Server(service("echo", **keys), preexec=no_namespaces) as server:
        assert not server.lines("sandbox is incomplete")
        assert server.lines("sandbox")[0]["filter"] == "no"
