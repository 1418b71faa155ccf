"""Clients that work while something is done to the server: every byte is checked, every loss counted."""

import collections
import os
import socket
import threading

from client import Client, socket_address
from settings import DEADLINE, wait_until

LOSSES = ("refused", "reset", "hung", "wrong")


class Traffic:
    """Echo clients, from the beginning of the block to its end; then asserts that nothing was lost.

    Each of `endpoints` gets `parallel` threads: streams connect, echo and end, as fast as they can;
    datagrams are sent one after the other, and one that is not answered is lost. `hold` connections to
    each stream endpoint live through all of it and echo again and again."""

    def __init__(self, endpoints, parallel=2, hold=0):
        self.counts = collections.Counter()
        self.held = [Client(*socket_address(endpoint)) for endpoint in endpoints
                     for _ in range(hold) if not endpoint.startswith("udp")]
        self._over = threading.Event()
        self._lock = threading.Lock()
        works = [self._datagrams if endpoint.startswith("udp") else self._streams
                 for endpoint in endpoints]
        self._threads = [threading.Thread(target=work, args=socket_address(endpoint), daemon=True)
                         for work, endpoint in zip(works, endpoints) for _ in range(parallel)]
        if self.held:
            self._threads.append(threading.Thread(target=self._hold, daemon=True))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.goes_on()
        self._over.set()
        for thread in self._threads:
            thread.join(4 * DEADLINE)
        for client in self.held:
            client.socket.close()
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads), "a client hangs"
            self.has_lost_nothing()

    def goes_on(self, more=50):
        """Waits until so many more were answered: what was done to the server was done under load."""
        for name in self._names():
            wanted = self.counts[name] + more
            wait_until(lambda: self.counts[name] >= wanted or self._losses(), f"{more} more {name}")
        self.has_lost_nothing()

    def has_lost_nothing(self):
        assert not self._losses(), dict(self.counts)

    def _names(self):
        names = {thread._target.__name__[1:] for thread in self._threads}
        return [name for name in ("streams", "datagrams", "hold") if name in names]

    def _losses(self):
        return {name: self.counts[name] for name in LOSSES if self.counts[name]}

    def _count(self, name):
        with self._lock:
            self.counts[name] += 1

    def _run(self, name, act):
        while not self._over.is_set():
            try:
                self._count(name if act() else "wrong")
            except TimeoutError:
                self._count("hung")
            except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
                self._count("refused")
            except (ConnectionError, BrokenPipeError):
                self._count("reset")

    def _streams(self, family, address):
        def act():
            data = os.urandom(100)
            with Client(family, address) as client:
                if client.ask(data[:40], 40) != data[:40] or client.ask(data[40:], 60) != data[40:]:
                    return False
                client.end()
                return client.receive_all() == b""
        self._run("streams", act)

    def _datagrams(self, family, address):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            client.connect(address)

            def act():
                data = os.urandom(50)
                client.send(data)
                return client.recv(100) == data
            self._run("datagrams", act)

    def _hold(self):
        def act():
            data = os.urandom(20)
            return all(client.ask(data, 20) == data for client in self.held)
        self._run("hold", act)
