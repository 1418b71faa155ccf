"""The machine: its cores, and processes that are started on them, watched and ended."""

import contextlib
import mmap
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import time

DEADLINE = 30


def describe():
    """The kind of machine, for the head of a table."""
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {release}"


def best_priority(wanted):
    """The niceness that this user may have: `wanted`, or none."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, wanted)
            os._exit(0)
        except OSError:
            os._exit(1)
    return wanted if os.waitpid(pid, 0)[1] == 0 else 0


def prefer(nice):
    """Makes this process one of that niceness. Where sessions are scheduled as groups, niceness counts within
    one only, and so it gets a group of its own."""
    os.setsid()
    if nice == 0:
        return
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    try:
        with open("/proc/self/autogroup", "w", encoding="utf-8") as file:
            file.write(str(nice))
    except OSError:
        pass


def go_first():
    """Makes this process run before all others of its core, if permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass


def wait_until(condition, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline} s in vain: {what}")
        time.sleep(0.002)


def descendants(pid):
    """The process and all that it started, parents first."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found


class Process:
    """A program on some cores. Leaving the block ends it and all that it started."""

    def __init__(self, args, on, nice=0, *, stdin=False, output=None, env=None,
                 end_by=signal.SIGTERM, first=False):
        def prepare():
            os.sched_setaffinity(0, on)
            prefer(nice)
            if first:
                go_first()
            struct.pack_into("d", self.clock, 0, time.time())

        self.end_by = end_by
        self.clock = mmap.mmap(-1, 8)   # shared with the child
        self.unread = b""       # of its output
        self.popen = subprocess.Popen(
            [str(arg) for arg in args], preexec_fn=prepare, env=env,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output or subprocess.PIPE, stderr=output or subprocess.PIPE, text=True)
        self.pid = self.popen.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def executed(self):
        """When the program was executed, by the child's own clock (time.time)."""
        return struct.unpack_from("d", self.clock)[0]

    def lives(self):
        return self.popen.poll() is None

    def line(self, errors=False):
        """The next line of its output."""
        stream = self.popen.stderr if errors else self.popen.stdout
        while b"\n" not in self.unread:
            ready = select.select([stream], [], [], 2 * DEADLINE)[0]
            part = os.read(stream.fileno(), 65536) if ready else b""
            if not part:
                self.end()
                raise RuntimeError(f"{self.popen.args[:3]} said nothing: {self.popen.stderr.read()}")
            self.unread += part
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode()

    def say(self, text):
        self.popen.stdin.write(text + "\n")
        self.popen.stdin.flush()

    def finish(self, deadline=DEADLINE):
        """Waits for its end. Returns its output."""
        try:
            output, errors = self.popen.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            self.end()
            raise RuntimeError(f"{self.popen.args} did not end within {deadline} s") from None
        if self.popen.returncode != 0:
            raise RuntimeError(f"{' '.join(self.popen.args)}: {errors.strip()}")
        return output

    def end(self):
        if not self.lives():
            return
        tree = descendants(self.pid)
        self.popen.send_signal(self.end_by)
        try:
            self.popen.wait(3)
        except subprocess.TimeoutExpired:
            for pid in tree:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.popen.wait()


def free_port(kind="tcp", count=1):
    """The first of `count` ports in a row that nobody has."""
    family = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    if count == 1:
        with socket.socket(socket.AF_INET, family) as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]
    for first in range(10000 + os.getpid() % 100 * 10, 32000 - count, count):
        probes = []
        try:
            for port in range(first, first + count):
                probes.append(socket.socket(socket.AF_INET, family))
                probes[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError(f"no {count} free ports in a row")


def wait_for_port(port, process, kind="tcp"):
    """Waits until somebody accepts there, or answers a datagram."""
    def serves():
        if not process.lives():
            raise RuntimeError(f"{process.popen.args} ended at once")
        if kind == "tcp":
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.02)
            try:
                probe.connect(("127.0.0.1", port))
                probe.send(b"ready?")
                return probe.recv(100) == b"ready?"
            except OSError:
                return False

    wait_until(serves, f"port {port} serves")


# ---- what processes hold and use ----

def processor_time(pid):
    """Nanoseconds of all threads of a process and its descendants."""
    total = 0
    for each in descendants(pid):
        try:
            # The clock of a process, as clock_getcpuclockid(3) makes it from the pid.
            total += time.clock_gettime_ns((~each << 3) | 2)
        except OSError:
            continue
    return total


def thread_times(pid):
    """Nanoseconds of each thread of a process and its descendants, by thread."""
    times = {}
    for each in descendants(pid):
        for thread in os.listdir(f"/proc/{each}/task"):
            with open(f"/proc/{each}/task/{thread}/schedstat", encoding="utf-8") as file:
                times[int(thread)] = int(file.read().split()[0])
    return times


def private_memory(pid):
    """Bytes that a process and its descendants have for themselves."""
    total = 0
    for each in descendants(pid):
        try:
            with open(f"/proc/{each}/smaps_rollup", encoding="utf-8") as file:
                for line in file:
                    if line.startswith("Private_Dirty:"):
                        total += int(line.split()[1]) * 1024
        except (FileNotFoundError, ProcessLookupError):
            if each == pid:
                raise
            # The process of a connection that has just ended (socat, xinetd) has no memory any more.
    return total


def kernel_memory():
    """Bytes of the system's own objects, and of TCP's buffers; both of the whole machine. Objects are
    not told to everybody: 0 then."""
    objects = buffers = 0
    try:
        with open("/proc/slabinfo", encoding="utf-8") as file:
            for line in list(file)[2:]:
                fields = line.split()
                objects += int(fields[1]) * int(fields[3])
    except PermissionError:
        pass
    with open("/proc/net/sockstat", encoding="utf-8") as file:
        for line in file:
            if line.startswith("TCP:"):
                buffers = int(line.split()[-1]) * os.sysconf("SC_PAGE_SIZE")
    return objects, buffers
