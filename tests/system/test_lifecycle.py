"""Signals, the end, and limits: TERM drains, INT ends, USR1 reopens, nothing is left behind."""

import json
import os
import re
import signal
import time

import pytest

from client import Client, socket_address
from processes import log_descriptors, process_lives, processor_seconds, wait_for_rest
from server import Server, limit_descriptors, own_descriptors, service
from settings import DEADLINE, SANITIZED, SLOWER, VARIANT, wait_until


def refuses_connections(endpoint):
    try:
        Client(*socket_address(endpoint)).socket.close()
        return False
    except (ConnectionRefusedError, FileNotFoundError, ConnectionResetError):
        return True


def ended_or_reset(client):
    """Whether the stream ended without another byte, either way."""
    try:
        return client.receive_all() == b""
    except ConnectionResetError:
        return True


def test_term_lets_connections_finish_and_then_ends():
    with Server("[server]\ndrain_timeout = 60s\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server.endpoint("echo")), "no more is accepted")
            assert client.ask(b"still here", 10) == b"still here"
            client.end()
            assert client.receive_all() == b""
        assert server.process.wait(DEADLINE) == 0
        server.wait_for_lines("closed", service="echo", reason="closed-by-client")
        assert not server.left_behind()


def test_term_tells_the_plugin_which_says_goodbye():
    with Server("[server]\ndrain_timeout = 60s\n" + service("drain", threads=2)) as server:
        clients = [server.connect("drain") for _ in range(20)]
        for client in clients:
            assert client.ask(b"hola", 4) == b"hola"
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.receive_all() == b"bye\n"
            client.socket.close()
        assert server.process.wait(DEADLINE) == 0
        assert {line["reason"] for line in server.lines("closed")} == {"closed-by-plugin"}


def test_drain_timeout_ends_what_does_not_finish():
    with Server("[server]\ndrain_timeout = 500ms\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            start = time.monotonic()
            server.stop()
            assert time.monotonic() - start >= 0.5
            assert ended_or_reset(client)
        server.wait_for_lines("closed", service="echo", reason="shutdown")


def test_term_flushes_what_a_slow_client_has_not_read_yet():
    with Server("[server]\ndrain_timeout = 60s\n" + service("producer")) as server:
        with server.connect("producer", receive_buffer=8192) as client:
            client.send(b"8000000\n")
            assert len(client.receive(1000)) == 1000
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server.endpoint("producer")), "draining")
            assert len(client.receive_all()) == 8000000 - 1000
        assert server.process.wait(DEADLINE) == 0


def test_term_without_connections_ends_at_once():
    with Server("[server]\ndrain_timeout = 600s\n" + service("echo")) as server:
        server.stop()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_at_once(sig):
    with Server("[server]\ndrain_timeout = 600s\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.stop(sig)
            assert ended_or_reset(client)


def test_int_while_it_drains_ends_at_once():
    with Server("[server]\ndrain_timeout = 600s\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(server.endpoint("echo")), "draining")
            assert server.process.poll() is None
            server.stop(signal.SIGINT)


def test_int_from_the_terminal_reaches_the_whole_group_and_ends_with_status_0():
    """Ctrl-C goes to every process of the foreground group at once."""
    with Server(service("echo") + service("drain", isolate="yes"), preexec=os.setsid) as server:
        wait_until(lambda: len(server.workers()) == 2, "both workers live")
        os.killpg(server.pid, signal.SIGINT)
        assert server.process.wait(DEADLINE) == 0
        assert not server.left_behind()
        assert not server.lines("worker crashed")


def test_a_kill_of_the_master_leaves_no_process_and_a_new_start_binds_at_once():
    config = service("echo") + service("isolated", "echo", isolate="yes")
    with Server(config) as server:
        wait_until(lambda: len(server.workers()) == 2, "both workers live")
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            fixed = server.config.replace("tcp://127.0.0.1:0", server.endpoint("echo"), 1)
            server.kill()
            wait_until(lambda: not server.left_behind(), "no process is left", 1 * SLOWER)
        server.config = fixed
        server.start()
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_usr1_reopens_the_log_file():
    config = "[server]\nlog = {dir}/server.log\n" + service("hola")
    with Server(config, wait=False) as server:
        log = os.path.join(server.directory, "server.log")
        server.wait_for_log(r" ready\b", file=log)
        endpoint = server.wait_for_log(r"endpoint=(\S+)", file=log).group(1)

        def talk():
            with server.connect(endpoint=endpoint) as client:
                assert client.ask(b"adios", 10) == b"pues adios"
                assert client.receive_all() == b""
        talk()
        server.wait_for_log(r" closed .*service=hola", file=log)
        os.rename(log, log + ".1")
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: talk() or "closed" in server.log(log), "the worker to take the new file")
        old = server.log(log + ".1")
        talk()
        server.wait_for_log(r" closed .*service=hola", count=2, file=log)
        assert server.log(log + ".1") == old
        server.stop()
        assert "served" in server.log(log)


def test_usr1_leaves_the_log_closed_for_programs_of_a_plugin():
    with Server("[server]\nlog = {dir}/server.log\n" + service("hola"), wait=False) as server:
        log = os.path.join(server.directory, "server.log")
        server.wait_for_log(r" ready\b", file=log)
        worker = server.worker()
        os.rename(log, log + ".1")
        server.process.send_signal(signal.SIGUSR1)
        for pid in (server.pid, worker):
            wait_until(lambda: {path for path, _ in log_descriptors(pid, log)} == {log}, "the new log")
            assert all(flags & os.O_CLOEXEC for _, flags in log_descriptors(pid, log))


def test_usr1_reopens_the_log_where_no_descriptors_are_left():
    """40 descriptors, 50 clients."""
    config = "[server]\nlog = {dir}/server.log\n" + service("echo", threads=1)
    with Server(config, wait=False, preexec=limit_descriptors(40, 40)) as server:
        log = os.path.join(server.directory, "server.log")
        server.wait_for_log(r" ready\b", file=log)
        endpoint = server.wait_for_log(r"endpoint=(\S+)", file=log).group(1)
        worker = server.worker()
        clients = [server.connect(endpoint=endpoint) for _ in range(50)]
        server.wait_for_log("accepting paused", file=log)
        os.rename(log, log + ".1")
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: {path for path, _ in log_descriptors(worker, log)} == {log}, "the new log")
        for client in clients:
            client.socket.close()
        server.wait_for_log(r" closed .*service=echo", count=50, file=log)
        assert " closed " not in server.log(log + ".1")


