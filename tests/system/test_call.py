"""enchufe call: the small client."""

import re
import socket
import threading
import time

import pytest

from server import Server, run, service
from settings import DEADLINE


@pytest.fixture(scope="module")
def server():
    config = (service("hola", listen="tcp://127.0.0.1:0 tcp://[::1]:0 unix://{dir}/hola.sock")
              + service("echo", listen="tcp://127.0.0.1:0 udp://127.0.0.1:0")
              + service("eof") + service("hoarder") + service("closer")
              + service("responder", listen="udp://127.0.0.1:0", reply="{count}:{data}"))
    with Server(config) as server:
        yield server


def one_line(done):
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_each_message_is_sent_and_each_reply_printed(server):
    for endpoint in server.endpoints("hola"):
        done = run("call", endpoint, "hola", "adios")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "pues hola\npues adios\n"


def test_a_reply_that_ends_with_a_newline_gets_no_second_one(server):
    done = run("call", server.endpoint("echo", "tcp"), "one\n", "two")
    assert done.stdout == "one\ntwo\n"


def test_datagrams_are_called_one_by_one(server):
    done = run("call", server.endpoint("echo", "udp"), "hola", "adios")
    assert (done.returncode, done.stdout) == (0, "hola\nadios\n")
    done = run("call", server.endpoint("responder"), "hola")
    assert re.fullmatch(r"\d+:hola\n", done.stdout)


def test_standard_input_is_sent_when_no_message_is_given(server):
    done = run("call", server.endpoint("echo", "tcp"), input="Hola que tal\n")
    assert (done.returncode, done.stdout) == (0, "Hola que tal\n")


def test_standard_input_of_datagrams_is_a_line_each(server):
    done = run("call", server.endpoint("echo", "udp"), input="uno\ndos\ntres")
    assert (done.returncode, done.stdout) == (0, "uno\ndos\ntres\n")


def test_much_standard_input_comes_back_byte_for_byte(server):
    data = bytes(range(256)) * 40_000
    done = run("call", server.endpoint("echo", "tcp"), input=data, text=False)
    assert done.returncode == 0 and done.stdout == data


def test_the_end_of_standard_input_is_told_to_the_server(server):
    done = run("call", server.endpoint("eof"), input="12345")
    assert (done.returncode, done.stdout) == (0, "5 bytes\n")


def test_nothing_listens_is_one_line_and_status_1(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert re.search(rf"tcp://127\.0\.0\.1:{port}.*refused", one_line(
            run("call", f"tcp://127.0.0.1:{port}", "hola")))
        assert str(port) in one_line(run("call", f"udp://127.0.0.1:{port}", "hola", "--timeout=2s"))
    assert "none.sock" in one_line(run("call", f"unix://{tmp_path}/none.sock", "hola"))


def test_nothing_answers_within_the_timeout_is_one_line_and_status_1(server):
    start = time.monotonic()
    line = one_line(run("call", "--timeout", "300ms", server.endpoint("hoarder"), "hola"))
    assert time.monotonic() - start >= 0.3
    assert "300ms" in line and server.endpoint("hoarder") in line


def test_a_datagram_that_nobody_answers_is_one_line_and_status_1():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        endpoint = f"udp://127.0.0.1:{deaf.getsockname()[1]}"
        assert endpoint in one_line(run("call", "--timeout=200ms", endpoint, "hola"))


def test_a_server_that_closes_before_the_last_message_is_status_1(server):
    done = run("call", server.endpoint("hola", "tcp"), "adios", "hola")
    assert done.stdout == "pues adios\n"
    assert "closed" in one_line(done)


def test_a_server_that_resets_is_status_1(server):
    one_line(run("call", server.endpoint("closer"), "a"))


def test_a_reply_in_parts_is_printed_whole():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)

        def serve():
            with listener.accept()[0] as client:
                client.recv(100)
                for part in (b"one ", b"reply ", b"in parts"):
                    client.sendall(part)
                client.recv(100)
                client.sendall(b"and one")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = run("call", f"tcp://127.0.0.1:{listener.getsockname()[1]}", "a", "b")
        thread.join(DEADLINE)
        assert (done.returncode, done.stdout) == (0, "one reply in parts\nand one\n")


@pytest.mark.parametrize("args", [
    [], ["--timeout"], ["--timeout=soon", "tcp://127.0.0.1:1", "x"], ["--what", "tcp://127.0.0.1:1"],
    ["nonsense", "x"], ["tcp://127.0.0.1:70000", "x"], ["tcp://127.0.0.1:0", "x"],
    ["tcp://127.0.0.1:8000-8010", "x"]])
def test_wrong_usage_is_status_2_and_says_what_is_right(args):
    done = run("call", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("enchufe call: ")
