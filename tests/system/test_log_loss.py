"""A log that cannot be written, or is moved away: nobody waits for it, and every line is accounted for."""

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from processes import threads_of, wait_for_rest
from server import Server, service
from settings import DEADLINE, ENCHUFE, SANITIZED, VARIANT, soak, wait_until

LOST = re.compile(r" warning log lines lost count=(\d+)$|\"log lines lost\",\"count\":(\d+)}$")
CLOSED = re.compile(r" info closed service=.* reason=closed-by-client$|"
                    r"\"closed\",\"service\":.*\"reason\":\"closed-by-client\"}$")
CLIENTS = soak(300, 3000) if SANITIZED else soak(1000, 20000)


def tally(lines):
    """(whole lines of ends of connections, sum of the reports, other lines)"""
    closed = lost = 0
    others = []
    for line in lines:
        report = LOST.search(line)
        if report:
            lost += int(report.group(1) or report.group(2))
        elif CLOSED.search(line):
            closed += 1
        else:
            others.append(line)
    return closed, lost, others


def socket_file(server, name="x"):
    path = os.path.join(server.directory, name + ".sock")

    def listens():
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(path) == 0

    wait_until(listens, "the server to listen")
    return "unix://" + path


def serve_clients(server, endpoint, count):
    for _ in range(count):
        with server.connect(endpoint=endpoint) as client:
            assert client.ask(b"hola", 4) == b"hola"
            client.end()
            assert client.receive_all() == b""


F_SETPIPE_SZ = 1031


class Pipe:
    """A standard error that is read only when the test says so."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.text = b""
        os.set_blocking(self.reader, False)

    def preexec(self):
        os.dup2(self.writer, 2)

    def lines(self):
        try:
            while part := os.read(self.reader, 1 << 20):
                self.text += part
        except BlockingIOError:
            pass
        return self.text.decode().splitlines()


def test_nobody_waits_for_a_standard_error_that_is_not_read_and_what_was_lost_is_told():
    pipe = Pipe()
    config = "[server]\nthreads = 2\n" + service("echo", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, preexec=pipe.preexec) as server:
        os.close(pipe.writer)
        wait_until(lambda: any(" ready " in line for line in pipe.lines()), "the server to be ready")
        fcntl.fcntl(pipe.reader, F_SETPIPE_SZ, 65536)
        endpoint = "unix://" + os.path.join(server.directory, "x.sock")
        count = CLIENTS * 3
        serve_clients(server, endpoint, count)
        # Read again, it is told without any further line to be written.
        wait_until(lambda: tally(pipe.lines())[1], "the report of what was lost")
        wait_until(lambda: sum(tally(pipe.lines())[:2]) == count, "every line to be there or counted")
        serve_clients(server, endpoint, 10)
        wait_until(lambda: sum(tally(pipe.lines())[:2]) == count + 10, "all to be written again")
        server.stop()
        closed, lost, others = tally(pipe.lines())
        assert closed > 100 and lost > 0 and closed + lost == count + 10
        assert others[-1].split()[2] == "ended"


def test_a_pipe_that_is_read_late_takes_the_start_of_a_thousand_services():
    pipe = Pipe()
    names = [f"s{n}" for n in range(1000)]
    config = "".join(service(name, "echo", f"unix://{{dir}}/{name}.sock") for name in names)
    with Server(config, wait=False, preexec=pipe.preexec) as server:
        os.close(pipe.writer)
        socket_file(server, names[-1])
        wait_until(lambda: any(" ready " in line for line in pipe.lines()), "the server to be ready")
        assert sum(" listening service=" in line for line in pipe.lines()) == len(names)


def test_a_closed_standard_error_stops_nobody():
    pipe = Pipe()
    with Server(service("echo", listen="unix://{dir}/x.sock"), wait=False,
                preexec=pipe.preexec) as server:
        os.close(pipe.writer)
        os.close(pipe.reader)
        endpoint = socket_file(server)
        worker = server.worker()
        serve_clients(server, endpoint, 100)
        assert server.workers() == [worker]


def test_no_standard_descriptors_at_all_stop_nobody():
    def close_all():
        for fd in range(3):
            os.close(fd)

    # Popen's own pipe needs no standard descriptor by then.
    with Server(service("echo", listen="unix://{dir}/x.sock"), wait=False,
                preexec=close_all) as server:
        serve_clients(server, socket_file(server), 20)


# ---- a full disk

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000


class SmallDisk:
    """For preexec: a tmpfs of 64 KiB that only the server sees, 16 KiB of it taken by a file `ballast`."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.libc = ctypes.CDLL(None, use_errno=True)

    def preexec(self):
        mounted = (self.libc.unshare(CLONE_NEWNS) == 0 and
                   self.libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0 and
                   self.libc.mount(b"none", self.directory.encode(), b"tmpfs", 0, b"size=64k") == 0)
        if not mounted:
            raise OSError(ctypes.get_errno(), "no tmpfs can be mounted")
        with open(os.path.join(self.directory, "ballast"), "wb") as file:
            file.write(bytes(16384))

    def path(self, server, name):
        return f"/proc/{server.pid}/root{self.directory}/{name}"


