"""Endpoints and threads that change with a reload: what stays is not disturbed, what goes is served first."""

import os
import signal
import socket
import threading

import pytest

from client import Client, socket_address
from controlled import QUIET, Controlled, is_refused
from load import Load
from server import service
from settings import DEADLINE, soak, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"


def ask_datagram(endpoint, data=b"hola"):
    """The answer, or None where nobody has the port."""
    family, address = socket_address(endpoint)
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(address)
        client.send(data)
        try:
            return client.recv(1000)
        except ConnectionRefusedError:
            return None


def port_of(endpoint):
    return int(endpoint.rpartition(":")[2])


def test_port_0_keeps_its_ports_over_reloads_in_their_order():
    with Controlled(service("echo", listen=f"{BOTH} {BOTH}") + service("hola")) as server:
        before = server.endpoints("echo"), server.endpoints("hola")
        assert len(set(before[0])) == 4
        for _ in range(3):
            server.reload()
            now = [server.service_status(name)["endpoints"] for name in ("echo", "hola")]
            assert tuple(now) == before


def test_endpoints_that_are_added_serve_and_those_that_stay_keep_their_connections():
    with Controlled(service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.write(service("echo", listen="tcp://127.0.0.1:0 tcp://127.0.0.1:0 "
                                                "udp://127.0.0.1:0 unix://{dir}/echo.sock"))
            server.reload()
            endpoints = server.service_status("echo")["endpoints"]
            assert endpoints[0] == server.endpoint("echo") and len(endpoints) == 4
            for endpoint in (endpoints[0], endpoints[1], endpoints[3]):
                with Client(*socket_address(endpoint)) as other:
                    assert other.ask(b"hola", 4) == b"hola"
            assert ask_datagram(endpoints[2]) == b"hola"
            assert client.ask(b"adios", 5) == b"adios"


def test_a_removed_tcp_endpoint_refuses_as_soon_as_the_reload_is_told():
    with Controlled(service("echo", listen="tcp://127.0.0.1:0 tcp://127.0.0.1:0"),
                    {"threads": 4}) as server:
        stays, goes = server.endpoints("echo")
        with Client(*socket_address(goes)) as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.write(service("echo", listen="tcp://127.0.0.1:0"))
            server.reload()
            for _ in range(20):
                assert is_refused(goes)
            assert not is_refused(stays)
            # Whoever was on it may finish.
            assert client.ask(b"adios", 5) == b"adios"


@pytest.mark.parametrize("drain_timeout", ["30s", "1s"])
def test_the_queue_of_a_removed_tcp_endpoint_is_served(drain_timeout):
    """Every connection that was made is answered, however close to the end of its endpoint."""
    with Controlled(service("echo", listen="tcp://127.0.0.1:0 tcp://127.0.0.1:0"),
                    {"threads": 2, "drain_timeout": drain_timeout}) as server:
        goes = server.endpoints("echo")[1]
        server.write(service("echo", listen="tcp://127.0.0.1:0"))
        opened, refused = [], threading.Event()

        def connect():
            while True:
                try:
                    client = Client(*socket_address(goes))
                    client.send(b"hola")
                    opened.append(client)
                except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
                    refused.set()
                    return
        thread = threading.Thread(target=connect)
        thread.start()
        wait_until(lambda: len(opened) > 50, "connections come")
        with server.reload_in_background() as reload:
            server.wait_for_lines("ready", generation="2")
            before = len(opened)
            assert reload.wait() == 0
        # Nobody is let in any more, or one of them would come between the last accept and the end.
        assert os.geteuid() != 0 or len(opened) < before + 500
        thread.join()
        assert refused.is_set()
        for client in opened:
            assert client.receive(4) == b"hola"
            client.socket.close()


def test_a_removed_udp_endpoint_is_free_for_others_once_the_old_generation_is_gone():
    with Controlled(service("echo", listen=BOTH), {"threads": 2}) as server:
        endpoint = server.endpoint("echo", "udp")
        assert ask_datagram(endpoint) == b"hola"
        server.write(service("echo", listen="tcp://127.0.0.1:0"))
        server.reload()
        server.wait_for_generation(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(socket_address(endpoint)[1])


def test_a_removed_tcp_endpoint_is_free_for_others_once_the_old_generation_is_gone():
    with Controlled(service("echo", listen="tcp://127.0.0.1:0 tcp://127.0.0.1:0"),
                    {"threads": 2}) as server:
        goes = server.endpoints("echo")[1]
        server.write(service("echo"))
        server.reload()
        server.wait_for_generation(2)
        with socket.socket() as other:
            other.bind(socket_address(goes)[1])
            other.listen()


def test_an_endpoint_that_was_removed_can_come_back():
    with Controlled(service("echo")) as server:
        fixed = server.endpoint("echo")
        for _ in range(3):
            server.write(service("echo", listen=f"{fixed.replace('tcp', 'udp')} {fixed}"))
            server.reload()
            with Client(*socket_address(fixed)) as client:
                assert client.ask(b"hola", 4) == b"hola"
            server.write(service("echo", listen=fixed.replace("tcp", "udp")))
            server.reload()
            assert is_refused(fixed)
            assert ask_datagram(fixed.replace("tcp", "udp")) == b"hola"


@pytest.mark.soak
def test_an_endpoint_that_moves_to_another_service_loses_nobody():
    with Controlled(service("echo", listen=BOTH)) as server:
        ends = " ".join(server.endpoints("echo"))
        here = service("one", "echo", ends) + service("two", "echo")
        there = service("one", "echo") + service("two", "echo", ends)
        server.write(service("echo", listen=ends), **QUIET)
        server.reload()
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), streams=soak(500, 50000),
                  datagrams=soak(500, 50000)):
            for number in range(soak(6, 50)):
                server.write((here, there)[number % 2])
                server.reload()
        assert server.service_status("two")["endpoints"] == ends.split()


