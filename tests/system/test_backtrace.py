"""The log tells where a worker that crashed was, function by function."""

import pytest

from processes import process_lives
from server import Server, service
from settings import SANITIZED, wait_until


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's own frames and threads' stacks differ")
def test_a_stack_that_overflowed_is_walked_and_a_recursion_is_one_frame():
    with Server(service("crash"), crashes=True) as server:
        pid = str(server.worker())
        with server.connect("crash") as client:
            client.send(b"o")
            frames = server.frames(pid)
        assert len(frames) <= 3
        assert all(frame["module"] == "crash.so" for frame in frames)
        assert all(frame["symbol"].startswith("crash_by_depth") for frame in frames)
        assert int(frames[-1]["times"]) >= 20


@pytest.mark.parametrize("command", [b"s", b"a"])
def test_a_crash_is_logged_with_the_way_to_it(command):
    """Which of the plugin's functions it is, is the compiler's choice: some are inlined."""
    with Server(service("crash"), crashes=True) as server:
        pid = str(server.worker())
        with server.connect("crash") as client:
            client.send(command)
            line = server.wait_for_lines("worker crashed")[0]
            frames = server.frames(pid)
        assert line.get("address") == ("0x10" if command == b"s" else None)
        ours = [frame["symbol"] for frame in frames if frame["module"] == "crash.so"]
        assert ours and all(symbol.startswith("crash_") for symbol in ours)
        if command == b"s":
            assert frames[0]["module"] == "crash.so"
        assert "loop_run" in [frame.get("symbol") for frame in frames]


def test_a_call_to_nowhere_is_logged_with_the_caller():
    with Server(service("crash"), crashes=True) as server:
        pid = str(server.worker())
        with server.connect("crash") as client:
            client.send(b"n")
            assert server.wait_for_lines("worker crashed")[0]["address"] == "0x0"
            frames = server.frames(pid)
        assert frames[0]["address"] == "0x0" and "module" not in frames[0]
        assert frames[1]["module"] == "crash.so"


def test_the_frames_are_valid_json():
    config = "[server]\nlog_format = json\n" + service("crash")
    with Server(config, crashes=True) as server:
        pid = server.worker()
        with server.connect("crash") as client:
            client.send(b"s")
            wait_until(lambda: len(server.json_lines("worker started")) == 2, "the next worker")
        frames = server.json_lines("frame")
        assert [frame["n"] for frame in frames] == list(range(len(frames))) and frames
        assert all(frame["pid"] == pid and frame["level"] == "error" for frame in frames)
        assert frames[0]["module"] == "crash.so" and int(frames[0]["offset"], 16) > 0
        assert not process_lives(pid)
