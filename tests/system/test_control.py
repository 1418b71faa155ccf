"""The control socket answers its own user, and nobody can harm it or the server there."""

import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess

import pytest

from client import Client
from controlled import Controlled
from load import Load
from processes import processor_share
from server import environment, run, service
from settings import DEADLINE, SOAK, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"


def connect(server):
    def try_once():
        try:
            return Client(socket.AF_UNIX, server.control)
        except BlockingIOError:  # as many as may wait do wait
            return None
    return wait_until(try_once, "the control socket takes one more client")


def test_silent_clients_harm_nobody():
    with Controlled(service("echo")) as server:
        silent = []
        for _ in range(10):
            silent += [connect(server) for _ in range(30)]
            assert server.status()["pid"] == server.pid
        assert server.reload() == "generation 2 serves\n"
        for client in silent:
            client.socket.close()


def test_a_silent_client_is_let_go_in_the_end():
    with Controlled(service("echo")) as server:
        with connect(server) as client:
            assert client.receive_all() == b""


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"hola\n", b"status", b"status\0\n", b"x" * 100000,
                                  b"status status\n", b"\xff" * 63 + b"\n", b"reload now\n"])
def test_junk_is_answered_with_an_error_or_with_nothing(junk):
    with Controlled(service("echo")) as server:
        with connect(server) as client:
            try:
                client.send(junk)
                client.end()
                answer = client.receive_all()
            except (ConnectionResetError, BrokenPipeError):
                answer = b""
        if not junk.startswith(b"status\0"):
            assert answer == b"" or answer.startswith(b"failed\nunknown command")
        assert server.generations()["serving"]["number"] == 1


def test_a_command_may_come_byte_by_byte():
    with Controlled(service("echo")) as server:
        with connect(server) as client:
            for byte in b"status\n":
                client.send(bytes([byte]))
            assert client.receive_all().startswith(b"ok\nenchufe ")


def test_a_client_that_does_not_read_its_answer_harms_nobody():
    services = "".join(service(f"echo-{i}", "echo") for i in range(200))
    with Controlled(services) as server:
        clients = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(server.control)
            client.sendall(b"status json\n")
            clients.append(client)
        assert len(server.status()["services"]) == 200
        for client in clients:
            client.close()


def test_a_client_that_no_descriptor_is_left_for_waits_and_spins_nothing():
    with Controlled(service("echo")) as server:
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        with connect(server) as client:
            assert processor_share(server.pid, 0.5) < 0.2
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
            client.send(b"status\n")
            assert client.receive_all().startswith(b"ok\nenchufe ")


