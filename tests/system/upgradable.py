"""A server from a copy of the binary, which can be replaced and executed again."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time

from client import socket_address
from processes import process_lives, process_state
from server import Server, environment, run
from settings import DEADLINE, ENCHUFE, wait_until

PR_SET_CHILD_SUBREAPER = 36


class Adopted:
    """What the tests ask of subprocess.Popen, for a server that another one has started.

    It becomes a child of this process when that other one ends; only then its status can be had."""

    def __init__(self, pid):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                if not process_lives(self.pid):
                    self.returncode = "unknown"
        return self.returncode

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("the new server", timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, sig):
        os.kill(self.pid, sig)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Upgradable(Server):
    """`process` and `pid` are the newest server's; those before it are in `before`."""

    def __init__(self, config, *, drain="60s", keys="", **more):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        head = f"[server]\ncontrol = {{dir}}/control.sock\ndrain_timeout = {drain}\n{keys}\n"
        super().__init__(head + config, **more)
        self.head = head.replace("{dir}", self.directory)
        self.control = os.path.join(self.directory, "control.sock")
        self.binary = os.path.join(self.directory, "enchufe")
        self.before = []
        self.put_binary(ENCHUFE)

    def put_binary(self, path):
        """Replaces the binary by a copy of that file, as a package manager does."""
        shutil.copy(path, self.binary + ".new")
        os.replace(self.binary + ".new", self.binary)

    def put_script(self, text):
        """Replaces the binary by a shell script. `{enchufe}` is the true binary."""
        with open(self.binary + ".new", "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text.replace("{enchufe}", ENCHUFE) + "\n")
        os.chmod(self.binary + ".new", 0o755)
        os.replace(self.binary + ".new", self.binary)

    def put_slow_binary(self):
        """One that comes up when the returned function was called."""
        gate = os.path.join(self.directory, "gate")
        os.mkfifo(gate)
        self.put_script(f"echo waiting >&2\nread line <{gate}\nexec {{enchufe}} \"$@\"")

        def open_gate():
            with open(gate, "w", encoding="ascii") as file:
                file.write("go\n")
            os.unlink(gate)
        return open_gate

    def configure(self, text):
        """Writes the configuration anew; the head with the control socket stays."""
        self.config = self.head + text.replace("{dir}", self.directory)
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(self.config)

    def command(self, *words):
        return run(*words, "--control", self.control, timeout=2 * DEADLINE)

    def begin_command(self, *words):
        return subprocess.Popen([ENCHUFE, *words, "--control", self.control], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())

    def upgrade(self):
        """One that must succeed, when the server before has gone. The newest server is the new one then."""
        self.wait_for_predecessor(None)
        done = self.command("upgrade")
        assert done.returncode == 0, done.stderr + self.log()[-4000:]
        assert done.stdout == "the new server serves\n"
        self.follow()

    def predecessor(self):
        """What the newest server's status says about the one before it."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done
        return json.loads(done.stdout)["predecessor"]

    def wait_for_predecessor(self, pid):
        wait_until(lambda: (self.predecessor() or {"pid": None})["pid"] == pid,
                   f"the server before is {pid}")

    def follow(self):
        """The next server is the newest."""
        count = len(self.before) + 1
        line = self.wait_for_lines("a new server has taken over", count)[-1]
        self.workers()
        self.before.append(self.process)
        self._note(self.process.pid)
        self.process = Adopted(int(line["pid"]))
        self.pid = self.process.pid
        self._note(self.pid)
        self._listening = self._read_listening()[-len(self._listening):]
        self.workers()

    def _note(self, pid):
        state = process_state(pid)
        if state:
            self._seen[pid] = state[19]

    def those_before_have_left(self, status=0):
        for process in self.before:
            assert process.wait(DEADLINE) == status, self.log()[-4000:]

    def stop(self, sig=signal.SIGTERM, status=0, deadline=DEADLINE):
        self.those_before_have_left()
        super().stop(sig, status, deadline)

    def socket_files(self):
        return sorted(name for name in os.listdir(self.directory) if name.endswith(".sock"))

    def _end(self):
        for process in self.before:
            if process.poll() is None:
                process.kill()
        super()._end()