def test_a_port_moves_to_another_service_with_another_plugin():
    with Controlled(service("echo") + service("hola")) as server:
        fixed = server.endpoint("echo")
        server.write(service("echo", listen=fixed) + service("hola"))
        server.reload()
        with Client(*socket_address(fixed)) as old:
            assert old.ask(b"hola", 4) == b"hola"
            server.write(service("echo") + service("hola", listen=fixed))
            server.reload()
            with Client(*socket_address(fixed)) as new:
                assert new.ask(b"hola", 9) == b"pues hola"
            assert old.ask(b"hola", 4) == b"hola"


@pytest.mark.soak
@pytest.mark.parametrize("isolate", ["no", "yes"])
def test_threads_change_up_and_down_under_load_without_a_loss(isolate):
    def config(threads):
        return service("echo", listen=f"{BOTH} unix://{{dir}}/echo.sock", threads=threads, isolate=isolate)
    with Controlled(config(1), {"threads": 8}) as server:
        server.write(config(1), **QUIET)
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), hold=0,
                  streams=soak(1000, 50000), datagrams=soak(1000, 50000)) as load:
            for threads in (4, 1, 8, 2, 3, 1) * soak(1, 8):
                server.write(config(threads))
                server.reload()
                with server.connect_now("echo", "unix") as client:
                    assert client.ask(b"hola", 4) == b"hola"
        assert server.service_status("echo")["datagrams_dropped"] == 0
        print(load.counts)


def test_a_service_becomes_isolated_and_shared_again_under_load():
    with Controlled(service("echo", listen=BOTH) + service("hola")) as server:
        with Load(server.port("echo", "tcp"), server.port("echo", "udp")):
            for isolate in ("yes", "no", "yes"):
                server.write(service("echo", listen=BOTH, isolate=isolate) + service("hola"), **QUIET)
                server.reload()
                workers = server.generations()["serving"]["workers"]
                assert len(workers) == (2 if isolate == "yes" else 1)


