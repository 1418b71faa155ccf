"""The log: text and JSON, level by level, a line for each connection that ended."""

import json
import os
import re
import socket

import pytest

from server import Server, service
from settings import wait_until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_each_connection_that_ends_has_one_line_in_text():
    with Server(service("echo")) as server:
        with server.connect("echo") as client:
            peer = "%s:%d" % client.socket.getsockname()
            assert client.ask(b"hola", 4) == b"hola"
            client.end()
            assert client.receive_all() == b""
        server.wait_for_log(rf"^{TIME} info closed service=echo peer={re.escape(peer)} in=4 out=4 "
                            r"duration=\d+\.\d{3}s reason=closed-by-client$")
        assert len(server.lines("closed")) == 1


def test_each_connection_that_ends_has_one_line_in_json():
    with Server("[server]\nlog_format = json\n" + service("echo")) as server:
        with server.connect("echo") as client:
            peer = "%s:%d" % client.socket.getsockname()
            assert client.ask(b"hola", 4) == b"hola"
        line, = wait_until(lambda: server.json_lines("closed"), "a line `closed`")
        assert re.fullmatch(TIME, line["time"]) and line["level"] == "info"
        assert (line["service"], line["peer"], line["in"], line["out"], line["reason"]) == \
            ("echo", peer, 4, 4, "closed-by-client")
        assert isinstance(line["duration"], float) and 0 <= line["duration"] < 100
        server.stop()
        for line in server.json_lines():
            assert {"time", "level", "message"} <= line.keys()
        served, = server.json_lines("served")
        assert served["bytes_in"] == 4 and isinstance(served["bytes_in"], int)


def test_the_ready_line_comes_after_every_endpoint_and_counts_them():
    config = service("one", "echo", "tcp://127.0.0.1:0 udp://127.0.0.1:0") + service("two", "hola")
    with Server(config) as server:
        lines = [line for line in server.log().splitlines() if re.search(r"listening|ready", line)]
        assert [bool(re.search(r" listening service=", line)) for line in lines] == [True] * 3 + [False]
        assert re.match(rf"{TIME} info ready ", lines[-1])
        assert "services=2" in lines[-1] and "endpoints=3" in lines[-1]


LEVELS = ["error", "warning", "info", "debug"]


def is_listening(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_only_lines_of_the_level_and_above_are_written(level, log_format):
    log = "{dir}/x.log"
    config = f"[server]\nlog_level = {level}\nlog_format = {log_format}\nlog = {log}\n"
    config += service("logger", listen="unix://{dir}/x.sock")
    with Server(config, wait=False) as server:
        path = os.path.join(server.directory, "x.sock")
        wait_until(lambda: is_listening(path), "the server to listen")
        with server.connect(endpoint="unix://" + path) as client:
            answers = {client.ask_line(f"{each} of {each}") for each in LEVELS}
            assert answers == {"debug\n" if level == "debug" else "logged\n"}
        server.stop()
        text = server.log(log.replace("{dir}", server.directory))
        assert re.findall(r"logger says of (\w+)", text) == LEVELS[:LEVELS.index(level) + 1]
        for line in text.splitlines():
            said = json.loads(line)["level"] if log_format == "json" else line.split()[1]
            assert said in LEVELS[:LEVELS.index(level) + 1]


NASTY = (b"info \x1b[31mred\x07 tab\there \"quoted\" back\\slash \xff\xfe \xc3\xa9 \r middle "
         b"2026-01-01T00:00:00.000Z error forged")


def test_what_clients_send_cannot_forge_lines_or_reach_the_terminal_in_text():
    with Server(service("logger")) as server:
        with server.connect("logger") as client:
            assert client.ask(NASTY + b"\n", 7) == b"logged\n"
        line = server.wait_for_log(r"^.*logger says.*$").group(0)
        assert "forged" in line and " error " not in line[:40]
        with open(server.log_file, "rb") as file:
            assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", file.read())


def test_what_clients_send_is_valid_json_whatever_it_is():
    with Server("[server]\nlog_format = json\n" + service("logger")) as server:
        with server.connect("logger") as client:
            peer = "%s:%d" % client.socket.getsockname()
            assert client.ask(NASTY + b"\n", 7) == b"logged\n"
            every = bytes(byte for byte in range(1, 256) if byte not in b"\n")
            assert client.ask(b"info " + every + b"\n", 7) == b"logged\n"
        wait_until(lambda: '"closed"' in server.log(), "the end")
        server.stop()
        with open(server.log_file, "rb") as file:
            lines = [json.loads(line) for line in file.read().decode("utf-8").splitlines()]
        said = [line for line in lines if "logger says" in line["message"]]
        assert len(said) == 2
        assert said[0]["service"] == "logger" and said[0]["peer"] == peer
        assert '"quoted" back\\slash' in said[0]["message"] and "\u00e9" in said[0]["message"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_very_long_line_is_cut_and_stays_one_line(log_format):
    with Server(f"[server]\nlog_format = {log_format}\n" + service("logger")) as server:
        with server.connect("logger") as client:
            assert client.ask(b"info " + b"\x01\"" * 9000 + b"\n", 7) == b"logged\n"
        wait_until(lambda: "closed" in server.log(), "the end")
        line, = [line for line in server.log().splitlines() if "logger says" in line]
        assert 1000 < len(line.encode()) < 5000
        if log_format == "json":
            assert json.loads(line)["level"] == "info"


def test_a_log_that_cannot_be_written_stops_nobody():
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with Server("[server]\nlog = /dev/full\n" + service("echo", listen="unix://{dir}/x.sock"),
                wait=False) as server:
        path = os.path.join(server.directory, "x.sock")
        wait_until(lambda: is_listening(path), "the server to listen")
        with server.connect(endpoint="unix://" + path) as client:
            assert client.ask(b"hola", 4) == b"hola"
        server.stop()


def test_a_log_that_cannot_be_opened_is_refused():
    with Server("[server]\nlog = /no/such/directory/x.log\n" + service("echo"), wait=False) as server:
        assert server.process.wait(20) == 1
        assert re.search(r"enchufe\.ini:2: \[server\] log: .*/no/such/directory/x\.log", server.log())
