"""Runs a real server for a test: configuration in, ports and log out, nothing left behind.

    with Server("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n") as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"

Leaving the block ends the server as an operator would (TERM), and checks that it left with status 0,
without a sanitizer's report and without a process behind it.
"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from datetime import datetime

from client import Client, socket_address
from processes import children_of, process_lives, process_state
from settings import (DEADLINE, ENCHUFE, LET_CRASH, PLUGINS, SANITIZER_REPORT, plugin_path,
                      wait_until)


def environment(extra=None):
    env = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC")
    env.update(extra or {})
    return env


def let_crash():
    """Environment for a server whose plugins crash on purpose."""
    names = ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
    return {name: os.environ.get(name, "") + ":" + LET_CRASH for name in names}


def run(*args, input=None, timeout=DEADLINE, env=None, cwd=None, preexec=None, text=True):
    """Runs `enchufe ARGS` to its end. Returns the finished process with stdout and stderr."""
    done = subprocess.run([ENCHUFE, *map(str, args)], input=input, timeout=timeout, text=text,
                          capture_output=True, env=environment(env), cwd=cwd, preexec_fn=preexec,
                          check=False, errors="replace" if text else None)
    if text:
        assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def limit_descriptors(soft, hard=None):
    """For preexec: the limit of open descriptors of the server."""
    _, old_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard or old_hard))


def own_descriptors(wanted):
    """Raises this process's soft limit. Returns how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


# The group of the workers of a server that root starts.
WORKERS = 65534


def share_with_workers(directory):
    """Workers of another user may then use it, as far as their sandbox lets them."""
    if os.geteuid() == 0:
        os.chown(directory, -1, WORKERS)
        os.chmod(directory, 0o770)


