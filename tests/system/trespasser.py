"""A plugin that tries what it must not, and what a kernel has to keep it from it."""

import ctypes
import os
import re
import struct

import pytest

from server import Server, service
from settings import VARIANT

# The leak checker of AddressSanitizer lives on tracing its process from another.
TRACED = VARIANT == "asan"

DENIED = ("EPERM", "EACCES")

# What a network answers in which there is nothing; a kernel need not have every protocol.
NOWHERE = (*DENIED, "ENETUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED",
           "EPROTONOSUPPORT", "ESOCKTNOSUPPORT")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.MULTILINE))


def no_landlock():
    """What landlock_create_ruleset answers on a kernel without: for a test's server and its children."""
    forbid(444)


def no_seccomp():
    forbid(317 if os.uname().machine == "x86_64" else 277)


def no_namespaces():
    """What unshare answers where a container or its administrator keeps user namespaces from us."""
    forbid(272 if os.uname().machine == "x86_64" else 97)


def forbid(number):
    """Makes a system call fail with ENOSYS from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(struct.pack("HBBI", *step) for step in (
        (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)))
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, fprog, 0, 0) == 0, os.strerror(ctypes.get_errno())


def lacking():
    """What the server says that this kernel lacks."""
    with Server(service("echo", sandbox="strict")) as server:
        found = server.lines("sandbox is incomplete")
        return found[0]["lacking"] if found else ""


@pytest.fixture(scope="module")
def whole_sandbox():
    missing = lacking()
    if missing:
        pytest.skip(f"this kernel lacks a part: {missing}")


class Trespasser:
    """A connection to the plugin `trespass`."""

    def __init__(self, server, name="trespass"):
        self.client = server.connect(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.socket.close()

    def ask(self, *words):
        self.client.send(" ".join(map(str, words)).encode() + b"\n")
        return self.client.receive_line().strip()
