"""The clients of tests/load/abuse: many at a time that do what no client should."""

import os
import re
import subprocess

from load import wait_for_word
from server import environment
from settings import BUILD, SANITIZER_REPORT, SLOWER


class Abuse:
    """Runs from the beginning of the block to its end; `counts` is what it then told.

    mode: drip, deaf, halfclose, reset or fragments; see tests/load/abuse.c."""

    def __init__(self, mode, port, count, parallel=64, size=0, deadline=60):
        self.args = [os.path.join(BUILD, "tests", "abuse"), mode, "--tcp", port, "--count", count,
                     "--parallel", parallel, "--size", size,
                     "--deadline", int(deadline * 1000 * SLOWER)]
        self.counts = None

    def __enter__(self):
        self.process = subprocess.Popen(list(map(str, self.args)), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment())
        return self

    def wait_until_opened(self):
        wait_for_word(self.process, "opened")

    def __exit__(self, kind, *_):
        if kind is not None:
            self._kill()
            return
        try:
            out, err = self.process.communicate(timeout=600 * SLOWER)
        except BaseException:
            self._kill()
            raise
        assert self.process.returncode == 0 and not SANITIZER_REPORT.search(err), out + err
        self.counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", out)}
        print(self.counts)

    def all_are(self, name):
        """Every client ended in this way."""
        begun = sum(n for counter, n in self.counts.items() if not counter.endswith("_ms"))
        assert begun == self.counts[name], self.counts

    def _kill(self):
        self.process.kill()
        print(f"---- abuse\n{self.process.communicate()}")


def abused(mode, port, count, **keys):
    """The same from its beginning to its end. Returns it with its counts."""
    with Abuse(mode, port, count, **keys) as abuse:
        pass
    return abuse
