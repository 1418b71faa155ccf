"""echo on streams: byte for byte, to readers fast and slow."""

import os
import random
import shutil
import subprocess
import threading
import time

import pytest

from processes import memory_of
from server import Server, environment, service
from settings import DEADLINE, SANITIZED, SLOWER, wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def server():
    with Server(service("echo", listen="tcp://127.0.0.1:0 unix://{dir}/echo.sock")) as server:
        yield server


def send_in_background(client, data, then_end=True):
    """Sends from a thread of its own, as long as the server takes it."""
    def work():
        try:
            client.send(data)
            if then_end:
                client.end()
        except OSError:
            pass  # the server closed first: what the test is about, or the test sees it itself
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_every_byte_comes_back_and_then_the_end(server, kind):
    data = random.Random(1).randbytes(3 * MIB + 7)
    with server.connect("echo", kind) as client:
        thread = send_in_background(client, data)
        assert client.receive_all() == data
        thread.join()


def test_a_client_that_says_nothing_gets_nothing(server):
    with server.connect("echo") as client:
        client.end()
        assert client.receive_all() == b""


@pytest.mark.parametrize("nc", ["ncat", "nc.openbsd -N", "busybox nc"])
def test_nc_gets_its_line_and_ends_by_itself(server, nc):
    if not shutil.which(nc.split()[0]):
        pytest.skip(f"{nc} is not installed")
    done = subprocess.run(f"echo 'Hola que tal' | {nc} 127.0.0.1 {server.port('echo', 'tcp')}",
                          shell=True, capture_output=True, timeout=DEADLINE, check=True)
    assert done.stdout == b"Hola que tal\n"


@pytest.mark.skipif(not shutil.which("php"), reason="php is not installed")
def test_a_php_stream_that_shuts_its_side_down_reads_to_the_end(server):
    script = f"""
        $s = stream_socket_client("tcp://127.0.0.1:{server.port('echo', 'tcp')}", $n, $e, 10);
        fwrite($s, "Hola que tal\\n");
        stream_socket_shutdown($s, STREAM_SHUT_WR);
        echo stream_get_contents($s);
    """
    done = subprocess.run(["php", "-r", script], capture_output=True, timeout=DEADLINE, check=True)
    assert done.stdout == b"Hola que tal\n"


def test_a_client_that_reads_slowly_gets_every_byte_in_bounded_memory():
    size = 100 * MIB if not SANITIZED else 20 * MIB
    data = random.Random(3).randbytes(size)
    with Server(service("echo")) as server:
        worker = server.worker()
        before = memory_of(worker)
        peak, at = 0, 0
        with server.connect("echo", receive_buffer=65536) as client:
            thread = send_in_background(client, data)
            while at < size:
                part = client.socket.recv(MIB)
                assert part, f"the stream ended after {at} bytes"
                assert part == data[at:at + len(part)], f"other bytes after {at}"
                at += len(part)
                if at // MIB % 8 == 0:  # a reader with other things to do
                    time.sleep(0.001)
                peak = max(peak, memory_of(worker))
            assert client.receive_all() == b""
            thread.join()
        assert peak - before < 8 * MIB * SLOWER
        closed = server.wait_for_lines("closed", service="echo")[0]
        assert (int(closed["in"]), int(closed["out"])) == (size, size)


def test_a_client_that_never_reads_is_closed_as_slow_reader_while_a_neighbour_is_served():
    with Server(service("echo", write_timeout="1s", threads=1)) as server:
        worker = server.worker()
        before = memory_of(worker)
        with server.connect("echo") as client, server.connect("echo") as neighbour:
            thread = send_in_background(client, bytes(100 * MIB), then_end=False)
            peak, answers = 0, 0
            while not server.lines("closed"):
                assert neighbour.ask(b"ping", 4) == b"ping"
                answers += 1
                peak = max(peak, memory_of(worker))
            thread.join(DEADLINE)
            assert not thread.is_alive()
            assert neighbour.ask(b"ping", 4) == b"ping"
        closed = server.wait_for_lines("closed", service="echo", reason="slow-reader")[0]
        assert 0.9 < float(closed["duration"].rstrip("s"))
        assert answers > 0 and peak - before < 8 * MIB * SLOWER


