"""A plugin's file may be replaced in any way under a running server: nothing changes until the reload."""

import os
import shutil
import signal
import subprocess

import pytest

from client import socket_address, Client
from controlled import Controlled, built_plugin, copy_plugin
from processes import process_lives
from server import service
from settings import wait_until

VERSION = service("version", "{dir}/version.so", "tcp://127.0.0.1:0 udp://127.0.0.1:0")


def copied(path):
    copy_plugin("version_two", path)


def moved(path):
    copy_plugin("version_two", path + ".new")
    os.replace(path + ".new", path)


def deleted_and_copied(path):
    os.unlink(path)
    copy_plugin("version_two", path)


def linked(path):
    os.unlink(path)
    os.symlink(built_plugin("version_two"), path)


def stripped(path):
    subprocess.run(["strip", path], check=True)


def deleted(path):
    os.unlink(path)


def truncated(path):
    os.truncate(path, 0)


def halved(path):
    os.truncate(path, os.path.getsize(path) // 2)


def overwritten(path):
    with open(path, "r+b") as file:
        file.write(b"\xcc" * os.path.getsize(path))


def ask_all(server, client, answer):
    """A connection from before, a new one, and a datagram."""
    assert client.ask(b"hola", 4) == b"hola"
    with server.connect("version", "tcp") as new:
        assert new.ask(b"hola", 4) == answer
    with server.datagram_socket("version") as new:
        new.send(b"hola")
        assert new.recv(100) == answer


@pytest.fixture
def server():
    with Controlled(VERSION, plugins={"version.so": "version_one"}) as running:
        yield running


@pytest.mark.parametrize("change", [copied, moved, deleted_and_copied, linked])
def test_nothing_changes_until_the_reload_gets_the_new_code(server, change):
    with server.connect("version", "tcp") as client:
        pids = server.workers()
        ask_all(server, client, b"hola")
        change(server.path("version.so"))
        ask_all(server, client, b"hola")
        assert server.workers() == pids
        server.reload()
        ask_all(server, client, b"HOLA")


@pytest.mark.parametrize("change", [copied, moved])
def test_and_the_same_way_back(server, change):
    change(server.path("version.so"))
    server.reload()
    copy_plugin("version_one", server.path("version.so"))
    server.reload()
    with server.connect("version", "tcp") as client:
        assert client.ask(b"hola", 4) == b"hola"


def test_a_stripped_plugin_serves_as_before_and_after_the_reload(server):
    if not shutil.which("strip"):
        pytest.skip("strip is not installed")
    with server.connect("version", "tcp") as client:
        stripped(server.path("version.so"))
        ask_all(server, client, b"hola")
        server.reload()
        ask_all(server, client, b"hola")


@pytest.mark.parametrize("change", [deleted, truncated, halved, overwritten])
def test_a_spoilt_file_changes_nothing_and_fails_the_reload(server, change):
    with server.connect("version", "tcp") as client:
        pids = server.workers()
        change(server.path("version.so"))
        ask_all(server, client, b"hola")
        assert "version.so" in server.reload(status=1)
        ask_all(server, client, b"hola")
        assert server.workers() == pids


@pytest.mark.parametrize("change", [copied, deleted, overwritten])
def test_a_worker_that_is_started_again_gets_the_code_of_its_generation(server, change):
    change(server.path("version.so"))
    victim = server.worker()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not process_lives(victim), "the killed worker is gone")
    with Client(*socket_address(server.endpoint("version", "tcp"))) as client:
        ask_all(server, client, b"hola")


def test_every_service_of_a_plugin_gets_the_new_code():
    config = VERSION + service("other", "{dir}/version.so", isolate="yes")
    with Controlled(config, plugins={"version.so": "version_one"}) as server:
        copied(server.path("version.so"))
        server.reload()
        for name in ("version", "other"):
            with server.connect(name, "tcp") as client:
                assert client.ask(b"hola", 4) == b"HOLA"