def test_the_log_file_is_appended_to_by_the_next_start():
    config = "[server]\nlog = {dir}/server.log\n" + service("hola")
    with Server(config, wait=False) as server:
        log = os.path.join(server.directory, "server.log")
        server.wait_for_log(r" ready\b", file=log)
        server.stop()
        server.start()
        server.wait_for_log(r" ready\b", count=2, file=log)


def test_at_the_end_each_service_has_a_line_of_what_it_served():
    config = service("one", "echo", "tcp://127.0.0.1:0 udp://127.0.0.1:0") + service("two", "hola")
    with Server(config) as server:
        for _ in range(3):
            with server.connect("one", "tcp") as client:
                assert client.ask(b"12345", 5) == b"12345"
        with server.datagram_socket("one") as client:
            client.send(b"x")
            assert client.recv(10) == b"x"
        server.stop()
        one, = server.lines("served")[:1]
        expected = {"service": "one", "opened": "3", "closed": "3", "bytes_in": "15",
                    "bytes_out": "15", "datagrams_in": "1", "datagrams_out": "1",
                    "datagrams_unsent": "0", "datagrams_dropped": "0", "level": "info"}
        assert {key: one[key] for key in expected} == expected
        two, = [line for line in server.lines("served") if line["service"] == "two"]
        assert two["opened"] == "0"


# -- limits


@pytest.mark.timeout(300 * SLOWER)
def test_10_000_connections_at_once_are_served_where_the_soft_limit_is_1024():
    count = 10_000 if not SANITIZED else 2_000
    if own_descriptors(count + 200) < count + 200:
        pytest.skip(f"this process may open no {count} descriptors")
    with Server(service("echo"), preexec=limit_descriptors(1024)) as server:
        raised = server.wait_for_lines("descriptor limit raised")[0]
        assert raised["from"] == "1024" and int(raised["to"]) > count
        clients = []
        try:
            for number in range(count):
                client = server.connect("echo")
                client.send(b"%06d" % number)
                clients.append(client)
            for number, client in enumerate(clients):
                assert client.receive(6) == b"%06d" % number
            for number, client in enumerate(clients):
                client.send(b"%06d" % (count - number))
            for number, client in enumerate(clients):
                assert client.receive(6) == b"%06d" % (count - number)
        finally:
            for client in clients:
                client.socket.close()
        server.stop()
        served, = server.lines("served")
        assert served["opened"] == served["closed"] == str(count)


@pytest.mark.parametrize("limit", [256, 1024])
def test_a_descriptor_limit_that_cannot_be_raised_is_said(limit):
    with Server(service("echo"), preexec=limit_descriptors(limit, limit)) as server:
        line = server.wait_for_lines("descriptor limit is low")[0]
        assert (line["level"], line["limit"]) == ("warning", str(limit)) and line["advice"]


