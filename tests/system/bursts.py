"""Datagrams in bursts: sent in one piece (UDP_SEGMENT), and a look at what a server's socket does with them."""

import ctypes
import os
import signal
import socket
import struct

import pytest

from processes import process_state
from settings import wait_until

UDP_SEGMENT, UDP_GRO = 103, 104
SYS_PIDFD_GETFD = 438


def send_burst(client, datagrams):
    """In one piece; they are all of one length but the last, which may be shorter."""
    size = len(datagrams[0])
    assert all(len(one) == size for one in datagrams[:-1]) and 0 < len(datagrams[-1]) <= size
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", size))]
    assert client.sendmsg([b"".join(datagrams)], control) == sum(map(len, datagrams))


def numbered(first, count, size, last=None):
    """Datagrams that differ in every part."""
    made = [(b"%08d" % number + bytes((number * 7 + i) & 0xff for i in range(size)))[:size]
            for number in range(first, first + count)]
    return made[:-1] + [made[-1][:last or size]]


def receive(client, count):
    return [client.recv(1 << 17) for _ in range(count)]


def udp_sockets(pid):
    """Copies of a process's UDP sockets."""
    pidfd = os.pidfd_open(pid)
    for name in os.listdir(f"/proc/{pid}/fd"):
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
            continue
        fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
        if fd < 0:
            os.close(pidfd)
            pytest.skip("a look at another process's sockets: " + os.strerror(ctypes.get_errno()))
        with socket.socket(fileno=fd) as copy:
            if copy.type == socket.SOCK_DGRAM and copy.family != socket.AF_UNIX:
                yield copy
    os.close(pidfd)


def takes_bursts(server):
    return any(copy.getsockopt(socket.IPPROTO_UDP, UDP_GRO) for copy in udp_sockets(server.pid))


def until_bursts_are_taken(server, client):
    """Shows the server bursts until it has them in one piece. It answers them all the same."""
    def once():
        sent = numbered(0, 40, 100)
        send_burst(client, sent)
        assert receive(client, 40) == sent
        return takes_bursts(server)

    assert not takes_bursts(server)
    wait_until(once, "the socket takes bursts")


class Stopped:
    """For as long as its block lasts, a process does nothing: what is sent to it arrives together."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        # A thread that is not stopped yet may still take what comes first.
        try:
            wait_until(lambda: set(self._states()) == {"T"}, "all threads are stopped")
        except BaseException:
            print(f"---- states of {self.pid}: {self._states()}")
            self.__exit__()
            raise

    def _states(self):
        return [process_state(f"{self.pid}/task/{thread}")[0]
                for thread in os.listdir(f"/proc/{self.pid}/task")]

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)
