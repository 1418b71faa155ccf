"""Framing: the same messages whole, byte by byte and at random cuts; and what is no message."""

import fcntl
import random
import struct
import termios

import pytest

from server import Server, service, wait_quietly
from settings import wait_until


def lengths(form):
    """A message after its length, which struct writes in that form."""
    return lambda message: struct.pack(form, len(message)) + message


def any_bytes(rng, longest):
    return rng.randbytes(rng.choice([0, 1, 2, 5, longest // 2, longest]))


def without(bad):
    def make(rng, longest):
        return bytes(rng.choice([b for b in range(256) if b not in bad])
                     for _ in range(rng.choice([0, 1, 2, 5, longest // 2, longest])))
    return make


# name: how a message is written, what makes messages that suit it, and the longest
FRAMINGS = {
    "framing_line": (lambda m: m + b"\n", without(b"\r\n\0"), 64),
    "framing_delimiter": (lambda m: m + b"\r\n.\r\n", without(b"\r"), 64),
    "framing_length1": (lengths("B"), any_bytes, 200),
    "framing_length2": (lengths(">H"), any_bytes, 1000),
    "framing_length2le": (lengths("<H"), any_bytes, 1000),
    "framing_length4": (lengths(">I"), any_bytes, 3000),
    "framing_length4le": (lengths("<I"), any_bytes, 3000),
    "framing_length8": (lengths(">Q"), any_bytes, 1000),
    "framing_length8le": (lengths("<Q"), any_bytes, 1000),
    "framing_fixed": (lambda m: m, lambda rng, longest: rng.randbytes(8), 8),
    "framing_netstring": (lambda m: b"%d:%s," % (len(m), m), any_bytes, 64),
}


@pytest.fixture(scope="module")
def server():
    with Server("".join(service(name) for name in FRAMINGS)) as server:
        yield server


def answer_to(messages):
    return b"".join(b"%d %s\n" % (len(message), message) for message in messages)


def converse(server, name, parts):
    with server.connect(name) as client:
        for part in parts:
            client.send(part)
        client.end()
        return client.receive_all()


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("cut", ["whole", "byte_by_byte", "at_random"])
def test_messages_arrive_as_they_were_sent_however_the_stream_is_cut(server, name, cut):
    write, make, longest = FRAMINGS[name]
    rng = random.Random(name + cut)
    messages = [make(rng, longest) for _ in range(12 if cut == "byte_by_byte" else 200)]
    stream = b"".join(map(write, messages))
    if cut == "whole":
        parts = [stream]
    elif cut == "byte_by_byte":
        parts = [stream[i:i + 1] for i in range(min(len(stream), 3000))]
        parts.append(stream[3000:])
    else:
        cuts = sorted(rng.sample(range(len(stream)), 60))
        parts = [stream[a:b] for a, b in zip([0] + cuts, cuts + [len(stream)])]
    assert converse(server, name, parts) == answer_to(messages)


@pytest.mark.parametrize("name", ["framing_length4", "framing_length4le"])
def test_a_message_larger_than_any_buffer_of_the_loop_arrives_whole(server, name):
    message = random.Random(4).randbytes(1 << 20)
    stream = FRAMINGS[name][0](message) + FRAMINGS[name][0](b"after it")
    assert converse(server, name, [stream]) == answer_to([message, b"after it"])


TOO_LONG = {
    "framing_line": b"x" * 65 + b"\n",
    "framing_delimiter": b"x" * 65 + b"\r\n.\r\n",
    "framing_length1": b"\xc9",
    "framing_length2": struct.pack(">H", 1001),
    "framing_length2le": struct.pack("<H", 1001),
    "framing_length4": struct.pack(">I", (1 << 20) + 1),
    "framing_length4le": struct.pack("<I", 0xffffffff),
    "framing_length8": struct.pack(">Q", 1 << 63),
    "framing_length8le": struct.pack("<Q", 1 << 32),
    "framing_netstring": b"65:",
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_message_that_is_too_long_closes_after_the_answers_before_it(name):
    write, make, longest = FRAMINGS[name]
    good = make(random.Random(1), longest)
    with Server(service(name)) as server:
        with server.connect(name) as client:
            client.send(write(good) + TOO_LONG[name])
            assert client.receive_all() == answer_to([good])
        server.wait_for_lines("closed", service=name, reason="message-too-long")


def unread(client, request=termios.FIONREAD):
    """How many bytes the client has not read yet; of TIOCOUTQ: that the server has not."""
    return struct.unpack("i", fcntl.ioctl(client.socket, request, bytes(4)))[0]


def test_a_message_that_is_too_long_waits_until_the_client_has_read_the_answers_before_it():
    """A Unix socket, because there it can be told when it takes no more answers."""
    line, answer = b"x" * 60 + b"\n", b"60 " + b"x" * 60 + b"\n"
    with Server(service("framing_line", listen="unix://{dir}/x.sock")) as server:
        with server.connect("framing_line", "unix") as client:
            expected = b""
            while unread(client) == len(expected):
                client.send(line * 300)
                expected += answer * 300
                wait_quietly(lambda: unread(client) == len(expected), 0.5)
            client.send(b"x" * 70 + b"\n")
            wait_until(lambda: unread(client, termios.TIOCOUTQ) == 0, "the server has it all")
            wait_quietly(lambda: server.lines("closed"), 0.2)
            assert client.receive_all() == expected
        server.wait_for_lines("closed", service="framing_line", reason="message-too-long")


def test_a_line_without_end_closes_once_it_is_too_long():
    with Server(service("framing_line")) as server:
        with server.connect("framing_line") as client:
            client.send(b"x" * 70)
            assert client.receive_all() == b""
        server.wait_for_lines("closed", reason="message-too-long")


@pytest.mark.parametrize("junk", [b"x:", b"5hello", b"5:helloX", b":", b"-1:", b"99999999999999999999:"])
def test_what_is_no_netstring_closes_as_a_bad_frame(junk):
    with Server(service("framing_netstring")) as server:
        with server.connect("framing_netstring") as client:
            client.send(b"2:ok," + junk)
            assert client.receive_all() == b"2 ok\n"
        reason = server.wait_for_lines("closed")[0]["reason"]
        assert reason in ("bad-frame", "message-too-long") if junk[:1] == b"9" else "bad-frame"


@pytest.mark.parametrize("name", [n for n in FRAMINGS if n != "framing_line"])
def test_an_end_in_the_middle_of_a_message_is_cut_short(name):
    with Server(service(name)) as server:
        with server.connect(name) as client:
            message = FRAMINGS[name][0](b"12345678")
            client.send(message + message[:-1])
            client.end()
            assert client.receive_all() == b"8 12345678\n"
        server.wait_for_lines("closed", service=name, reason="cut-short")


def test_a_last_line_without_newline_is_a_message(server):
    assert converse(server, "framing_line", [b"one\ntwo"]) == b"3 one\n3 two\n"
    assert converse(server, "framing_line", [b"one\n"]) == b"3 one\n"


def test_both_line_endings_are_taken_off_and_a_lone_cr_is_not(server):
    assert converse(server, "framing_line", [b"a\r\nb\n\r\n\nc\rd\r\n", b"e\r", b"\nf"]) == \
        b"1 a\n1 b\n0 \n0 \n3 c\rd\n1 e\n1 f\n"


def test_a_longest_line_may_end_with_either_ending(server):
    for ending in (b"\n", b"\r\n"):
        line = b"x" * 64
        assert converse(server, "framing_line", [line, ending]) == answer_to([line])


def test_a_delimiter_may_begin_inside_what_looks_like_its_beginning(server):
    assert converse(server, "framing_delimiter", [b"\r\n\r\n.\r\n", b"\r\n.\r\r\n.\r\n"]) == \
        answer_to([b"\r\n", b"\r\n.\r"])


def test_max_input_of_the_section_lowers_the_longest_message():
    with Server(service("framing_length4", max_input="4k")) as server:
        with server.connect("framing_length4") as client:
            write = FRAMINGS["framing_length4"][0]
            client.send(write(b"x" * 3000) + write(b"y" * 5000))
            assert client.receive_all() == answer_to([b"x" * 3000])
        server.wait_for_lines("closed", reason="message-too-long")