def test_many_clients_at_once_are_all_answered():
    with Controlled(service("echo")) as server:
        asking = [subprocess.Popen([server.binary, command, "--control", server.control], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
                  for command in ("status", "reload") * 20]
        for process in asking:
            out, err = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0 and out and not err, (process.args, out, err)
        assert server.generations()["serving"]["number"] < 21, "reloads are joined"


def test_clients_that_go_away_while_they_wait_for_a_reload_are_forgotten():
    with Controlled(service("echo")) as server:
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.reload()
            for _ in range(10):
                with connect(server) as client:
                    client.send(b"reload\n")
            server.wait_for_waiting()
            assert server.status()["pid"] == server.pid
        assert server.wait_for_generation()["number"] > 2


def test_those_that_wait_for_a_reload_leave_places_for_others_and_the_surplus_is_told():
    with Controlled(service("echo"), {"drain_timeout": "none"}) as server:
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.reload()
            waiting, told = [], []
            for _ in range(100):
                client = connect(server)
                client.send(b"reload\n")
                waiting.append(client)
                assert len(waiting) % 20 or server.status()["pid"] == server.pid
            told = [client for client in waiting[32:] if client.receive_all().startswith(
                b"failed\ntoo many wait for a reload already")]
            assert len(told) == 100 - 32
            assert "too many wait for a reload" in server.reload(status=1)
            assert server.command("status").returncode == 0
        for client in waiting[:32]:
            assert b"ok\ngeneration" in client.receive_all()


def test_only_the_servers_own_user_and_root_may_ask():
    with Controlled(service("echo")) as server:
        mode = os.stat(server.control).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_another_user_is_not_answered_even_where_the_file_lets_it(as_nobody):
    with Controlled(service("echo")) as server:
        os.chmod(server.directory, 0o755)
        os.chmod(server.control, 0o777)
        for command in ("status", "reload", "stop"):
            done = subprocess.run([as_nobody.binary, command, "--control", server.control],
                                  user=as_nobody.uid, group=as_nobody.uid, extra_groups=[], text=True,
                                  capture_output=True, timeout=DEADLINE, check=False, env=environment())
            assert done.returncode == 1 and done.stdout == ""
            assert "another user's" in done.stderr, done
        assert server.generations()["serving"]["number"] == 1


def test_root_may_ask_a_server_of_another_user(as_nobody):
    with as_nobody.server(f"[server]\ncontrol = {{dir}}/control.sock\n"
                          f"{service('echo', as_nobody.plugin('echo'))}") as server:
        done = run("status", "--json", "--control", os.path.join(server.directory, "control.sock"))
        assert json.loads(done.stdout)["pid"] == server.pid


def test_stop_ends_the_server_in_good_order():
    with Controlled(service("drain")) as server:
        with server.connect("drain") as client:
            assert client.ask(b"hola", 4) == b"hola"
            done = server.command("stop")
            assert done.returncode == 0 and done.stderr == ""
            assert client.receive_all() == b"bye\n"
        assert server.process.wait(DEADLINE) == 0
        assert not os.path.exists(server.control)


def test_a_command_without_a_server_says_so():
    for command in ("status", "reload", "stop"):
        done = run(command, "--control", "/nowhere/control.sock")
        assert done.returncode == 1 and done.stdout == ""
        assert "no server answers at /nowhere/control.sock" in done.stderr


def test_a_second_server_does_not_take_the_control_socket():
    with Controlled(service("echo")) as server:
        done = run("run", server.file, "--plugin-dir", os.path.dirname(server.binary) + "/plugins")
        assert done.returncode == 1
        assert "is in use: another server listens there" in done.stderr
        assert 'advice="name a path in [server] control' in done.stderr
        assert "cannot go on" not in done.stderr
        assert server.status()["pid"] == server.pid


def test_the_socket_of_a_killed_server_is_taken_over():
    with Controlled(service("echo")) as server:
        server.kill()
        assert os.path.exists(server.control)
        server.start()
        assert server.status()["pid"] == server.pid


# -- what the status says

def long_services():
    long = "a-service-with-a-name-as-long-as-a-name-may-be-x"
    return (service("echo", listen=BOTH) + service(long, "echo", isolate="yes") +
            service("crash", isolate="yes") + service("unix", "echo", "unix://{dir}/echo.sock"))


def crash(server, count):
    for number in range(1, count + 1):
        with server.connect("crash") as client:
            client.send(b"s")
        server.wait_for_lines("worker crashed", number)
        wait_until(lambda: any(w["name"] == "crash" and w["ready"]
                               for w in server.generations()["serving"]["workers"]), "it is back")


def test_the_status_fits_in_80_columns_and_shows_what_there_is():
    with Controlled(long_services(), crashes=True) as server:
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), streams=200, datagrams=200,
                  hold=3):
            crash(server, 3)
            server.reload()
            crash(server, 1)
            text = server.command("status").stdout
        assert [line for line in text.splitlines() if len(line) > 80] == []
        assert re.search(rf"^enchufe pid {server.pid}, up \d", text)
        assert re.search(r"^generation 2 serving, up ", text, re.M)
        assert re.search(r"^generation 1 draining, up .*, at most \d.*s left$", text, re.M)
        assert re.search(r"worker crash +pid \d+ +up \S+ +restarts 1", text)
        assert re.search(r"last crash: SIGSEGV in on_data of crash", text)
        assert re.search(r"^echo +\d+ +\d+ +0 +\S+ +\S+$", text, re.M)
        assert re.search(r"^  datagrams: \d+ in, \d+ out, 0 unsent, 0 dropped$", text, re.M)
        assert re.search(r"^  ended: .*closed-by-client \d+", text, re.M)
        for endpoint in server.endpoints("echo"):
            assert f"  {endpoint}\n" in text