def test_many_clients_that_never_read_cost_a_bounded_amount_of_memory_each():
    count = 50
    with Server(service("echo", write_timeout="2s")) as server:
        worker = server.worker()
        before = memory_of(worker)
        clients = [server.connect("echo") for _ in range(count)]
        threads = [send_in_background(client, bytes(20 * MIB), False) for client in clients]
        peak = 0
        while len(server.lines("closed")) < count:
            peak = max(peak, memory_of(worker))
            time.sleep(0.01)
        assert {line["reason"] for line in server.lines("closed")} == {"slow-reader"}
        assert peak - before < count * MIB * SLOWER
        for client, thread in zip(clients, threads):
            client.socket.close()
            thread.join(DEADLINE)


def test_a_client_that_goes_on_reading_a_little_is_not_closed():
    """write_timeout counts from the last byte that the client took."""
    with Server(service("echo", write_timeout="2s")) as server:
        # A window of a few packets stalls by itself, in the system, for more than a second at times.
        with server.connect("echo", receive_buffer=65536) as client:
            data = random.Random(5).randbytes(8 * MIB)
            thread = send_in_background(client, data)
            start, got = time.monotonic(), b""
            while time.monotonic() - start < 4:
                got += client.receive(200_000)
                time.sleep(0.1)
            got += client.receive_all()
            assert got == data
            thread.join()


def test_a_thousand_short_conversations_leave_nothing_behind():
    with Server(service("echo")) as server:
        worker = server.worker()
        with server.connect("echo") as client:
            client.ask(b"x", 1)
        descriptors = len(os.listdir(f"/proc/{worker}/fd"))
        for number in range(1000 if not SANITIZED else 200):
            with server.connect("echo") as client:
                text = b"%d" % number
                assert client.ask(text, len(text)) == text
        wait_until(lambda: len(os.listdir(f"/proc/{worker}/fd")) <= descriptors,
                   "descriptors are closed again")


def test_a_client_that_resets_with_output_queued_is_logged_as_reset():
    with Server(service("echo")) as server:
        client = server.connect("echo")
        client.ask(b"x" * 10, 10)
        client.reset()
        server.wait_for_lines("closed", service="echo", reason="reset")


def test_pipelined_requests_are_answered_in_one_send():
    """What a plugin writes while one batch of input is handled leaves together."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with Server(service("framing_line", threads=1)) as server:
        trace = os.path.join(server.directory, "trace")
        tracer = subprocess.Popen(["strace", "-f", "-e", "trace=%network,write,writev", "-o", trace,
                                   "-p", str(server.worker())], stderr=subprocess.PIPE,
                                  env=environment())
        try:
            assert b"attached" in tracer.stderr.readline()
            with server.connect("framing_line") as client:
                answers = "".join(f"{len(str(n))} {n}\n" for n in range(100)).encode()
                assert client.ask(b"".join(b"%d\n" % n for n in range(100)), len(answers)) == answers
        finally:
            tracer.terminate()
            tracer.communicate()
        with open(trace, encoding="latin-1") as file:
            sends = [line for line in file if " send" in line and '"1 0' in line]
        assert len(sends) == 1, sends


def test_what_is_written_behind_an_answer_that_left_in_part_comes_behind_it():
    """The client reads in odd steps, so that answers are cut anywhere."""
    data = bytes(range(64, 256)) * 65536
    with Server("[server]\nthreads = 1\n" + service("drained")) as server:
        with server.connect("drained", receive_buffer=65536) as client:
            sender = threading.Thread(target=lambda: (client.send(data), client.end()))
            sender.start()
            parts = []
            while part := client.socket.recv(1 + len(parts) * 7919 % 60000):
                parts.append(part)
            sender.join()
    answer = b"".join(parts)
    assert answer.count(b"#") > 0 and answer.replace(b"#", b"") == data
