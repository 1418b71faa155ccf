"""One short run of a server in which one call of the system fails, and what became of it.

`Run(function, number, process).outcome()` starts a server with tests/fault/fault.c before its libraries, serves
clients that check every byte, reloads, asks for the status and stops. It returns "refused" (a clear error and
exit status 1 at the start), "recovered", or "never came" where the run makes no such call; anything else is an
AssertionError that tells which call it was.
"""

import ctypes
import mmap
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time

from server import environment
from settings import BUILD, ENCHUFE, PLUGINS

LIBRARY = os.path.join(BUILD, "tests", "fault.so")
# The server, who makes the empty network, its probe, its worker; what a reload forks: who reads the
# configuration, the child that looks names up for it, the probe, and the next worker.
PROCESSES = {0: "master", 1: "maker", 2: "probe", 3: "worker", 4: "reload's reader", 5: "its child",
             6: "reload's probe", 7: "reload's worker"}
NOTES_PROCESSES = 9
PATIENCE = 15  # seconds: what takes longer hangs


def functions():
    library = ctypes.CDLL(LIBRARY)
    library.fault_names.restype = ctypes.c_char_p
    return library.fault_names().decode().split()


class Refused(Exception):
    """The server ended before it was up."""


class Run:
    def __init__(self, function, number, process):
        self.what = f"{function} call {number} of the {PROCESSES.get(process, process)}"
        self.fault = f"{function} {number} {process}"
        # Nobody else has this address, so the ports can be fixed.
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.end = time.monotonic() + PATIENCE
        self.lost = 0

    # -- the server

    def _start(self):
        config = (f"[server]\nthreads = 2\ncontrol = {self.directory}/control\nwatch = yes\n"
                  f"log = {self.directory}/log\nstart_timeout = 3s\ndrain_timeout = 3s\n"
                  "[defaults]\nmax_connections_per_source = 1000\nrate_per_source = 1000000/s\n"
                  "allow = 127.0.0.0/8\ndeny = 192.0.2.0/24\nmax_files = 1000\n"
                  f"[echo]\nplugin = echo\nlisten = tcp://{self.host}:7 udp://{self.host}:7 "
                  f"unix://{self.directory}/echo\n"
                  f"[hola]\nplugin = hola\nlisten = tcp://{self.host}:8\n")
        with open(self._path("enchufe.ini"), "w", encoding="utf-8") as file:
            file.write(config)
        with open(self._path("notes"), "wb") as file:
            file.truncate(mmap.PAGESIZE)
        with open(self._path("stderr"), "wb") as stderr:
            self.server = subprocess.Popen(
                [ENCHUFE, "run", self._path("enchufe.ini"), "--plugin-dir", PLUGINS],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
                env=environment({"LD_PRELOAD": LIBRARY, "FAULT": self.fault,
                                 "FAULT_FILE": self._path("notes")}))

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _said(self):
        text = ""
        for name in ("stderr", "log"):
            try:
                with open(self._path(name), encoding="utf-8", errors="replace") as file:
                    text += file.read()
            except FileNotFoundError:
                pass
        return text

    def _fail(self, why):
        raise AssertionError(f"{self.what}: {why}\n{self._said()[-3000:]}")

    def _check_time(self, what):
        if time.monotonic() > self.end:
            self._fail(f"hangs: {what}")
        if self.server.poll() is None:
            return
        # Sockets take connections a moment before the server is up.
        if " ready " not in self._said():
            raise Refused
        self._fail(f"ended with status {self.server.returncode} while {what}")

    def _left_behind(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
                    fields = file.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] not in "ZX" and int(fields[3]) == self.server.pid:
                found.append(int(pid))
        return found

    def notes(self):
        """(whether the call came, {process: counts of all functions})"""
        with open(self._path("notes"), "rb") as file:
            data = file.read()
        count = len(functions())
        rows = struct.unpack_from(f"{NOTES_PROCESSES * count}I", data, 8)
        return (struct.unpack_from("I", data, 4)[0] == 1,
                {p: rows[p * count:(p + 1) * count] for p in range(NOTES_PROCESSES)})

    # -- clients

    def _again(self, what, attempt):
        """Until the attempt is answered: what was lost may be lost, once and not for good."""
        pause = 0.001
        while True:
            try:
                answer = attempt()
                if answer is not None:
                    return answer
                self.lost += 1
            except OSError:
                pass
            self._check_time(what)
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _stream(self, family, address, ask, expected):
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            client.connect(address)
            client.sendall(ask)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while part := client.recv(65536):
                answer += part
        if not expected.startswith(answer):
            self._fail(f"wrong bytes: {answer[:60]!r}")
        return True if answer == expected else None

    def _datagram(self):
        ask = os.urandom(40)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.05)
            client.connect((self.host, 7))
            client.send(ask)
            answer = client.recv(100)  # nobody promised that one arrives: asked again
        if answer != ask:
            self._fail(f"wrong datagram: {answer!r}")
        return True

    def _serve(self, when):
        text = bytes(range(251)) * 40
        self._again(f"echo serves {when}",
                    lambda: self._stream(socket.AF_INET, (self.host, 7), text, text))
        self._again(f"echo serves its Unix socket {when}",
                    lambda: self._stream(socket.AF_UNIX, self._path("echo"), text, text))
        self._again(f"hola serves {when}",
                    lambda: self._stream(socket.AF_INET, (self.host, 8), b"hola", b"pues hola"))
        self._again(f"echo answers datagrams {when}", self._datagram)

    def _control(self, order):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(8)
            client.connect(self._path("control"))
            client.sendall(order + b"\n")
            answer = b""
            while part := client.recv(65536):
                answer += part
        if answer.startswith(b"failed\n") and len(answer) < 12:
            self._fail(f"{order} failed without a word")
        return True if answer.startswith(b"ok\n") else None

    # -- the whole

    def _come_up(self):
        def connect():
            socket.create_connection((self.host, 7), 2).close()
            return True
        self._again("comes up", connect)

    def _check_refusal(self):
        if self.server.returncode != 1:
            self._fail(f"did not start, with status {self.server.returncode}")
        if all(" info " in line for line in self._said().splitlines()):
            self._fail("did not start, without a word")

    def _stop(self):
        def order():
            try:
                self._control(b"stop")
            except OSError:
                pass
            end = time.monotonic() + 5
            while self.server.poll() is None and time.monotonic() < end:
                time.sleep(0.001)
            return True if self.server.returncode is not None else None
        self._again("stops", order)
        if self.server.returncode != 0:
            self._fail(f"stopped with status {self.server.returncode}")

    def _run(self):
        outcome = "recovered"
        try:
            self._come_up()
            self._serve("at first")
            self._again("reloads", lambda: self._control(b"reload"))
            self._again("tells its status", lambda: self._control(b"status"))
            self._serve("after a reload")
            self._stop()
        except Refused:
            self._check_refusal()
            outcome = "refused"
        end = time.monotonic() + 2
        while (left := self._left_behind()) and time.monotonic() < end:
            time.sleep(0.005)
        if left:
            self._fail(f"processes left behind: {left}")
        if "crashed" in self._said():
            self._fail("a process crashed")
        if self.lost > 3:
            self._fail(f"{self.lost} clients were lost")
        return outcome

    def outcome(self):
        self.directory = tempfile.mkdtemp(prefix="enchufe-fault-")
        try:
            self._start()
            outcome = self._run()
            self.came, self.calls = self.notes()
            return outcome if self.came else "never came"
        finally:
            if self.server.poll() is None:
                self.server.kill()
                self.server.wait()
            for pid in self._left_behind():
                os.kill(pid, 9)
            shutil.rmtree(self.directory, ignore_errors=True)