@pytest.mark.soak
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_on_a_full_disk_every_line_is_there_or_counted(log_format, tmp_path):
    disk = SmallDisk(tmp_path)
    config = f"[server]\nthreads = 2\nlog = {tmp_path}/x.log\nlog_format = {log_format}\n"
    config += service("one", "echo", listen="unix://{dir}/one.sock")
    config += service("two", "echo", listen="unix://{dir}/two.sock", isolate="yes")
    try:
        with Server(config, wait=False, preexec=disk.preexec) as server:
            fill_disk_and_make_room(server, disk)
    except subprocess.SubprocessError:
        pytest.skip("mounting is not permitted here")


def fill_disk_and_make_room(server, disk):
    def lines():
        return server.log(disk.path(server, "x.log")).splitlines()

    wait_until(lambda: any("ready" in line for line in lines()), "the server to be ready")
    endpoints = [f"unix://{server.directory}/{name}.sock" for name in ("one", "two")]
    workers = server.workers()
    threads = [threading.Thread(target=serve_clients, args=(server, endpoint, CLIENTS))
               for endpoint in endpoints]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(soak(1, 20) * DEADLINE)
        assert not thread.is_alive()
    assert tally(lines())[:2] < (2 * CLIENTS, 0)
    os.unlink(disk.path(server, "ballast"))
    wait_until(lambda: tally(lines())[1], "the report of what was lost")
    for endpoint in endpoints:
        serve_clients(server, endpoint, 5)
    total = 2 * CLIENTS + 10
    wait_until(lambda: sum(tally(lines())[:2]) == total, "every line to be there or counted")
    closed, lost, others = tally(lines())
    print(f"{closed} lines written and {lost} counted: {total}")
    torn = [line for line in others if "closed" in line]
    assert len(torn) <= 1, torn
    assert server.workers() == workers


# ---- rotation

