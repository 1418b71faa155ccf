"""Names of hosts and users in a reload: a name server that is slow or silent keeps nobody from anything else."""

import os
import signal

import pytest

from client import Client, socket_address
from controlled import Controlled
from server import service
from settings import DEADLINE, plugin_path, wait_until

ECHO = service("echo")


@pytest.fixture
def server(tmp_path):
    preload = {"LD_PRELOAD": plugin_path("preload_names"), "GATE": str(tmp_path / "gate"),
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    with Controlled(ECHO, env=preload, crashes=False) as running:
        running.open_gate = (tmp_path / "gate").touch
        running.was_asked = (tmp_path / "gate.asked").exists
        yield running


def looks_up(server):
    """Until a child of the master asks the name server."""
    def child():
        status = server.status()
        shown = {w["pid"] for g in status["generations"] for w in g["workers"]}
        return [pid for pid in server.workers() if pid not in shown]
    return wait_until(child, "a child asks")


def answers(endpoint):
    with Client(*socket_address(endpoint)) as client:
        assert client.ask(b"hola", 4) == b"hola"


SILENT = {
    "host": (ECHO + service("more", "echo", "tcp://silent.example:0 tcp://silent.example:1"),
             {}, '[more] listen: cannot look up host "silent.example": no answer in time'),
    "user": (ECHO, {"user": "silent-user"},
             '[server] user: cannot look up user "silent-user": no answer in time'),
}


@pytest.mark.parametrize("what", SILENT)
def test_while_a_name_server_is_silent_everything_goes_on_and_then_the_reload_fails(server, what):
    services, settings, error = SILENT[what]
    server.write(services, **settings)
    reload = server.reload_in_background()
    looks_up(server)
    before = server.serving_pids()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: server.serving_pids() not in ([], before), "the worker is restarted")
    answers(server.endpoint("echo"))
    assert reload.poll() is None
    _, err = reload.communicate(timeout=DEADLINE)
    assert reload.returncode == 1 and error in err, err
    assert server.file in err
    assert server.generations()["serving"]["number"] == 1 and not server.left_over()


def test_names_behind_a_silent_one_are_said_to_be_so(server):
    server.write(ECHO + service("more", "echo", "tcp://silent.example:0 tcp://localhost:0"))
    said = server.reload(status=1)
    assert 'host "silent.example": no answer in time' in said
    assert 'host "localhost": it comes after a name that nobody answered about in time' in said


def test_a_host_that_is_told_late_is_served_and_no_other_reload_is_lost(server):
    server.write(ECHO + service("more", "echo", "tcp://slow.example:0 tcp://localhost:0"))
    reloads = [server.reload_in_background() for _ in range(2)]
    looks_up(server)
    server.open_gate()
    for reload in reloads:
        out, err = reload.communicate(timeout=DEADLINE)
        assert reload.returncode == 0 and "serves" in out, err
    endpoints = server.service_status("more")["endpoints"]
    assert endpoints[0].startswith("tcp://127.0.0.1:") and len(endpoints) >= 2
    for endpoint in endpoints:
        answers(endpoint)


def test_a_file_that_changes_while_its_names_are_looked_up_is_to_be_read_again(server):
    server.write(ECHO + service("more", "echo", "tcp://slow.example:0"))
    reload = server.reload_in_background()
    wait_until(server.was_asked, "the file was read, and its name is looked up")
    server.write(ECHO + service("more", "echo", "tcp://localhost:0"))
    server.open_gate()
    _, err = reload.communicate(timeout=DEADLINE)
    assert reload.returncode == 1
    assert 'host "localhost": the file was changed while it was read; try again' in err
    server.reload()
    answers(server.endpoint_now("more"))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_while_a_name_is_looked_up(server, sig):
    server.write(ECHO + service("more", "echo", "tcp://silent.example:0"))
    reload = server.reload_in_background()
    looks_up(server)
    server.stop(sig)
    assert reload.communicate(timeout=DEADLINE)[1] == "the server is leaving\n"
