"""Readiness, reloads, the end, the watchdog and inherited sockets, as sd_notify(3) and sd_listen_fds(3) say."""

import os
import select
import signal
import socket
import time

import pytest

from client import Client, socket_address
from server import Server, service, share_with_workers
from service_manager import ServiceManager, endpoint_of, tcp_socket, udp_socket, unix_socket
from settings import DEADLINE, ENCHUFE, wait_until
from traffic import Traffic
from upgradable import Upgradable

pytestmark = pytest.mark.soak  # a row of what must be seen; in full already


# ---- what the manager is told ----

@pytest.mark.parametrize("abstract", [False, True])
def test_ready_reloading_ready_and_stopping_are_told(abstract):
    with ServiceManager(abstract) as manager:
        with Server(service("echo"), env=manager.environment()) as server:
            manager.wait_for("READY", "1", server.pid)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            server.process.send_signal(signal.SIGHUP)
            reloading = manager.wait_for("RELOADING", "1", server.pid)
            manager.wait_for("READY", count=2)
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert before <= int(reloading["MONOTONIC_USEC"]) <= after
            server.stop()
            manager.wait_for("STOPPING", "1", server.pid)
        assert manager.order() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_ready_is_told_when_clients_are_answered_and_not_before():
    with ServiceManager() as manager:
        gate = os.path.join(manager.directory.name, "gate")
        os.mkfifo(gate)
        share_with_workers(manager.directory.name)
        with Server(service("slow_start", gate=gate, read_paths=gate), env=manager.environment(),
                    wait=False) as server:
            server.wait_for_log("slow_start waits")
            assert not manager.messages
            with open(gate, "wb"):
                manager.wait_for("READY")
            server._listening = server._read_listening()
            with server.connect("slow_start") as client:
                assert client.ask(b"hola", 4) == b"hola"


def test_a_reload_that_fails_ends_with_ready():
    with ServiceManager() as manager:
        with Server(service("echo"), env=manager.environment()) as server:
            manager.wait_for("READY")
            with open(server.file, "w", encoding="utf-8") as file:
                file.write("nonsense\n")
            server.process.send_signal(signal.SIGHUP)
            manager.wait_for("READY", count=2)
            server.wait_for_lines("reload failed")
        assert manager.order()[:3] == ["READY", "RELOADING", "READY"]


def test_an_upgrade_tells_the_new_pid_and_is_no_end():
    with ServiceManager() as manager:
        with Upgradable(service("echo"), env=manager.environment(WATCHDOG_USEC="400000")) as server:
            first = server.pid
            manager.wait_for("WATCHDOG", "1", first)
            server.upgrade()
            manager.wait_for("READY", "1", server.pid)
            manager.wait_for("MAINPID", str(server.pid), first)
            server.those_before_have_left()
            count = len(manager.heard("WATCHDOG", "1", server.pid))
            manager.wait_for("WATCHDOG", "1", server.pid, count + 2)
            assert not manager.heard("STOPPING")
            server.stop()
            manager.wait_for("STOPPING", "1", server.pid)


def test_an_old_server_that_is_ended_does_not_say_that_the_service_stops():
    with ServiceManager() as manager:
        with Upgradable(service("echo"), env=manager.environment()) as server:
            with server.connect("echo") as client:
                client.ask(b"hola", 4)
                server.upgrade()
                server.before[0].send_signal(signal.SIGTERM)
                server.those_before_have_left()
            assert not manager.heard("STOPPING")


def test_the_watchdog_is_fed_in_time_and_only_if_it_is_ours():
    with ServiceManager() as manager:
        with Server(service("echo"), env=manager.environment(WATCHDOG_USEC="1000000")) as server:
            start = time.monotonic()
            manager.wait_for("WATCHDOG", "1", server.pid, 4)
            assert time.monotonic() - start > 1, "twice in each period, and not all the time"
            assert not manager.heard("WATCHDOG", pid=server.worker())
        env = manager.environment(WATCHDOG_USEC="1000000", WATCHDOG_PID="1")
        with Server(service("echo"), env=env) as server:
            manager.wait_for("READY", "1", server.pid)
            server.process.send_signal(signal.SIGHUP)
            manager.wait_for("READY", "1", server.pid, 2)
            assert not manager.heard("WATCHDOG", pid=server.pid)