@pytest.mark.soak
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_that_is_moved_under_load_loses_no_line(log_format):
    config = f"[server]\nthreads = 2\nlog = {{dir}}/x.log\nlog_format = {log_format}\n"
    config += service("one", "echo", listen="unix://{dir}/one.sock")
    config += service("two", "echo", listen="unix://{dir}/two.sock", isolate="yes")
    with Server(config, wait=False) as server:
        log = os.path.join(server.directory, "x.log")
        files = [log] + [f"{log}.{i}" for i in range(soak(10, 100))]
        wait_until(lambda: "ready" in server.log(log), "the server to be ready")
        endpoints = [f"unix://{server.directory}/{name}.sock" for name in ("one", "two")]
        stop = threading.Event()
        served = [0, 0]

        def serve(index):
            while not stop.is_set():
                serve_clients(server, endpoints[index], 1)
                served[index] += 1

        threads = [threading.Thread(target=serve, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        try:
            for moved in files[1:]:
                before = sum(served)
                os.rename(log, moved)
                server.process.send_signal(signal.SIGUSR1)
                wait_until(lambda: os.path.exists(log), "the log to be there again")
                wait_until(lambda: "service" in server.log(log), "a line in it")
                wait_until(lambda: sum(served) > before + 20, "more clients")
        finally:
            stop.set()
            for thread in threads:
                thread.join(DEADLINE)
        server.stop()
        lines = [line for file in files for line in server.log(file).splitlines()]
        closed, lost, others = tally(lines)
        print(f"{len(files) - 1} times moved: {closed} lines of {sum(served)}, {lost} lost")
        assert (closed, lost) == (sum(served), 0)
        assert not [line for line in others if "closed" in line and "served" not in line]
        if log_format == "json":
            assert all(json.loads(line) for line in lines)
        # Workers and master have left the old file in the end.
        last = server.log(log)
        assert "service=two" in last or '"service":"two"' in last
        assert os.stat(log).st_mode & 0o777 == 0o640 & ~os_umask()


def os_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ---- the system's log

class Daemon:
    """Stands for the system's log."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)  # as the system's is
        self.socket.setblocking(False)

    def read(self):
        try:
            while True:
                self.lines.append(self.socket.recv(8192).decode())
        except BlockingIOError:
            return self.lines

    def wait_for(self, pattern):
        return wait_until(lambda: next((line for line in self.read() if re.search(pattern, line)), None),
                          f"`{pattern}` in the system's log")

    def stop(self):
        self.socket.close()
        os.unlink(self.path)


def test_the_systems_log_gets_the_lines_and_may_come_and_go(shared_path):
    path = str(shared_path / "log")
    config = "[server]\nlog = syslog\n" + service("echo", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        endpoint = socket_file(server)  # it starts without any
        serve_clients(server, endpoint, 3)
        for _ in range(3):
            daemon = Daemon(path)
            report = daemon.wait_for("lost")
            pids = f"{server.pid}|{server.worker()}"  # whoever has a line to write, or the master
            assert re.fullmatch(rf"<28>enchufe\[({pids})\]: log lines lost count=\d+", report)
            serve_clients(server, endpoint, 1)
            line = daemon.wait_for("closed")
            assert re.fullmatch(rf"<30>enchufe\[{server.worker()}\]: closed service=echo peer=\S+ in=4 "
                                r"out=4 duration=\d\.\d{3}s reason=closed-by-client", line)
            daemon.stop()
            serve_clients(server, endpoint, 2)
        assert re.fullmatch(f"enchufe: warning: nobody listens at {re.escape(path)} .*\n", server.log())


def test_a_system_log_that_is_there_gets_no_warning(shared_path):
    path = str(shared_path / "log")
    daemon = Daemon(path)
    config = "[server]\nlog = syslog\n" + service("echo", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        daemon.wait_for("ready")
        assert server.log() == ""


# So that nothing is written of what is all right.
SILENT = "[server]\nlog = syslog\nlog_level = warning\ncontrol = {dir}/control.sock\n"


NO_REST = pytest.mark.skipif(VARIANT == "tsan", reason="a thread of ThreadSanitizer's wakes up all the time")


def gates(shared_path, text):
    """A section of a plugin that waits for somebody who opens or writes to a FIFO, and its path."""
    gate = str(shared_path / "gate")
    os.mkfifo(gate)
    os.chmod(gate, 0o666)
    return gate, service("x", text, gate=gate, read_paths=gate)


def reload(server, config):
    with open(server.file, "w", encoding="utf-8") as file:
        file.write(config.replace("{dir}", server.directory))
    server.process.send_signal(signal.SIGHUP)


def lost_and_told(server, path, count=1):
    """The report is the master's, while nobody else does anything."""
    wait_for_rest(server.workers())  # whoever is about to lose lines has
    daemon = Daemon(path)
    assert daemon.wait_for("lost") == f"<28>enchufe[{server.pid}]: log lines lost count={count}"
    wait_for_rest([server.pid] + server.workers())
    daemon.stop()


@NO_REST
@pytest.mark.parametrize("line, count", [(b"warning of it", 2), (b"later", 1)])
def test_what_a_worker_lost_is_told_though_nothing_happens_any_more(shared_path, line, count):
    path = str(shared_path / "log")
    config = SILENT + service("logger", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        with server.connect(endpoint=socket_file(server)) as client:
            threads = os.listdir(f"/proc/{server.worker()}/task")
            for _ in range(count):
                assert client.ask(line + b"\n", 7) == b"logged\n"
            if line == b"later":
                wait_for_rest([server.pid, server.worker()])
                wait_until(lambda: os.listdir(f"/proc/{server.worker()}/task") == threads, "its thread to end")
            lost_and_told(server, path, count)


@NO_REST
def test_what_a_plugin_lost_while_it_starts_or_stops_is_told_meanwhile(shared_path):
    path = str(shared_path / "log")
    gate, starts = gates(shared_path, "slow_start")
    config = SILENT + "stall_limit = never\n" + service("echo", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        socket_file(server)
        first = server.worker()
        reload(server, config + starts)
        wait_until(lambda: len(server.workers()) == 2, "a worker that starts")
        lost_and_told(server, path)
        with open(gate, "wb"):
            wait_until(lambda: first not in server.workers(), "the reload to succeed")
        second = server.worker()
        reload(server, config + starts.replace("slow_start", "slow_stop"))
        wait_until(lambda: second not in server.workers() and len(server.workers()) == 1, "the next one")
        third = server.worker()
        reload(server, config)
        wait_until(lambda: "orders" not in threads_of(third).values(), "a worker that stops")
        wait_for_rest([third], main_alone=True)  # not the thread that watches over it
        assert third in server.workers()
        daemon = Daemon(path)
        assert daemon.wait_for("lost").startswith(f"<28>enchufe[{server.pid}]: ")
        daemon.stop()
        with open(gate, "wb") as file:
            file.write(b"go")
        wait_until(lambda: third not in server.workers(), "its end")


def test_what_was_lost_last_is_told_at_the_end(shared_path):
    path = str(shared_path / "log")
    config = SILENT + service("logger", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        with server.connect(endpoint=socket_file(server)) as client:
            assert client.ask(b"warning of it\n", 7) == b"logged\n"
            daemon = Daemon(path)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(DEADLINE) == 0
        assert daemon.wait_for("lost") == f"<28>enchufe[{server.pid}]: log lines lost count=1"
        daemon.stop()


@NO_REST
def test_what_a_process_lost_that_a_plugin_forked_is_told_each_time(shared_path):
    path = str(shared_path / "log")
    config = SILENT + service("forker", listen="unix://{dir}/x.sock", isolate="yes", sandbox="no")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        with server.connect(endpoint=socket_file(server)) as client:
            client.send(b"f")
            child = int(client.receive_line())
            try:
                for _ in range(2):
                    os.kill(child, signal.SIGUSR1)
                    wait_for_rest([child])
                    lost_and_told(server, path)
            finally:
                os.kill(child, signal.SIGKILL)


@NO_REST
def test_what_the_master_lost_is_told_though_nothing_happens_any_more(shared_path):
    path = str(shared_path / "log")
    gate, starts = gates(shared_path, "slow_start")
    daemon = Daemon(path)
    config = SILENT + service("echo", listen="unix://{dir}/x.sock")
    with Server(config, wait=False, env={"ENCHUFE_SYSLOG_SOCKET": path}) as server:
        socket_file(server)
        worker = server.worker()
        reload(server, config + starts)
        daemon.wait_for("slow_start waits")
        daemon.stop()
        # Neither worker, nor the end of a process, has a part in this.
        wait_for_rest([server.pid] + server.workers())
        upgrade = [ENCHUFE, "upgrade", "--control", f"{server.directory}/control.sock"]
        assert subprocess.run(upgrade, capture_output=True, check=False).returncode == 1
        assert len(server.workers()) == 2
        lost_and_told(server, path)
        with open(gate, "wb"):
            wait_until(lambda: worker not in server.workers(), "the reload to succeed")
