"""What a reload changes of [server]: where the log goes; and what it says it does not change."""

import os
import re
import signal

import pytest

from controlled import Controlled, is_refused
from processes import log_descriptors
from server import service, share_with_workers
from settings import wait_until

ECHO = service("echo")


def use(server):
    with server.connect("echo") as client:
        assert client.ask(b"hola", 4) == b"hola"


def closed_in(server, file, count=1):
    server.wait_for_log(r" closed service=echo ", count, file=file)


def test_a_changed_log_is_that_of_the_generation_that_changed_it():
    with Controlled(ECHO) as server:
        one, two = server.path("one.log"), server.path("two.log")
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.write(ECHO, log=one)
            assert server.reload() == "generation 2 serves\n"
            server.wait_for_log("ready generation=2", file=one)
            use(server)
            closed_in(server, one)
            assert " closed " not in server.log()
        closed_in(server, None)  # who was there before is logged where it was
        server.wait_for_generation(2)
        server.write(ECHO, log=two)
        assert server.reload() == "generation 3 serves\n"
        server.wait_for_log("drained generation=2", file=two)
        server.write(ECHO, log="stderr")
        assert server.reload() == "generation 4 serves\n"
        server.wait_for_lines("ready", generation="4")
        server.wait_for_generation(4)
        use(server)
        closed_in(server, None, 2)
        assert "lines lost" not in server.log(one) + server.log(two) + server.log()


def test_a_log_that_a_reload_has_changed_is_reopened_where_it_is_now():
    with Controlled(ECHO, {"log": "{dir}/one.log"}, wait=False) as server:
        server.wait_for_log(" ready ", file=server.path("one.log"))
        two = server.path("two.log")
        server.write(ECHO, log=two)
        server.reload()
        server.wait_for_generation(2)
        os.rename(two, two + ".old")
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(two), "the log is opened again")
        assert server.command("stop").returncode == 0
        server.wait_for_log(" draining ", file=two)


def test_a_worker_whose_first_loop_has_ended_follows_a_log_that_is_moved():
    config = service("hola", threads=1) + service("echo", threads=1)  # on the first loop, and on the second
    with Controlled(config, {"log": "{dir}/one.log", "threads": 2, "drain_timeout": "none"},
                    wait=False) as server:
        log = server.path("one.log")
        endpoint = server.wait_for_log(r" listening service=echo endpoint=(\S+)", file=log).group(1)
        with server.connect(endpoint=endpoint) as held:
            assert held.ask(b"hola", 4) == b"hola"
            old = server.worker()
            server.reload()
            os.rename(log, log + ".old")
            server.process.send_signal(signal.SIGUSR1)
            wait_until(lambda: {path for path, _ in log_descriptors(old, log)} == {log}, "the new log")


@pytest.mark.parametrize("hoards", ["no", "yes"])
def test_plugins_that_stop_follow_a_log_that_is_moved(hoards):
    """The later ones do, while the first to stop takes its time, and may leave no descriptor."""
    with Controlled(ECHO, {"log": "{dir}/one.log", "stall_limit": "never"}, wait=False) as server:
        log, gate = server.path("one.log"), server.path("gate")
        os.mkfifo(gate)
        share_with_workers(server.directory)
        server.wait_for_log(" ready ", file=log)
        server.write(service("counts", "lifecycle") +
                     service("x", "slow_stop", gate=gate, hoards=hoards, read_paths=gate, max_files=100))
        server.reload()
        server.write(ECHO)
        server.hang_up()
        server.wait_for_log("slow_stop waits", file=log)
        os.rename(log, log + ".old")
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(log), "the log is opened again")
        server.status()  # the master takes one order after the other, so the worker has been told
        with open(gate, "wb") as file:
            file.write(b"go")
        server.wait_for_log("lifecycle opened=0", file=log)


def test_a_reload_does_not_wait_for_plugins_that_stop():
    with Controlled(ECHO, {"stall_limit": "never"}) as server:
        gate = server.path("gate")
        os.mkfifo(gate)
        share_with_workers(server.directory)
        server.write(ECHO + service("x", "slow_stop", gate=gate, read_paths=gate))
        server.reload()
        server.write(ECHO + service("x", "slow_stop"))
        assert "generation 3 serves" in server.reload()
        server.wait_for_log("slow_stop waits")
        assert set(server.generations()) == {"serving", "draining"}
        with open(gate, "wb") as file:
            file.write(b"go")
        server.wait_for_generation(3)


@pytest.mark.parametrize("how", ["at once", "after the old generation"])
def test_a_reload_that_fails_leaves_the_log_where_it_was(how):
    with Controlled(ECHO, {"drain_timeout": "none"}) as server:
        number = 1
        if how != "at once":
            with server.connect("echo") as held:
                assert held.ask(b"hola", 4) == b"hola"
                server.reload()
                server.write(ECHO + service("x", "refuser", at="start"), log="{dir}/new.log")
                server.hang_up()
                server.wait_for_waiting(3)
            number = 2
        else:
            server.write(ECHO + service("x", "refuser", at="start"), log="{dir}/new.log")
            server.reload(status=1)
        server.wait_for_lines("reload failed")
        server.wait_for_generation(number)
        before = len(server.lines("closed"))
        use(server)
        closed_in(server, None, before + 1)
        assert " closed " not in server.log(server.path("new.log"))


def test_a_log_that_cannot_be_opened_is_an_error():
    with Controlled(ECHO) as server:
        server.write(ECHO, log="{dir}/no/such/folder/x.log")
        said = server.reload(status=1)
        assert re.search(r"\[server\] log: .*x\.log cannot be made: there is no folder ", said)
        assert server.generations()["serving"]["number"] == 1


def test_a_changed_control_socket_stays_where_it_is_and_that_is_said():
    with Controlled(ECHO) as server:
        server.write_text(server.config.replace("control.sock", "other.sock"))
        said = server.reload()
        warning = f"{server.file}:2: [server] control: the control socket stays at {server.control} until"
        assert said.startswith(f"generation 2 serves\n{warning}")
        assert warning in server.wait_for_lines("not reloaded")[0]["what"]
        assert server.lines("not reloaded")[0]["level"] == "warning"
        assert is_refused(f"unix://{server.path('other.sock')}")
        server.write_text(server.config.replace("other.sock", "control.sock"))
        assert server.reload() == "generation 3 serves\n"
