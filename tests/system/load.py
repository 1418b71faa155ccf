"""The client of tests/load: connections and datagrams as fast as it can, every loss counted."""

import os
import re
import selectors
import subprocess

from server import environment
from settings import BUILD, DEADLINE, SANITIZER_REPORT, SLOWER

LOSSES = ("refused", "reset", "cut", "wrong", "hung", "unanswered", "broken")


class Load:
    """Runs from the beginning of the block to its end, and then asserts that nothing was lost.

    `keys`: what the answers of the versions that may answer are exclusive-or'ed with; 0 is an echo."""

    def __init__(self, tcp=None, udp=None, hold=0, streams=0, datagrams=0, parallel=16, keys=(0,),
                 deadline=10):
        self.held = hold
        self.args = [os.path.join(BUILD, "tests", "load"), "--hold", hold, "--streams", streams,
                     "--datagrams", datagrams, "--parallel", parallel,
                     "--deadline", int(deadline * 1000 * SLOWER)]
        self.args += ["--tcp", tcp] if tcp else []
        self.args += ["--udp", udp] if udp else []
        for key in keys:
            self.args += ["--key", key]
        self.args = list(map(str, self.args))
        self.counts = None

    def __enter__(self):
        self.process = subprocess.Popen(self.args, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment())
        try:
            wait_for_word(self.process, "started")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self._kill()
            return
        try:
            out, err = self.process.communicate(timeout=600 * SLOWER)
        except BaseException:
            self._kill()
            raise
        assert not SANITIZER_REPORT.search(err), err
        self.counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", out)}
        lost = {name: self.counts.get(name) for name in LOSSES if self.counts.get(name) != 0}
        assert not lost and self.process.returncode == 0, f"lost: {lost}\n{out}{err}"
        assert self.counts["held"] == self.held, self.counts

    def _kill(self):
        self.process.kill()
        print(f"---- load\n{self.process.communicate()}")


class Flood(Load):
    """For as long as its block lasts: connections from one address at this rate a second, or datagrams
    that come from every address of its /24 network. What was let in and answered is in `counts`."""

    def __init__(self, rate, source, tcp=None, udp=None):
        super().__init__()
        self.args += ["--rate", str(rate), "--from", source]
        self.args += ["--flood-tcp", str(tcp)] if tcp else []
        self.args += ["--flood-udp", str(udp)] if udp else []


def wait_for_word(process, word):
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(DEADLINE), f"a client did not say `{word}` within {DEADLINE} s"
    line = process.stdout.readline()
    assert line == word + "\n", f"{line!r}: {process.communicate(timeout=DEADLINE)}"