def test_without_descriptors_it_does_not_spin_and_serves_everybody_as_they_come_free():
    """64 descriptors, 150 clients."""
    with Server(service("echo", threads=1), preexec=limit_descriptors(64, 64)) as server:
        worker = server.worker()
        clients = [server.connect("echo") for _ in range(150)]
        for number, client in enumerate(clients):
            client.send(b"%03d" % number)
        server.wait_for_lines("accepting paused")
        used, start = processor_seconds(worker) + processor_seconds(server.pid), time.monotonic()
        lines = len(server.lines("accepting paused"))
        assert all(not c.is_silent(DEADLINE) for c in clients[:20])
        while time.monotonic() - start < 3:
            time.sleep(0.05)
        seconds = time.monotonic() - start
        used = processor_seconds(worker) + processor_seconds(server.pid) - used
        assert used / seconds < 0.02 * SLOWER, f"{used} s of processor time in {seconds} s"
        assert len(server.lines("accepting paused")) - lines <= seconds + 1
        for number, client in enumerate(clients):
            assert client.receive(3) == b"%03d" % number
            client.socket.close()
        warnings = server.lines("accepting paused")
        assert all(line["level"] == "warning" and line["error"] for line in warnings)


def test_max_connections_refuses_the_next_and_takes_it_when_one_has_left():
    with Server(service("echo", max_connections=2)) as server:
        with server.connect("echo") as one, server.connect("echo") as two:
            assert one.ask(b"1", 1) == b"1" and two.ask(b"2", 1) == b"2"
            with server.connect("echo") as three:
                assert ended_or_reset(three)
            server.wait_for_lines("closed", service="echo", reason="limit")
            assert one.ask(b"1", 1) == b"1"

        def served():
            try:
                with server.connect("echo") as client:
                    return client.ask(b"x", 1) == b"x"
            except OSError:
                return False
        wait_until(served, "a connection is taken again")


def test_max_connections_of_the_server_counts_all_services():
    config = ("[server]\nmax_connections = 2\n" + service("one", "echo") + service("two", "echo"))
    with Server(config) as server:
        with server.connect("one") as one, server.connect("two") as two:
            assert one.ask(b"1", 1) == b"1" and two.ask(b"2", 1) == b"2"
            with server.connect("one") as three:
                assert ended_or_reset(three)
            server.wait_for_lines("closed", service="one", reason="limit")


def test_idle_timeout_closes_who_says_nothing_and_not_who_talks():
    with Server(service("echo", idle_timeout="600ms")) as server:
        with server.connect("echo") as quiet, server.connect("echo") as talker:
            start = time.monotonic()
            while time.monotonic() - start < 1.5:
                assert talker.ask(b"x", 1) == b"x"
                time.sleep(0.05)
            assert quiet.receive_all() == b""
            assert talker.ask(b"x", 1) == b"x"
        closed, = server.wait_for_lines("closed", reason="idle-timeout")
        assert float(closed["duration"].rstrip("s")) >= 0.6


# -- privileges


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_run_as_the_user_of_the_configuration():
    with Server("[server]\nuser = nobody\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
        with open(f"/proc/{server.worker()}/status", encoding="latin-1") as file:
            status = file.read()
        assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert "Groups:\t65534" in status or "Groups:\t\n" in status
        server.kill()
        wait_until(lambda: not server.left_behind(), "no process is left", 1 * SLOWER)


def test_json_lines_stay_whole_when_many_threads_write_at_once():
    config = "[server]\nlog_format = json\nthreads = 4\n" + service("hola")
    with Server(config) as server:
        for _ in range(100 if not SANITIZED else 30):
            clients = [server.connect("hola") for _ in range(10)]
            for client in clients:
                client.send(b"hola hola adios")
            for client in clients:
                assert client.receive_all() == b"pues hola" * 2 + b"pues adios"
                client.socket.close()
        server.stop()
        for line in server.log().splitlines():
            assert isinstance(json.loads(line), dict)
        assert not any(process_lives(pid) for pid in server.left_behind())


@pytest.mark.parametrize("step", ["start", "loop_start"])
def test_a_service_that_never_starts_does_not_hang_the_server(step):
    config = (f"[server]\nstart_timeout = {500 * SLOWER}ms\n" +
              service("x", "refuser", at=step, hangs="yes"))
    with Server(config, wait=False) as server:
        assert server.process.wait(DEADLINE) == 1
        assert re.search(rf"worker does not start, and is killed .*service=x callback={step}",
                         server.log())


@pytest.mark.skipif(VARIANT == "tsan", reason="a thread of ThreadSanitizer's wakes up all the time")
def test_a_server_with_nothing_to_do_does_not_wake_up():
    config = service("echo") + service("two", "echo", isolate="yes")
    with Server("[server]\nthreads = 2\n" + config) as server:
        with server.connect("echo") as one, server.connect("two") as two:
            assert one.ask(b"hola", 4) == two.ask(b"hola", 4) == b"hola"
            wait_for_rest([server.pid] + server.workers(), 2.5)
            assert one.ask(b"hola", 4) == two.ask(b"hola", 4) == b"hola"
