"""Where the server under test is, and how long things may take."""

import os
import re
import statistics
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("ENCHUFE_BUILD", "build"))
ENCHUFE = os.path.join(ROOT, os.environ.get("ENCHUFE", os.path.join(BUILD, "enchufe")))
VARIANT = os.environ.get("ENCHUFE_VARIANT", "release")
PLUGINS = os.path.join(BUILD, "plugins")
TEST_PLUGINS = os.path.join(BUILD, "tests", "plugins")

SANITIZED = VARIANT in ("asan", "ubsan", "tsan")
# How much longer things may take, and how much smaller the heaviest tests are, under a sanitizer.
SLOWER = {"asan": 4, "ubsan": 3, "tsan": 6}.get(VARIANT, 1)
DEADLINE = 20 * SLOWER

# Full length: `make soak`. A count is soak(IN_THE_SUITE, AT_FULL_LENGTH).
SOAK = os.environ.get("ENCHUFE_SOAK") == "1"

SANITIZER_REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior")

# For plugins that crash on purpose: the signal must reach the process as it does in a release build.
LET_CRASH = "handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:detect_leaks=0"


def soak(short, full):
    return full if SOAK else short


def plugin_path(name):
    """The path of a plugin under tests/plugins/, for `plugin = PATH`."""
    return os.path.join(TEST_PLUGINS, name + ".so")


def wait_until(condition, what, deadline=DEADLINE):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + deadline
    pause = 0.002
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def figures(seconds):
    """What a test prints of how long something took."""
    ordered = sorted(seconds)
    return (f"min {ordered[0]:.3f} s, median {statistics.median(ordered):.3f} s, "
            f"p99 {ordered[len(ordered) * 99 // 100]:.3f} s, max {ordered[-1]:.3f} s")