def test_a_manager_that_does_not_listen_stops_nothing():
    for path in ("/nowhere/at/all", "@nobody", "nonsense", ""):
        with Server(service("echo"), env={"NOTIFY_SOCKET": path}) as server:
            with server.connect("echo") as client:
                assert client.ask(b"hola", 4) == b"hola"


def test_plugins_see_nothing_of_it():
    with ServiceManager() as manager, tcp_socket() as listener:
        env = manager.environment(WATCHDOG_USEC="400000", FDS=str(listener.fileno()),
                                  LISTEN_FDNAMES="environment", ENCHUFE_TEST="seen")
        with Server(service("environment", listen=endpoint_of(listener)), env=env,
                    pass_fds=[listener.fileno()], binary=manager.wrapper(ENCHUFE)) as server:
            with server.connect("environment") as client:
                assert client.ask_line("ENCHUFE_TEST") == "seen\n"
                for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID",
                             "LISTEN_FDS", "LISTEN_FDNAMES"):
                    assert client.ask_line(name) == "unset\n", name


# ---- inherited sockets ----

def with_sockets(manager, sockets, names, config, **more):
    env = manager.environment(FDS=" ".join(str(s.fileno()) for s in sockets),
                              LISTEN_FDNAMES=names, **more.pop("env", {}))
    return Server(config, env=env, pass_fds=[s.fileno() for s in sockets],
                  binary=manager.wrapper(more.pop("enchufe", ENCHUFE)), **more)


def inode(pid, fd):
    return os.stat(f"/proc/{pid}/fd/{fd}").st_ino


def has_socket(pid, wanted):
    """Whether the process has that very socket."""
    number = os.fstat(wanted.fileno()).st_ino
    return any(inode(pid, fd) == number for fd in os.listdir(f"/proc/{pid}/fd")
               if os.path.exists(f"/proc/{pid}/fd/{fd}"))


def echoes(endpoint):
    family, address = socket_address(endpoint)
    if endpoint.startswith("udp"):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            client.connect(address)
            client.send(b"hola")
            return client.recv(100) == b"hola"
    with Client(family, address) as client:
        return client.ask(b"hola", 4) == b"hola"


def test_handed_sockets_of_every_kind_are_used(tmp_path):
    with ServiceManager() as manager:
        sockets = [tcp_socket(), udp_socket(), unix_socket(str(tmp_path / "echo.sock")),
                   tcp_socket(socket.AF_INET6, "::1")]
        listen = " ".join(endpoint_of(s) for s in sockets)
        config = service("echo", listen=listen, threads=2)
        with with_sockets(manager, sockets, "echo:echo:echo:echo", config) as server:
            for one in sockets:
                assert has_socket(server.worker(), one), endpoint_of(one)
                assert all(echoes(endpoint_of(one)) for _ in range(10))
            with Traffic(server.endpoints()):
                server.process.send_signal(signal.SIGHUP)
                server.wait_for_lines("ready", generation="2")
            assert "is not used" not in server.log()
        assert (tmp_path / "echo.sock").exists(), "the file is the manager's"
        for one in sockets:
            one.close()


def test_the_managers_copy_outlives_the_server_and_its_queue_waits_for_the_next():
    with ServiceManager() as manager, tcp_socket() as listener, udp_socket() as datagrams:
        config = service("echo", listen=endpoint_of(listener) + " " + endpoint_of(datagrams))
        sockets = [listener, datagrams]
        with with_sockets(manager, sockets, "echo:echo", config) as server:
            assert echoes(endpoint_of(listener))
            server.stop()
            with Client(*socket_address(endpoint_of(listener))) as client:
                client.send(b"early")
                server.start()
                assert client.receive(5) == b"early"
            assert echoes(endpoint_of(datagrams))


