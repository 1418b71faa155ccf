"""The date is set an hour forward or back while the server runs: no timeout is early or late.

An interposed library (tests/preload/clock.c) shifts the date for the server alone."""

import datetime
import os
import struct
import time

import pytest

from server import Server, service
from settings import BUILD, DEADLINE, SANITIZED, wait_until

HOUR = 3600

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime must be loaded first")


class Shifted(Server):
    """A server whose date this test sets."""

    def __init__(self, config, **keys):
        super().__init__(config, env={"LD_PRELOAD": os.path.join(BUILD, "tests/preload/clock.so")},
                         **keys)
        self.shift_file = os.path.join(self.directory, "shift")
        self.env["CLOCK_SHIFT_FILE"] = self.shift_file
        self.shift(0)

    def shift(self, seconds):
        fd = os.open(self.shift_file, os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, struct.pack("=q", seconds), 0)
        os.close(fd)

    def last_date(self):
        stamp = self.log().splitlines()[-1].split()[0]
        return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


KEYS = {"first_byte_timeout": "1s", "idle_timeout": "1s", "message_timeout": "1s",
        "write_timeout": "1s", "session_timeout": "1s"}


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_no_timeout_is_early_or_late_when_the_date_is_set(jump):
    """One service for each timeout; what an hour too late would be, the deadline of the test shows."""
    config = "".join(service(key, "producer" if key == "write_timeout" else "framing_line",
                             **{"write_timeout": "never", key: value}) for key, value in KEYS.items())
    with Shifted(config) as server:
        clients = {key: server.connect(key, receive_buffer=4096) for key in KEYS}
        for key, client in clients.items():
            client.send({"message_timeout": b"x", "write_timeout": b"10000000\n",
                         "first_byte_timeout": b""}.get(key, b"x\n"))
        start = time.monotonic()
        server.shift(jump)
        reasons = {"first-byte-timeout", "idle-timeout", "message-timeout", "slow-reader",
                   "session-timeout"}
        wait_until(lambda: reasons == {line["reason"] for line in server.lines("closed")},
                   "each is closed for its reason")
        assert time.monotonic() - start < DEADLINE
        for line in server.lines("closed"):
            assert 1 <= float(line["duration"].rstrip("s")) < DEADLINE, line
        # Otherwise the library did nothing, and this test shows nothing.
        assert abs(server.last_date() - time.time() - jump) < 60


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_timers_of_plugins_and_of_the_drain_do_not_follow_the_date(jump):
    config = "[server]\ndrain_timeout = 1s\n" + service("timer") + service("echo")
    with Shifted(config) as server:
        with server.connect("timer") as client, server.connect("echo") as held:
            assert held.ask(b"x", 1) == b"x"
            start = time.monotonic()
            client.send(b"after 700\n")
            server.shift(jump)
            assert client.receive_line() == "rang\n"
            assert time.monotonic() - start >= 0.7
            server.shift(0)
            start = time.monotonic()
            server.process.terminate()
            server.wait_for_lines("draining")
            server.shift(jump)
            assert server.process.wait(DEADLINE) == 0
            assert time.monotonic() - start >= 1