def test_a_unix_socket_keeps_its_file_and_its_connections_over_a_reload():
    with Controlled(service("echo", listen="unix://{dir}/echo.sock")) as server:
        inode = os.stat(server.path("echo.sock")).st_ino
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.reload()
            with server.connect("echo") as other:
                assert other.ask(b"hola", 4) == b"hola"
            assert client.ask(b"adios", 5) == b"adios"
        server.reload()
        assert os.stat(server.path("echo.sock")).st_ino == inode
        server.stop()
        assert not os.path.exists(server.path("echo.sock"))


def test_the_file_of_a_removed_unix_socket_goes_with_its_generation():
    with Controlled(service("echo", listen="unix://{dir}/echo.sock tcp://127.0.0.1:0")) as server:
        server.write(service("echo"))
        server.reload()
        server.wait_for_generation(2)
        wait_until(lambda: not os.path.exists(server.path("echo.sock")), "the file is gone")


def test_a_reload_that_fails_leaves_no_new_endpoint_behind():
    with Controlled(service("echo")) as server:
        path = server.path("new.sock")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        listen = f"tcp://127.0.0.1:{port} udp://127.0.0.1:{port} unix://{path}"
        server.write(service("echo") + service("more", "refuser", listen, at="start"))
        server.reload(status=1)
        wait_until(lambda: is_refused(f"tcp://127.0.0.1:{port}"), "nobody listens there")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", port))
        assert not os.path.exists(path)


def test_the_backlog_and_limits_of_a_service_change_with_a_reload():
    with Controlled(service("echo")) as server:
        server.write(service("echo", max_connections=1, backlog=64))
        server.reload()
        with server.connect("echo") as first:
            assert first.ask(b"hola", 4) == b"hola"
            with server.connect("echo") as second:
                try:
                    assert second.ask(b"hola", 4) == b""
                except ConnectionResetError:
                    pass
        assert server.service_status("echo")["ended"]["limit"] == 1


def answers_everybody(endpoint, count=60):
    for _ in range(count):
        with Client(*socket_address(endpoint)) as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_worker_that_dies_once_the_sockets_are_open_leaves_none_that_nobody_reads():
    def services(threads, on_open):
        return (service("echo", threads=threads, isolate="yes") +
                service("crash", threads=1, isolate="yes", on_open=on_open))

    with Controlled(services(1, "no"), {"threads": 4}, crashes=True) as server:
        crashing, done = socket_address(server.endpoint("crash")), threading.Event()

        def connect():
            while not done.is_set():
                try:
                    Client(*crashing).socket.close()
                except OSError:
                    pass
        loads = [threading.Thread(target=connect) for _ in range(4)]
        for load in loads:
            load.start()
        try:
            server.write(services(4, "yes"))
            reload = server.reload_in_background()
            server.wait_for_log("on_open")
        finally:
            done.set()
            for load in loads:
                load.join()
        reload.communicate(timeout=DEADLINE)
        answers_everybody(server.endpoint("echo"))


def test_a_worker_restarted_during_a_reload_that_fails_takes_no_sockets_of_it():
    with Controlled(service("echo", threads=1), {"threads": 4, "start_timeout": "3s"},
                    crashes=True) as server:
        server.write(service("echo", threads=4) +
                     service("refuser", at="start", hangs="yes", isolate="yes"))
        reload = server.reload_in_background()
        wait_until(lambda: len(server.generations()) == 2, "the next generation starts")
        before = server.serving_pids()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: server.serving_pids() not in ([], before), "the worker is restarted")
        assert reload.poll() is None
        reload.communicate(timeout=DEADLINE)
        assert reload.returncode == 1
        answers_everybody(server.endpoint("echo"))
        server.stop()
        assert not server.lines("accepting paused")
