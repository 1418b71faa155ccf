"""Clients whose every wait has a deadline."""

import socket
import struct

from settings import DEADLINE


class Client:
    """A stream connection, TCP or Unix."""

    def __init__(self, family, address, receive_buffer=None):
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, count):
        """Exactly count bytes; fewer only where the stream ends before."""
        parts, got = [], 0
        while got < count:
            part = self.socket.recv(min(count - got, 1 << 20))
            if not part:
                break
            parts.append(part)
            got += len(part)
        return b"".join(parts)

    def receive_line(self):
        line = b""
        while not line.endswith(b"\n"):
            byte = self.socket.recv(1)
            if not byte:
                break
            line += byte
        return line.decode()

    def receive_all(self):
        parts = []
        while True:
            part = self.socket.recv(1 << 20)
            if not part:
                return b"".join(parts)
            parts.append(part)

    def ask(self, data, count):
        self.send(data)
        return self.receive(count)

    def ask_line(self, line):
        self.send(line.encode() + b"\n")
        return self.receive_line()

    def end(self):
        """No more to send; still reads."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_silent(self, seconds):
        """Whether nothing comes for a while; the way to see that something does not happen."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)


def socket_address(endpoint):
    """(family, address) to connect to for `tcp://127.0.0.1:8000`, `udp://[::1]:9`, `unix:///path`."""
    kind, _, rest = endpoint.partition("://")
    if kind == "unix":
        return socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
