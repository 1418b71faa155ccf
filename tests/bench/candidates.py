"""Who is measured: the limit, the server, and our programs on the peers' libraries.

A candidate is started for one sample and ended after it. `services` says what it can serve: echo and hola on
streams, udp, gso (bursts of datagrams).
"""

import contextlib
import os
import signal
import subprocess

from machine import Process, free_port, wait_for_port


class Setting:
    """Where things are, and on which core all of it runs."""

    def __init__(self, build, directory, core, nice):
        self.build = build            # of the server
        self.bench = os.path.join(build, "bench")
        self.directory = directory    # for configurations and logs
        self.core = core
        self.nice = nice

    def process(self, args, on=None, **keys):
        return Process(args, on or {self.core}, self.nice, **keys)

    def load(self, *args, on=None, **keys):
        return self.process([os.path.join(self.bench, "load"), *args], on, **keys)

    def file(self, name, text=""):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Running:
    """A candidate that serves: whom to ask, and whose time counts."""

    def __init__(self, port, server, helpers=(), ports=1, protocol=None):
        self.port, self.ports = port, ports
        self.server = server                            # a Process
        self.helpers = [each.pid for each in helpers]
        self.protocol = protocol                        # where it speaks one of its own

    def load_args(self):
        args = ["--port", self.port, "--ports", self.ports, "--server", self.server.pid]
        if self.protocol:
            args += ["--protocol", self.protocol]
        for pid in self.helpers:
            args += ["--helper", pid]
        return args


class Candidate:
    name = title = ""
    services = ()
    most = 100000   # connections that it can be asked to hold

    def available(self, setting):
        raise NotImplementedError

    def serves(self, workload):
        return workload.service in self.services and workload.connections <= self.most

    def start(self, setting, workload, stack, on=None):
        """Returns a Running; what it started ends with the stack."""
        raise NotImplementedError


class OurProgram(Candidate):
    """A program of this folder: takes the service as its argument, prints its port."""

    services = ("echo", "hola", "udp", "gso")

    def __init__(self, name, title, program=None, extra=()):
        self.name, self.title = name, title
        self.program, self.extra = program or name, extra

    def available(self, setting):
        return os.access(os.path.join(setting.bench, self.program), os.X_OK)

    def start(self, setting, workload, stack, on=None, extra=None):
        service = workload.service
        if self.program != "bare" and service == "gso":
            service = "udp"
        path = os.path.join(setting.bench, self.program)
        process = stack.enter_context(
            setting.process([path, service, *(extra or self.extra)], on))
        return Running(int(process.line().split()[1]), process)


class Enchufe(Candidate):
    name, title = "enchufe", "Enchufe"
    services = ("echo", "hola", "udp", "gso")

    def available(self, setting):
        return os.access(os.path.join(setting.build, "enchufe"), os.X_OK)

    @staticmethod
    def sections(plugin, kind, port, count):
        return "".join(f"[s{i}]\nplugin = {plugin}\nlisten = {kind}://127.0.0.1:{port + i}\n"
                       for i in range(count))

    @staticmethod
    def config(setting, sections, *, threads=1, level="warning", server=""):
        """Everything on: a plugin, limits, timeouts, counters, and the log at this level."""
        return (f"[server]\nthreads = {threads}\nlog_level = {level}\n"
                f"log = {setting.directory}/enchufe.log\ncontrol = {setting.directory}/control\n{server}"
                f"[defaults]\nidle_timeout = 10m\nmax_connections = 100000\n{sections}")

    @staticmethod
    def command(setting, *args):
        """Runs `enchufe ARGS` to its end."""
        return subprocess.run([os.path.join(setting.build, "enchufe"), *args],
                              capture_output=True, text=True, timeout=120, check=False)

    @staticmethod
    def plugins(setting):
        return ["--plugin-dir", os.path.join(setting.build, "plugins")]

    def knows(self, setting, line):
        """Whether this server takes such a line in [server]."""
        file = setting.file("knows.ini", f"[server]\n{line}\n{self.sections('echo', 'tcp', 0, 1)}")
        return self.command(setting, "check", *self.plugins(setting), file).returncode == 0

    def run(self, setting, config, stack, on=None):
        return self.run_file(setting, setting.file("enchufe.ini", config), stack, on)

    def run_file(self, setting, path, stack, on=None, env=None):
        return stack.enter_context(setting.process(
            [os.path.join(setting.build, "enchufe"), "run", *self.plugins(setting), path], on,
            env=env, end_by=signal.SIGINT))

    def start(self, setting, workload, stack, on=None):
        kind = "udp" if workload.service in ("udp", "gso") else "tcp"
        port = free_port(kind, workload.sections)
        plugin = "hola" if workload.service == "hola" else "echo"
        sections = self.sections(plugin, kind, port, workload.sections)
        process = self.run(setting, self.config(setting, sections, level=workload.log_level),
                           stack, on)
        wait_for_port(port, process, kind)
        return Running(port, process, ports=workload.sections)


LIMIT = OurProgram("limit", "the bare loop", "bare")
ENCHUFE = Enchufe()
LIBRARIES = [OurProgram("libev", "libev"), OurProgram("libuv", "libuv, as its guide"),
             OurProgram("libuv-try", "libuv, uv_try_write first", "libuv", ("try",)),
             OurProgram("libevent", "libevent, bufferevents")]


@contextlib.contextmanager
def started(candidate, setting, workload, on=None):
    with contextlib.ExitStack() as stack:
        yield candidate.start(setting, workload, stack, on)
