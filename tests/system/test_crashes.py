"""A plugin that crashes while serving costs one worker for a moment, and nobody else anything."""

import os
import signal
import time

import pytest

from client import Client, socket_address
from processes import process_lives, processor_seconds
from server import Server, service
from settings import DEADLINE, SLOWER, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"


def crashed(server, signal_name, callback, count=1):
    line = server.wait_for_lines("worker crashed", count)[-1]
    assert line["level"] == "error"
    assert line["service"] == "crash" and "crash" in line["plugin"]
    assert (line["signal"], line["callback"]) == (signal_name, callback), line


def ask_again(server, client_of):
    """The answer of the worker that came after: connects until it is served."""
    def answered():
        try:
            with client_of() as client:
                return client.ask(b"-", 1) == b"-"
        except OSError:
            return False
    wait_until(answered, "somebody is served again")


@pytest.mark.parametrize("command, signal_name, callback", [
    (b"s", "SIGSEGV", "on_data"), (b"a", "SIGABRT", "on_data"), (b"o", "SIGSEGV", "on_data"),
    (b"i", "SIGTRAP", "on_data"), (b"t", "SIGSEGV", "on_timer"), (b"c", "SIGSEGV", "on_close")])
def test_the_log_names_service_plugin_callback_and_signal(command, signal_name, callback):
    with Server(service("crash"), crashes=True) as server:
        first = server.worker()
        with server.connect("crash") as client:
            assert client.ask(b"-", 1) == b"-"
            client.send(command)
            try:
                assert client.receive_all() == b""
            except ConnectionResetError:
                pass
        crashed(server, signal_name, callback)
        ask_again(server, lambda: server.connect("crash"))
        assert server.worker() != first


def test_a_crash_after_the_clients_end_is_blamed_on_on_eof():
    with Server(service("crash"), crashes=True) as server:
        with server.connect("crash") as client:
            client.send(b"e")
            client.end()
            crashed(server, "SIGSEGV", "on_eof")


def test_a_crash_as_somebody_connects_is_blamed_on_on_open():
    with Server(service("crash", on_open="yes"), crashes=True) as server:
        with server.connect("crash"):
            crashed(server, "SIGSEGV", "on_open")


def test_a_crash_by_a_datagram_is_blamed_on_on_datagram():
    with Server(service("crash", listen=BOTH), crashes=True) as server:
        with server.datagram_socket("crash") as client:
            client.send(b"s")
            crashed(server, "SIGSEGV", "on_datagram")
            client.send(b"hola")
            assert client.recv(100) == b"hola"


def test_an_exit_by_a_plugin_is_logged_and_the_worker_comes_back():
    with Server(service("crash"), crashes=True) as server:
        with server.connect("crash") as client:
            client.send(b"x")
            line = server.wait_for_lines("worker ended")[-1]
            assert line["status"] == "3" and line["service"] == "crash"
            assert line["callback"] == "on_data"
        ask_again(server, lambda: server.connect("crash"))


def test_the_worker_is_back_within_200_ms():
    """The one time in this suite: it is a promise, of a server that has a processor to itself. The
    best of three counts, because here others use it too."""
    best = None
    for _ in range(3):
        with Server(service("crash"), crashes=True) as server:
            with server.connect("crash") as client:
                client.ask(b"-", 1)
                start = time.monotonic()
                client.send(b"s")
                ask_again(server, lambda: server.connect("crash"))
                took = time.monotonic() - start
                best = min(best or took, took)
        if best < 0.2 * SLOWER:
            return
    assert best < 0.2 * SLOWER


def test_clients_that_connect_while_there_is_no_worker_are_served_by_the_next():
    with Server(service("crash"), crashes=True) as server:
        address = socket_address(server.endpoint("crash"))
        with server.connect("crash") as client:
            client.ask(b"-", 1)
            client.send(b"s")
            waiting = [Client(*address) for _ in range(50)]
        served = 0
        for number, other in enumerate(waiting):
            with other:
                try:
                    served += other.ask(b"=", 1) == b"="
                except OSError:
                    pass  # accepted by the worker that crashed
        assert served > 0
        # Whoever connects after the crash is known waits in the queue, and is served.
        crashed(server, "SIGSEGV", "on_data")
        for _ in range(50):
            with server.connect("crash") as other:
                assert other.ask(b"=", 1) == b"="


def test_an_isolated_service_that_crashes_disturbs_no_other():
    config = service("crash", isolate="yes") + service("echo")
    with Server(config, crashes=True) as server:
        assert len(wait_until(lambda: len(server.workers()) == 2 and server.workers(), "2 workers")) == 2
        with server.connect("echo") as neighbour:
            assert neighbour.ask(b"hola", 4) == b"hola"
            for count in range(1, 4):
                with server.connect("crash") as client:
                    client.send(b"s")
                    crashed(server, "SIGSEGV", "on_data", count)
                assert neighbour.ask(b"hola", 4) == b"hola"
        closed = server.wait_for_lines("closed", service="echo")[0]
        assert closed["reason"] == "closed-by-client" and closed["in"] == "16"