def test_the_status_says_of_a_worker_that_was_killed_that_no_callback_was_to_blame():
    with Controlled(service("echo")) as server:
        before = server.serving_pids()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: server.serving_pids() not in ([], before), "the worker is restarted")
        assert "last crash: SIGKILL outside of all callbacks\n" in server.command("status").stdout


def test_the_json_status_says_the_same_as_the_text():
    with Controlled(long_services(), crashes=True) as server:
        with server.connect("echo", "tcp") as client:
            assert client.ask(b"hola", 4) == b"hola"
            crash(server, 1)
            status = server.status()
            assert (status["pid"], status["up"] > 0) == (server.pid, True)
            generation = server.generations()["serving"]
            assert (generation["number"], generation["left"]) == (1, None)
            workers = {worker["name"]: worker for worker in generation["workers"]}
            assert len(workers) == 3
            assert workers["main"]["services"] == ["echo", "unix"] and workers["main"]["restarts"] == 0
            assert workers["crash"]["restarts"] == 1 and "SIGSEGV" in workers["crash"]["last_crash"]
            assert all(worker["pid"] in server.workers() for worker in workers.values())
            echo = server.service_status("echo")
            assert (echo["now"], echo["opened"], echo["bytes_in"], echo["bytes_out"]) == (1, 1, 4, 4)
            assert echo["endpoints"] == server.endpoints("echo")
        wait_until(lambda: server.service_status("echo")["ended"]["closed-by-client"] == 1, "it ended")


def test_a_service_that_was_removed_is_in_the_status_as_long_as_it_drains():
    with Controlled(service("echo") + service("extra", "echo"), {"drain_timeout": "none"}) as server:
        with server.connect("extra") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.write(service("echo"))
            server.reload()
            extra = server.service_status("extra")
            assert (extra["removed"], extra["now"], extra["opened"]) == (True, 1, 1)
            assert extra["endpoints"] == [] and not server.service_status("echo")["removed"]
            text = server.command("status").stdout
            assert "  removed, drains in generation 1\n" in text and text.count("\nextra ") == 1
            assert max(len(line) for line in text.splitlines()) <= 80
        server.wait_for_generation(2)
        assert [s["name"] for s in server.status()["services"]] == ["echo"]


def test_the_status_shows_the_counters_of_plugins():
    with Controlled(service("loopstate")) as server:
        with server.connect("loopstate") as client:
            client.ask_line("one")
        counters = server.service_status("loopstate")["counters"]
        assert counters and 1 in counters.values()
        text = server.command("status").stdout
        assert all(f"  {name}: {count}\n" in text for name, count in counters.items())


def test_a_status_every_moment_under_load_disturbs_nobody():
    with Controlled(service("echo", listen=BOTH)) as server:
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), hold=10):
            for _ in range(300 if SOAK else 30):
                assert server.service_status("echo")["now"] >= 10


def test_the_status_tells_the_file_the_plugins_and_a_reload_that_failed():
    with Controlled(service("mine", "hola")) as server:
        status = server.status()
        assert status["file"] == server.file and status["failed_reload"] is None
        shown = server.service_status("mine")
        assert (shown["plugin"], shown["version"]) == ("hola", "0.1.0"), shown
        server.write(service("mine", "hola", nonsense="1"))
        server.reload(status=1)
        failed = server.status()["failed_reload"]
        assert failed["ago"] >= 0 and f"{server.file}:" in failed["error"], failed
        text = server.command("status").stdout
        assert f"file {server.file}\nthe last reload failed, " in text and failed["error"] in text
        assert "\n  plugin hola 0.1.0\n" in text
        server.write(service("mine", "echo"))
        server.reload()
        assert server.status()["failed_reload"] is None
        assert server.service_status("mine")["plugin"] == "echo"


def test_a_second_server_without_a_control_socket_warns_once(as_nobody):
    os.chmod(as_nobody.directory, 0o777)
    config = "[server]\nlog_level = info\n" + service("echo", as_nobody.plugin("echo"))
    env = {"XDG_RUNTIME_DIR": as_nobody.directory}
    with as_nobody.server(config, env=env) as first, as_nobody.server(config, env=env) as second:
        assert not first.lines("no control socket")
        lines = second.lines("no control socket")
        assert [line["level"] for line in lines] == ["warning"], lines
        assert "control = PATH" in lines[0]["advice"]