def test_a_reload_without_an_inherited_endpoint_leaves_it_to_the_manager():
    with ServiceManager() as manager, tcp_socket() as kept, tcp_socket() as given_up:
        config = service("echo", listen=endpoint_of(kept))
        more = service("more", "echo", endpoint_of(given_up))
        with with_sockets(manager, [kept, given_up], "echo:more", config + more) as server:
            with open(server.file, "w", encoding="utf-8") as file:
                file.write(config)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_lines("drained", generation="1")
            with Client(*socket_address(endpoint_of(given_up))):
                assert select.select([given_up], [], [], DEADLINE)[0]
                given_up.accept()[0].close()
            assert echoes(endpoint_of(kept))


def test_a_client_that_woke_the_service_is_answered():
    """Socket activation: the first client is queued before the server is there."""
    with ServiceManager() as manager, tcp_socket() as listener:
        with Client(*socket_address(endpoint_of(listener))) as client:
            client.send(b"first")
            assert select.select([listener], [], [], DEADLINE)[0]
            config = service("echo", listen=endpoint_of(listener))
            with with_sockets(manager, [listener], "echo", config):
                assert client.receive(5) == b"first"
                client.socket.close()


def test_every_address_is_one_inherited_socket():
    with ServiceManager() as manager, socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen(10)
        config = service("echo", listen=f"tcp://:{both.getsockname()[1]}")
        with with_sockets(manager, [both], "echo", config) as server:
            assert has_socket(server.worker(), both)
            port = both.getsockname()[1]
            assert echoes(f"tcp://127.0.0.1:{port}") and echoes(f"tcp://[::1]:{port}")


def test_a_socket_that_no_endpoint_wants_is_told_and_let_go():
    with ServiceManager() as manager, tcp_socket() as wanted, tcp_socket() as unwanted:
        pipe = os.pipe()
        env = {"FDS": f"{wanted.fileno()} {unwanted.fileno()} {pipe[0]}"}
        config = service("echo", listen=endpoint_of(wanted))
        with Server(config, env=manager.environment(LISTEN_FDNAMES="echo:web:pipe", **env),
                    pass_fds=[wanted.fileno(), unwanted.fileno(), pipe[0]],
                    binary=manager.wrapper(ENCHUFE)) as server:
            line, = server.wait_for_lines("an inherited socket is not used")
            assert line["service"] == "web" and line["endpoint"] == endpoint_of(unwanted)
            line, = server.wait_for_lines("an inherited socket is of no use")
            assert line["name"] == "pipe"
            wait_until(lambda: not has_socket(server.pid, unwanted), "the server lets go of it")
            assert not has_socket(server.worker(), unwanted)
            assert echoes(endpoint_of(wanted))
        os.close(pipe[0])
        os.close(pipe[1])


def test_a_promise_of_too_many_sockets_and_many_useless_ones_are_told_in_a_few_lines():
    with ServiceManager() as manager, tcp_socket() as wanted:
        pipe = os.pipe()
        fds = [wanted.fileno()] + 30 * [pipe[0]]
        env = {"FDS": " ".join(map(str, fds)), "PROMISED": "2000000000"}
        with Server(service("echo", listen=endpoint_of(wanted)), env=manager.environment(**env),
                    pass_fds=[wanted.fileno(), pipe[0]], binary=manager.wrapper(ENCHUFE)) as server:
            line, = server.wait_for_lines("LISTEN_FDS promises more than there is")
            assert (line["sockets"], line["found"]) == ("2000000000", "31")
            assert len(server.lines("an inherited socket is of no use")) == 10
            assert server.lines("more inherited sockets are of no use")[0]["count"] == "20"
            assert echoes(endpoint_of(wanted))
        os.close(pipe[0])
        os.close(pipe[1])


@pytest.mark.parametrize("pid", ["1", "nonsense", "-1", ""])
def test_sockets_for_another_process_are_not_touched(pid):
    with ServiceManager() as manager, tcp_socket() as listener:
        with with_sockets(manager, [listener], "echo", service("echo"),
                          env={"LISTEN_PID": pid}) as server:
            assert "inherited" not in server.log()
            assert echoes(server.endpoint("echo"))


