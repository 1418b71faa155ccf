"""hola: tokens on a stream, however they are cut."""

import random
import re
import socket

import pytest

from processes import memory_of
from server import Server, service


@pytest.fixture(scope="module")
def server():
    with Server(service("hola")) as server:
        yield server


def talk(server, *parts):
    """Sends the parts one by one, ends, and returns all that was answered."""
    with server.connect("hola") as client:
        for part in parts:
            client.send(part)
        client.end()
        return client.receive_all()


def test_the_classic_client_gets_both_answers_and_the_end():
    """Connects, sends four bytes without a newline, waits two seconds, says goodbye."""
    with Server(service("hola")) as server, server.connect("hola") as client:
        client.send(b"hola")
        assert client.socket.recv(1000) == b"pues hola"
        assert client.is_silent(2)
        client.send(b"adios")
        assert client.socket.recv(1000) == b"pues adios"
        assert client.socket.recv(1000) == b""


def test_tokens_that_come_together_are_answered_in_order(server):
    assert talk(server, b"holaadios") == b"pues holapues adios"
    assert talk(server, b"holaholahola") == b"pues hola" * 3


def test_tokens_that_arrive_byte_by_byte_are_answered_in_order(server):
    assert talk(server, *(bytes([byte]) for byte in b"holaadios")) == b"pues holapues adios"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_the_line_ending_of_the_client_is_mirrored(server, ending):
    answer = talk(server, b"hola" + ending + b"adios" + ending)
    assert answer == b"pues hola" + ending + b"pues adios" + ending


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_lines_that_arrive_byte_by_byte_are_answered_once_each(server, ending):
    text = b"hola" + ending + b"hola" + ending + b"adios"
    answer = talk(server, *(bytes([byte]) for byte in text))
    assert answer == b"pues hola" + ending + b"pues hola" + ending + b"pues adios" + ending


def test_what_is_no_token_is_passed_over_up_to_white_space(server):
    assert talk(server, b"xyz hola") == b"pues hola"
    assert talk(server, b"holX adio adiosX") == b"pues adios"
    assert talk(server, b"xhola hola\n") == b"pues hola\n"
    assert talk(server, b"HOLA hol a \t\v\f hola") == b"pues hola"


def test_nothing_asked_is_nothing_answered(server):
    assert talk(server) == b""
    assert talk(server, b" \r\n \n\n") == b""
    assert talk(server, bytes(range(256)) * 10) == b""


def test_nothing_after_adios_is_answered(server):
    assert talk(server, b"adios hola hola") == b"pues adios"


def test_random_cuts_change_no_answer(server):
    rng = random.Random(2)
    words = [rng.choice([b"hola", b"xyz", b"holahola", b"hol", b"adio"]) for _ in range(300)]
    text = b" ".join(words) + b" adios"
    whole = talk(server, text)
    assert len(re.findall(b"pues hola", whole)) == sum(word.count(b"hola") for word in words)
    for _ in range(10):
        cuts = sorted(rng.sample(range(len(text)), 40))
        assert talk(server, *(text[a:b] for a, b in zip([0] + cuts, cuts + [len(text)]))) == whole


def test_a_mebibyte_of_junk_costs_no_memory_and_the_token_after_it_is_answered():
    with Server(service("hola")) as server:
        assert talk(server, b"hola") == b"pues hola"
        before = memory_of(server.worker())
        assert talk(server, b"x" * (1 << 20) + b" hola") == b"pues hola"
        assert talk(server, b"hol " * (1 << 18) + b"hola") == b"pues hola"
        assert memory_of(server.worker()) - before < 4 << 20


def test_the_log_tells_who_came_what_was_asked_and_answered_and_who_left():
    with Server(service("hola")) as server:
        with server.connect("hola") as client:
            peer = "%s:%d" % client.socket.getsockname()
            assert client.ask(b"hola", 9) == b"pues hola"
            assert client.ask(b"adios", 10) == b"pues adios"
            assert client.receive_all() == b""
        server.wait_for_lines("closed", service="hola", peer=peer)
        about = [line for line in server.log().splitlines() if peer in line and " info " in line]
        text = "\n".join(about)
        assert re.search(r"connected", text)
        assert re.search(r"hola.*pues hola", text)
        assert re.search(r"adios.*pues adios", text)
        assert re.search(r"left", text)


def test_a_client_that_resets_disturbs_nobody(server):
    client = server.connect("hola")
    client.send(b"hola")
    client.reset()
    assert talk(server, b"hola") == b"pues hola"


def test_hola_speaks_on_a_unix_socket_too():
    with Server(service("hola", listen="unix://{dir}/hola.sock")) as server:
        with server.connect("hola", "unix") as client:
            assert client.socket.family == socket.AF_UNIX
            assert client.ask(b"holaadios", 19) == b"pues holapues adios"
