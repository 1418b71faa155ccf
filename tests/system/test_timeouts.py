"""first_byte_timeout, message_timeout, session_timeout and their neighbours: who is closed, when, and why.

No timeout is early: what a client measures from before its connect or its send is never less. How late one
may be is said only where hostile clients are many (test_hostile_clients.py)."""

import os
import signal
import time

import pytest

from controlled import Controlled
from server import Server, run, service
from settings import plugin_path, wait_until


def seconds_until_closed(client, start):
    assert client.receive_all() == b""
    return time.monotonic() - start


def drip(client, text, pause=0.1):
    """Sends a byte at a time until the server closes. Returns how many were sent."""
    for sent, byte in enumerate(text):
        try:
            client.send(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            return sent
        time.sleep(pause)
    return len(text)


def closed_with(server, reason, count=1):
    return server.wait_for_lines("closed", count=count, reason=reason)


# -- the first byte


def test_first_byte_timeout_closes_who_says_nothing():
    with Server(service("echo", first_byte_timeout="400ms")) as server:
        start = time.monotonic()
        with server.connect("echo") as quiet, server.connect("echo") as late:
            assert late.ask(b"x", 1) == b"x"
            assert seconds_until_closed(quiet, start) >= 0.4
            assert late.is_silent(0.3)
            assert late.ask(b"x", 1) == b"x"
        closed_with(server, "first-byte-timeout")
        closed_with(server, "closed-by-client")


def test_first_byte_timeout_is_not_for_a_client_that_ended_its_side():
    """It can send nothing any more, and the plugin may have something to say to it."""
    with Server(service("late", first_byte_timeout="300ms")) as server:
        with server.connect("late") as client:
            client.end()
            assert client.receive_all() == b"0 bytes\n"


# -- a message


def test_message_timeout_closes_who_sends_a_line_byte_by_byte():
    with Server(service("framing_line", message_timeout="500ms")) as server:
        with server.connect("framing_line") as slow, server.connect("framing_line") as quick:
            assert slow.ask_line("whole") == "5 whole\n"
            start = time.monotonic()
            assert drip(slow, b"x" * 400, 0.05) < 400
            assert time.monotonic() - start >= 0.5
            assert quick.ask_line("hola") == "4 hola\n"
        closed, = closed_with(server, "message-timeout")
        assert float(closed["duration"].rstrip("s")) >= 0.5


def test_the_wait_for_a_message_follows_that_for_the_first_byte():
    with Server(service("framing_line", first_byte_timeout="1h", message_timeout="300ms")) as server:
        with server.connect("framing_line") as client:
            assert client.is_silent(0.6)
            start = time.monotonic()
            client.send(b"x")
            assert seconds_until_closed(client, start) >= 0.3
        closed_with(server, "message-timeout")


def test_message_timeout_counts_from_the_first_byte_of_each_message():
    """The end of one and the beginning of the next come in one piece, so that some input is always kept."""
    with Server(service("framing_line", message_timeout="1s")) as server:
        with server.connect("framing_line") as client:
            client.send(b"a")
            start = time.monotonic()
            while time.monotonic() - start < 2.5:
                client.send(b"\nb")
                assert client.receive_line() in ("1 a\n", "1 b\n")
                time.sleep(0.1)
            start = time.monotonic()
            client.send(b"\nb")
            client.receive_line()
            assert seconds_until_closed(client, start) >= 1
        closed_with(server, "message-timeout")


def test_message_timeout_is_not_for_silence_between_messages():
    with Server(service("framing_line", message_timeout="200ms")) as server:
        with server.connect("framing_line") as client:
            assert client.is_silent(0.6)
            assert client.ask_line("hola") == "4 hola\n"
            assert client.is_silent(0.6)
            assert client.ask_line("hola") == "4 hola\n"


def test_message_timeout_without_a_framing_is_for_what_the_plugin_leaves():
    """nibbler takes three bytes; two of them are kept until the third comes."""
    with Server(service("nibbler", message_timeout="500ms")) as server:
        with server.connect("nibbler") as client:
            assert client.is_silent(0.8)
            start = time.monotonic()
            while time.monotonic() - start < 1.2:
                assert client.ask(b"abcd", 3)
                assert client.ask(b"ab", 3)
                time.sleep(0.05)
            start = time.monotonic()
            client.send(b"ab")
            assert seconds_until_closed(client, start) >= 0.5
        closed_with(server, "message-timeout")


def test_a_plugin_that_pauses_is_not_waited_for():
    """The plugin pauses for 900 ms while the beginning of a message is kept, and the wait starts anew."""
    with Server(service("hurried", message_timeout="500ms")) as server:
        with server.connect("hurried") as client:
            assert client.ask(b"wait\nbegi", 5) == b"wait\n"
            assert client.is_silent(0.7)
            client.send(b"nning\n")
            assert client.receive_line() == "beginning\n"
            start = time.monotonic()
            client.send(b"x")
            assert seconds_until_closed(client, start) >= 0.5


def test_output_above_the_high_water_mark_stops_the_wait_for_a_message():
    """Nothing is read from such a client, so the rest of its message cannot come: it is a slow reader."""
    line = b"x" * 99000 + b"\n"
    with Server(service("hurried", message_timeout="300ms", write_timeout="1500ms")) as server:
        with server.connect("hurried", receive_buffer=4096) as client:
            client.socket.setblocking(False)
            try:
                while True:
                    client.socket.send(line)
            except BlockingIOError:
                pass
            closed_with(server, "slow-reader")


# -- the whole session


@pytest.mark.parametrize("timeout", ["700ms", "1200ms"])
def test_session_timeout_closes_also_who_is_busy(timeout):
    with Server(service("echo", session_timeout=timeout)) as server:
        start = time.monotonic()
        with server.connect("echo") as client:
            try:
                while client.ask(b"x", 1) == b"x":
                    time.sleep(0.01)
            except ConnectionError:
                pass
            assert time.monotonic() - start >= int(timeout.rstrip("ms")) / 1000
        closed_with(server, "session-timeout")


def test_session_timeout_closes_who_takes_its_last_answer_too_slowly():
    with Server(service("producer", session_timeout="1s")) as server:
        with server.connect("producer", receive_buffer=4096) as client:
            client.send(b"30000000\n")
            client.end()
            with pytest.raises(ConnectionResetError):
                while client.receive(500):
                    time.sleep(0.01)
        closed_with(server, "session-timeout")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_answer_that_the_end_of_the_server_cuts_off_does_not_look_whole(how):
    config = "[server]\ndrain_timeout = 300ms\n" + service("producer")
    with Server(config) as server:
        with server.connect("producer", receive_buffer=4096) as client:
            client.send(b"50000000\n")
            assert client.receive(1000)
            server.stop(how)
            with pytest.raises(ConnectionResetError):
                client.receive_all()
        assert server.wait_for_lines("closed", reason="shutdown")


def test_idle_timeout_closes_also_who_takes_no_output():
    with Server(service("producer", idle_timeout="500ms", write_timeout="never")) as server:
        with server.connect("producer", receive_buffer=4096) as client:
            client.send(b"16000000\n")
            closed_with(server, "idle-timeout")


# -- while the server leaves


def test_timeouts_hold_while_a_worker_drains():
    with Controlled(service("framing_line", message_timeout="600ms",
                            session_timeout="1500ms")) as server:
        with server.connect("framing_line") as slow, server.connect("framing_line") as busy:
            assert busy.ask_line("a") == slow.ask_line("a") == "1 a\n"
            slow.send(b"b")
            server.reload()
            assert slow.receive_all() == b""
            assert busy.ask_line("a") == "1 a\n"
            assert busy.receive_all() == b""
        closed_with(server, "message-timeout")
        closed_with(server, "session-timeout")
        server.wait_for_generation(2)


# -- a loop that is held up


@pytest.mark.parametrize("key, before, after, answer", [
    ("idle_timeout", b"a\n", b"b\n", b"1 b\n"),
    ("message_timeout", b"a\nb", b"c\n", b"2 bc\n"),
    ("first_byte_timeout", b"", b"b\n", b"1 b\n")])
def test_what_comes_in_time_counts_though_the_loop_sees_it_late(key, before, after, answer):
    """The worker is stopped before the input comes, and wakes when the timeout is over. Its clock has rung
    in between, so that it sees to the timers first."""
    with Server("[server]\nstall_limit = never\n" + service("framing_line", threads=1, **{key: "1500ms"})
                + service("echo", threads=1, idle_timeout="1h")) as server:
        start = time.monotonic()
        clients = [server.connect("framing_line") for _ in range(20)]
        for client in clients:
            client.send(before)
            assert not before or client.receive(4) == b"1 a\n"
        with server.connect("echo") as ticking:
            assert ticking.ask(b"x", 1) == b"x"
            os.kill(server.worker(), signal.SIGSTOP)
            time.sleep(0.3)
            for client in clients:
                client.send(after)
            in_time = time.monotonic() - start < 1.5
            time.sleep(1.8)
            os.kill(server.worker(), signal.SIGCONT)
            if not in_time:
                pytest.skip("the machine was too slow for the clients to be in time")
            for client in clients:
                assert client.receive(len(answer)) == answer
                client.socket.close()


def test_idle_timeout_counts_from_what_was_sent_after_a_long_callback():
    """The loop's timer is due as the callback returns, and its time was read before it."""
    with Server("[server]\nstall_limit = never\n" + service("stuck", threads=1, idle_timeout="2s")) as server:
        with server.connect("stuck") as client:
            assert client.ask(b"2500\n", 5) == b"2500\n"
            assert seconds_until_closed(client, time.monotonic()) > 1


# -- who says what


def test_plugins_have_defaults_of_their_own():
    with Server(service("hurried")) as server:
        with server.connect("hurried") as client:
            start = time.monotonic()
            client.send(b"x")
            assert seconds_until_closed(client, start) >= 0.3


def test_what_the_file_says_overrules_the_plugin():
    config = ("[defaults]\nmessage_timeout = never\n"
              + service("own", "hurried", message_timeout="700ms") + service("other", "hurried"))
    with Server(config) as server:
        with server.connect("own") as own, server.connect("other") as other:
            start = time.monotonic()
            own.send(b"x")
            other.send(b"x")
            assert seconds_until_closed(own, start) >= 0.7
            assert other.ask(b"y\n", 3) == b"xy\n"


def test_the_page_of_a_plugin_shows_its_defaults():
    page = run("plugins", plugin_path("hurried")).stdout
    assert [line.split()[:3] for line in page.splitlines() if "_timeout" in line] == [
        ["message_timeout", "duration", "300ms"], ["write_timeout", "duration", "never"],
        ["session_timeout", "duration", "1d"]]
    assert "_timeout" not in run("plugins", plugin_path("framing_line")).stdout


def test_each_timeout_is_counted_under_its_own_name():
    names = ("first_byte", "message", "session")
    with Controlled("".join(service(name, "framing_line", **{name + "_timeout": "200ms"})
                            for name in names)) as server:
        for name in names:
            with server.connect(name) as client:
                client.send(b"x" if name != "first_byte" else b"")
                client.receive_all()
        for name in names:
            reason = name.replace("_", "-") + "-timeout"
            wait_until(lambda: server.service_status(name)["ended"][reason] == 1, f"one {reason}")
            assert f"{reason} 1" in server.command("status").stdout