class Server:
    """One `enchufe run`. `config` is the text of its file; the file's directory is `directory`."""

    def __init__(self, config, *, args=(), env=None, preexec=None, crashes=False, wait=True,
                 binary=None, uid=None, pass_fds=()):
        self.directory = tempfile.mkdtemp(prefix="enchufe-")
        if uid is not None:
            os.chown(self.directory, uid, uid)
        else:
            share_with_workers(self.directory)
        self.file = os.path.join(self.directory, "enchufe.ini")
        self.log_file = os.path.join(self.directory, "stderr.log")
        self.config = config.replace("{dir}", self.directory)
        if "[server]" not in config:
            self.config += f"\n[server]\ncontrol = {self.directory}/control.sock\n"
        self.args = args
        self.env = dict(env or {})
        self.preexec = preexec
        self.wait = wait
        self.binary = binary or ENCHUFE
        self.uid = uid
        self.pass_fds = pass_fds
        self.process = None
        self._listening = []
        self._seen = {}
        if crashes:
            self.env.update(let_crash())

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is None:
                self.stop()
            if kind is None:
                self.check_log()
        except BaseException:
            kind = True
            raise
        finally:
            if kind is not None:
                print(f"---- {self.file}\n{self.config}\n---- log\n{self.log()[-8000:]}")
            self._end()

    def start(self):
        """Starts the server (again, where it ended) and waits until every endpoint accepts."""
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(self.config)
        self._log_start = os.path.getsize(self.log_file) if os.path.exists(self.log_file) else 0
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "run", self.file, "--plugin-dir", PLUGINS, *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(self.env),
                cwd=self.directory, preexec_fn=self.preexec, pass_fds=self.pass_fds,
                user=self.uid, group=self.uid, extra_groups=[] if self.uid is not None else None)
        self.pid = self.process.pid
        if self.wait:
            self.wait_for_log(r" ready\b|\"ready\"")
            self._listening = self._read_listening()
            self.workers()

    # -- its log

    def log(self, file=None):
        try:
            with open(file or self.log_file, encoding="utf-8", errors="replace") as log:
                if file is None:
                    log.seek(self._log_start)
                return log.read()
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern, count=1, deadline=DEADLINE, file=None):
        """Waits until the pattern stands in the log `count` times. Returns the last match."""
        expression = re.compile(pattern, re.MULTILINE)

        def found():
            matches = list(expression.finditer(self.log(file)))
            if len(matches) >= count:
                return matches[-1]
            ended = self.process.poll()
            assert ended is None or list(expression.finditer(self.log(file)))[count - 1:], \
                f"the server ended with status {ended} before `{pattern}` was logged:\n{self.log()}"
            return None

        try:
            return wait_until(found, f"`{pattern}` {count} times in the log", deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(file)[-8000:]}") from None

    def lines(self, message):
        """The fields of every text line with this message, such as [{"service": "echo", ...}]."""
        found = []
        for line in self.log().splitlines():
            match = re.match(r"\S+Z (\w+) (" + message + r")(?: |$)(.*)", line)
            if match:
                fields = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', match.group(3))
                found.append({"level": match.group(1), **dict(fields)})
        return found

    def times(self, message):
        """When each of the text lines with this message was logged, as time.time() tells it."""
        found = re.findall(r"^(\S+)Z \w+ " + message + r"(?: |$)", self.log(), re.MULTILINE)
        return [datetime.fromisoformat(text + "+00:00").timestamp() for text in found]

    def wait_for_lines(self, message, count=1, **fields):
        """Waits for `count` lines with this message and these fields. Returns them."""
        def found():
            lines = [line for line in self.lines(message)
                     if all(line.get(key) == value for key, value in fields.items())]
            return lines if len(lines) >= count else None
        try:
            return wait_until(found, f"{count} lines `{message}` with {fields} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-8000:]}") from None

    def frames(self, pid):
        """The backtrace of a worker that died. The next one starts when all of it is logged."""
        wait_until(lambda: [line for line in self.lines("worker started") if line["pid"] != pid],
                   f"a worker started after {pid}")
        return [line for line in self.lines("frame") if line["pid"] == pid]

    def json_lines(self, message=None):
        found = [json.loads(line) for line in self.log().splitlines()]
        return [line for line in found if message in (None, line["message"])]

    def check_log(self):
        report = SANITIZER_REPORT.search(self.log())
        assert not report, f"a sanitizer reported:\n{self.log()[report.start():][:8000]}"

    # -- its endpoints

    def endpoints(self, service=None):
        """The endpoints that the log lists, with their real ports, in order."""
        return [endpoint for name, endpoint in self._listening if service in (None, name)]

    def _read_listening(self):
        found = []
        for line in self.log().splitlines():
            match = re.search(r" listening service=(\S+) endpoint=(\S+)", line)
            if match:
                found.append(match.groups())
            elif line.startswith("{") and json.loads(line)["message"] == "listening":
                found.append((json.loads(line)["service"], json.loads(line)["endpoint"]))
        return found

    def endpoint(self, service=None, kind=None):
        matching = [e for e in self.endpoints(service) if kind is None or e.startswith(kind + ":")]
        assert matching, f"no endpoint of {service} {kind or ''} in the log:\n{self.log()}"
        return matching[0]

    def port(self, service=None, kind=None):
        return int(self.endpoint(service, kind).rpartition(":")[2])

    def connect(self, service=None, kind=None, receive_buffer=None, endpoint=None):
        endpoint = endpoint or next(e for e in self.endpoints(service)
                                    if e.startswith((kind or "tcp", kind or "unix")))
        return Client(*socket_address(endpoint), receive_buffer=receive_buffer)

    def datagram_socket(self, service=None, endpoint=None):
        """A UDP socket connected to the service: it takes answers from nowhere else."""
        family, address = socket_address(endpoint or self.endpoint(service, "udp"))
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(DEADLINE)
        client.connect(address)
        return client

    # -- its processes

    def workers(self):
        """The pids of the workers that live, and a note of all that ever did."""
        pids = [pid for pid in children_of(self.pid) if process_lives(pid)]
        for pid in pids:
            state = process_state(pid)
            if state:
                self._seen[pid] = state[19]
        return pids

    def worker(self):
        return wait_until(self.workers, "a worker lives")[0]

    def left_behind(self):
        return [pid for pid, started in self._seen.items() if process_lives(pid, started)]

    def stop(self, sig=signal.SIGTERM, status=0, deadline=DEADLINE):
        self.workers()
        self.process.send_signal(sig)
        try:
            ended = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server still ran {deadline} s after {sig!r}") from None
        assert ended == status, f"ended with status {ended}, not {status}:\n{self.log()[-8000:]}"
        assert not self.left_behind(), f"processes left behind: {self.left_behind()}"

    def kill(self):
        """Ends the master as `kill -9` does."""
        self.workers()
        self.process.kill()
        self.process.wait(DEADLINE)

    def _end(self):
        """Whatever happened: no process and no file is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        wait_quietly(lambda: not self.left_behind(), 2)
        for pid in self.left_behind():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_quietly(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def service(name, plugin=None, listen="tcp://127.0.0.1:0", **keys):
    """The text of one section; a plugin of tests/plugins/ is found by its name."""
    plugin = plugin or name
    if os.path.exists(plugin_path(plugin)):
        plugin = plugin_path(plugin)
    lines = [f"[{name}]", f"plugin = {plugin}", f"listen = {listen}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"