def test_a_worker_that_crashes_again_and_again_is_started_with_back_off():
    with Server(service("crash", on_open="yes"), crashes=True) as server:
        start = time.monotonic()
        while time.monotonic() - start < 3:
            try:
                server.connect("crash").socket.close()
            except OSError:
                pass
            time.sleep(0.001)
        starts = len(server.lines("worker started"))
        assert 2 <= starts <= 40, f"{starts} workers in 3 s"
        assert processor_seconds(server.pid) < 1
        server.stop()


def test_a_worker_that_is_killed_comes_back():
    with Server(service("echo")) as server:
        for _ in range(2):
            victim = server.worker()
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: not process_lives(victim), "the killed worker is gone")
            with server.connect("echo") as client:
                assert client.ask(b"hola", 4) == b"hola"
        lines = server.lines("worker (?:crashed|ended)")
        assert len(lines) == 2 and all("SIGKILL" in str(line) for line in lines)


def test_the_counters_survive_a_crash():
    with Server(service("crash"), crashes=True) as server:
        with server.connect("crash") as client:
            assert client.ask(b"-" * 100, 100) == b"-" * 100
            client.send(b"s")
            crashed(server, "SIGSEGV", "on_data")
        ask_again(server, lambda: server.connect("crash"))
        server.stop()
        served = server.wait_for_lines("served", service="crash")
        assert sum(int(line["bytes_out"]) for line in served) >= 101
        assert sum(int(line["opened"]) for line in served) >= 2


def test_no_descriptor_of_the_master_leaks_with_each_crash():
    with Server(service("crash"), crashes=True) as server:
        def count():
            return len(os.listdir(f"/proc/{server.pid}/fd"))

        def crash_once(number):
            with server.connect("crash") as client:
                client.send(b"s")
                crashed(server, "SIGSEGV", "on_data", number)
            server.wait_for_lines("worker started", number + 1)
            ask_again(server, lambda: server.connect("crash"))
        crash_once(1)
        before = count()
        for number in range(2, 5):
            crash_once(number)
        wait_until(lambda: count() <= before, "no more descriptors than before", DEADLINE)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_callback_that_never_returns_cannot_keep_the_server_from_ending(sig):
    with Server("[server]\ndrain_timeout = 300ms\n" + service("crash", threads=1),
                crashes=True) as server:
        with server.connect("crash") as client:
            assert client.ask(b"-", 1) == b"-"
            client.send(b"h")
            assert client.is_silent(0.1)
            server.stop(sig)


def test_a_crash_while_the_server_drains_does_not_keep_it_from_ending():
    with Server("[server]\ndrain_timeout = 600s\n" + service("crash"), crashes=True) as server:
        with server.connect("crash") as client:
            assert client.ask(b"-", 1) == b"-"
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_lines("draining")
            client.send(b"s")
            crashed(server, "SIGSEGV", "on_data")
            assert server.process.wait(DEADLINE) == 0
        assert len(server.lines("worker started")) == 1


def test_a_crash_as_the_server_leaves_is_logged():
    with Server("[server]\ndrain_timeout = 600s\n" + service("crash"), crashes=True) as server:
        with server.connect("crash") as client:
            assert client.ask(b"d", 1) == b"d"
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(DEADLINE) == 0
        crashed(server, "SIGSEGV", "on_drain")
        assert len(server.lines("worker started")) == 1


def test_a_service_that_crashes_gets_a_worker_of_its_own_and_disturbs_nobody_again():
    with Server(service("crash") + service("echo"), crashes=True) as server:
        def crash_once(count):
            with server.connect("crash") as client:
                assert client.ask(b"-", 1) == b"-"
                client.send(b"s")
                crashed(server, "SIGSEGV", "on_data", count)
            ask_again(server, lambda: server.connect("crash"))

        assert len(server.workers()) == 1
        crash_once(1)
        line, = server.wait_for_lines("service gets a worker of its own")
        assert (line["level"], line["service"]) == ("warning", "crash")
        ask_again(server, lambda: server.connect("echo"))
        wait_until(lambda: len(server.workers()) == 2, "2 workers")
        with server.connect("echo") as neighbour:
            for count in range(2, 8):
                assert neighbour.ask(b"hola", 4) == b"hola"
                crash_once(count)
            assert neighbour.ask(b"hola", 4) == b"hola"
        # One that answered somebody before it crashed is not kept waiting ever longer.
        assert all(float(line["in"].rstrip("s")) <= 1 for line in server.lines("worker starts again"))
        assert len(server.lines("service gets a worker of its own")) == 1
        assert {line["worker"] for line in server.lines("worker crashed")[1:]} == {"crash"}


def test_lines_that_the_dead_worker_had_not_written_yet_are_in_the_log():
    with Server("[server]\nthreads = 1\n" + service("echo") + service("crash"), crashes=True) as server:
        with server.connect("crash") as murderer:
            with server.connect("echo") as client:
                assert client.ask(b"hola", 4) == b"hola"
                client.end()
                assert client.receive_all() == b""
            murderer.send(b"s")
            server.wait_for_lines("worker crashed", 1)
        lines = [line for line in server.log().splitlines() if " closed service=echo" in line
                 or " worker crashed " in line]
        assert len(lines) == 2 and "in=4 out=4" in lines[0], lines