@pytest.mark.parametrize("names", ["", "echo", "::::::", "x:y:z:too:many"])
def test_odd_names_do_no_harm(names):
    with ServiceManager() as manager, tcp_socket() as one, tcp_socket() as two:
        config = service("echo", listen=endpoint_of(one) + " " + endpoint_of(two))
        with with_sockets(manager, [one, two], names, config) as server:
            assert has_socket(server.worker(), one) and has_socket(server.worker(), two)
            assert echoes(endpoint_of(one)) and echoes(endpoint_of(two))


def test_a_socket_with_a_services_name_is_that_services_endpoint_for_any_port():
    with ServiceManager() as manager, tcp_socket() as one, tcp_socket() as two:
        any_port = "tcp://127.0.0.1:0"
        config = service("first", "echo", any_port) + service("second", "environment", any_port)
        with with_sockets(manager, [one, two], "second:first", config) as server:
            assert server.endpoint("first") == endpoint_of(two)
            assert server.endpoint("second") == endpoint_of(one)
            assert echoes(endpoint_of(two))
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_lines("drained", generation="1")
            assert echoes(endpoint_of(two)) and "is not used" not in server.log()


def test_a_socket_with_one_services_name_and_anothers_address_is_an_error():
    with ServiceManager() as manager, tcp_socket() as one:
        config = service("first", "echo", endpoint_of(one)) + service("second", "echo")
        with with_sockets(manager, [one], "second", config, wait=False) as server:
            assert server.process.wait(DEADLINE) == 1
            error = server.log()
            assert f"[first] listen: {endpoint_of(one)} is inherited as a socket of [second]" in error
            assert "FileDescriptorName=first" in error and error.count("\n") == 1


def test_a_socket_with_a_services_name_and_nobodys_address_is_told():
    with ServiceManager() as manager, tcp_socket() as one:
        config = service("echo", listen="udp://127.0.0.1:0")
        with with_sockets(manager, [one], "echo", config) as server:
            line, = server.wait_for_lines("an inherited socket is not used")
            assert (line["service"], line["endpoint"]) == ("echo", endpoint_of(one))
            assert "no service listens there" in line["why"]
            assert not has_socket(server.worker(), one) and echoes(server.endpoint("echo"))


def test_handed_sockets_are_handed_on_by_an_upgrade(tmp_path):
    with ServiceManager() as manager:
        sockets = [tcp_socket(), udp_socket(), unix_socket(str(tmp_path / "echo.sock"))]
        listen = " ".join(endpoint_of(s) for s in sockets)
        env = manager.environment(FDS=" ".join(str(s.fileno()) for s in sockets),
                                  LISTEN_FDNAMES="echo:echo:echo")
        server = Upgradable(service("echo", listen=listen), env=env,
                            pass_fds=[s.fileno() for s in sockets])
        server.binary = manager.wrapper(server.binary)
        with server:
            with Traffic(server.endpoints(), hold=2):
                server.upgrade()
            server.those_before_have_left()
            assert all(has_socket(server.worker(), one) for one in sockets)
        assert (tmp_path / "echo.sock").exists()
        for one in sockets:
            one.close()


def test_the_watchdog_of_a_stopped_master_is_not_fed():
    with ServiceManager() as manager:
        with Server(service("echo"), env=manager.environment(WATCHDOG_USEC="200000")) as server:
            manager.wait_for("WATCHDOG")
            os.kill(server.pid, signal.SIGSTOP)
            wait_until(lambda: open(f"/proc/{server.pid}/stat", encoding="ascii").read()
                       .rpartition(")")[2].split()[0] == "T", "the master is stopped")
            count = len(manager.heard("WATCHDOG"))
            with server.connect("echo") as client:
                assert client.is_silent(0.5)
            assert len(manager.heard("WATCHDOG")) <= count + 1
            os.kill(server.pid, signal.SIGCONT)
            manager.wait_for("WATCHDOG", count=count + 3)
