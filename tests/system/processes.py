"""What /proc tells about a process."""

import os
import re
import time

from settings import wait_until


def guard_kill():
    """From now on os.kill takes only the pid of a process. A plugin whose fork failed says -1, and to
    kill that is to kill everything on the machine."""
    kill = os.kill

    def guarded(pid, sig):
        assert pid > 1, f"{pid} is no process to send a signal to"
        kill(pid, sig)

    if kill.__name__ != "guarded":
        os.kill = guarded


def process_state(pid):
    """The fields of /proc/PID/stat from the state on, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def descriptors_at_rest(pid):
    """The fewest of some looks: a client of the control socket may leave before the server has closed its side."""
    looks = []
    for _ in range(10):
        looks.append(descriptors_of(pid))
        time.sleep(0.001)
    return min(looks)


def process_lives(pid, started=None):
    """Whether the process is there, no zombie, and (with `started`) still the same one."""
    state = process_state(pid)
    return state is not None and state[0] not in "ZX" and (started is None or state[19] == started)


def processor_seconds(pid):
    state = process_state(pid)
    ticks = int(state[11]) + int(state[12]) if state else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def processor_share(pid, seconds):
    """How much of one processor the process uses while it is watched: 0 is none, 1 is all of one."""
    used, start = processor_seconds(pid), time.monotonic()
    while time.monotonic() - start < seconds:
        time.sleep(0.05)
    return (processor_seconds(pid) - used) / (time.monotonic() - start)


def memory_of(pid):
    """The resident memory of a process in bytes; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="latin-1") as file:
            found = re.search(r"VmRSS:\s+(\d+) kB", file.read())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found.group(1)) * 1024 if found else 0


def _times_asleep(pid, main_alone):
    """How often each thread of a process went to sleep."""
    found = {}
    for thread in [pid] if main_alone else _listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="latin-1") as file:
                found[thread] = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", file.read()).group(1)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def wait_for_rest(pids, seconds=0.5, main_alone=False):
    """Until none of the processes' threads, or main threads, has woken up for so long."""
    seen, since = None, 0

    def at_rest():
        nonlocal seen, since
        now = [_times_asleep(pid, main_alone) for pid in pids]
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= seconds

    wait_until(at_rest, f"no thread of {pids} to wake up for {seconds} s")


def children_of(pid):
    found = []
    for task in _listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="latin-1") as file:
                found += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def _listdir(path):
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return []


def threads_of(pid):
    """What its threads are called, by their number."""
    found = {}
    for thread in _listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as name:
                found[int(thread)] = name.read().rstrip("\n")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def loops_of(pid):
    """The threads of a worker that run its loops: the first is the main thread, the others have names."""
    return [pid] + [number for number, name in threads_of(pid).items() if name.startswith("loop-")]


def log_descriptors(pid, log):
    """The descriptors of a process that are this log, or were it before it was moved, as (path, flags)."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            path = os.readlink(f"/proc/{pid}/fd/{number}")
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                flags = re.search(r"flags:\s+(\d+)", file.read()).group(1)
        except FileNotFoundError:
            continue  # closed meanwhile
        if path.startswith(log):
            found.append((path, int(flags, 8)))
    return found
