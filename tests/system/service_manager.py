"""Plays the service manager: listens where sd_notify(3) sends to, and hands over sockets."""

import os
import socket
import struct
import sys
import tempfile
import threading

from settings import DEADLINE, wait_until

# Puts the descriptors that FDS names to 3 and on, as the protocol says, and becomes the server.
WRAPPER = """#!{python}
import fcntl, os, sys
given = list(map(int, os.environ.pop("FDS").split()))
fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in given]
for fd in set(given):
    os.close(fd)
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number)
    os.close(fd)
pid = os.environ.get("LISTEN_PID", "own")
os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "own" else pid
os.environ["LISTEN_FDS"] = os.environ.pop("PROMISED", str(len(fds)))
os.execv({enchufe!r}, [{enchufe!r}] + sys.argv[1:])
"""


class ServiceManager:
    """`messages` are (pid, {"READY": "1", ...}), in the order in which they came."""

    def __init__(self, abstract=False):
        self.directory = tempfile.TemporaryDirectory(prefix="enchufe-")
        self.messages = []
        self.path = os.path.join(self.directory.name, "notify")
        if abstract:
            self.path = "@" + self.path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.path.replace("@", "\0", 1))
        os.chmod(self.directory.name, 0o755)

    def __enter__(self):
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.directory.cleanup()

    def _listen(self):
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(4096, 100)
            except OSError:
                return
            pid = struct.unpack("iII", control[0][2])[0]
            self.messages.append((pid, dict(line.split("=", 1) for line in data.decode().split("\n"))))

    def environment(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}

    def heard(self, key, value=None, pid=None):
        """All messages with that key."""
        return [message for sender, message in list(self.messages) if key in message and
                value in (None, message[key]) and pid in (None, sender)]

    def wait_for(self, key, value=None, pid=None, count=1):
        """Returns the last of `count` messages."""
        wait_until(lambda: len(self.heard(key, value, pid)) >= count,
                   f"{count} times {key}={value} from {pid}, there was {self.messages}", DEADLINE)
        return self.heard(key, value, pid)[count - 1]

    def order(self):
        """The first key of each message but the watchdog's."""
        return [next(iter(message)) for _, message in self.messages if "WATCHDOG" not in message]

    def wrapper(self, enchufe):
        """The path of a program that starts the server with sockets from 3 on."""
        path = os.path.join(self.directory.name, "start")
        with open(path, "w", encoding="utf-8") as file:
            file.write(WRAPPER.format(python=sys.executable, enchufe=enchufe))
        os.chmod(path, 0o755)
        return path


def tcp_socket(family=socket.AF_INET, address="127.0.0.1"):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((address, 0))
    listener.listen(10)
    return listener


def udp_socket():
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    return bound


def unix_socket(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(10)
    return listener


def endpoint_of(bound):
    """`tcp://127.0.0.1:8000` of a socket."""
    if bound.family == socket.AF_UNIX:
        return "unix://" + bound.getsockname()
    kind = "udp" if bound.type == socket.SOCK_DGRAM else "tcp"
    host, port = bound.getsockname()[:2]
    return f"{kind}://[{host}]:{port}" if ":" in host else f"{kind}://{host}:{port}"
