"""A new binary: executed with the sockets handed over, and nothing lost, whether it comes up or not."""

import os
import signal

import pytest

from client import Client, socket_address
from processes import children_of, process_lives
from server import service
from settings import DEADLINE, SANITIZED, SLOWER, SOAK, soak, wait_until
from traffic import Traffic
from upgradable import Upgradable

EVERYWHERE = ("tcp://127.0.0.1:0 udp://127.0.0.1:0 tcp://[::1]:0 unix://{dir}/echo.sock")
ECHO = service("echo", listen=EVERYWHERE, threads=2)

pytestmark = pytest.mark.timeout(soak(180, 900) * SLOWER)


def refused(endpoint):
    try:
        Client(*socket_address(endpoint)).socket.close()
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


# ---- that come up ----

def upgrade_with_open_connections(server, count):
    """Connections that are open before are unbroken after; then they end, and with them the old server."""
    held = [Client(*socket_address(endpoint)) for endpoint in server.endpoints()
            for _ in range(count) if not endpoint.startswith("udp")]
    for client in held:
        assert client.ask(b"before", 6) == b"before"
    server.upgrade()
    for client in held:
        assert client.ask(b"after", 5) == b"after"
        client.end()
        assert client.receive_all() == b""
        client.socket.close()


@pytest.mark.soak
def test_upgrades_under_load_lose_nothing():
    with Upgradable(ECHO) as server:
        endpoints = server.endpoints()
        with Traffic(endpoints) as traffic:
            for _ in range(soak(3, 20)):
                traffic.goes_on()
                upgrade_with_open_connections(server, 5)
        assert server.endpoints() == endpoints
        server.those_before_have_left()


def test_usr2_upgrades_as_the_command_does():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        server.process.send_signal(signal.SIGUSR2)
        server.follow()
        assert "the new server serves" not in server.log()


def test_the_new_binary_serves_and_the_old_process_ends():
    with Upgradable(ECHO) as server:
        first = server.process
        server.put_script('ENCHUFE_TEST_MARK=new exec {enchufe} "$@"')
        server.upgrade()
        with open(f"/proc/{server.pid}/environ", "rb") as file:
            assert b"ENCHUFE_TEST_MARK=new" in file.read()
        assert first.wait(DEADLINE) == 0
        status = server.command("status").stdout
        assert str(server.pid) in status and str(first.pid) not in status


def test_whoever_connects_after_the_answer_gets_the_new_server():
    with Upgradable(service("environment", threads=2)) as server:
        with server.connect("environment") as client:
            assert client.ask_line("MARK") == "unset\n"
        server.put_script('MARK=new exec {enchufe} "$@"')
        assert server.command("upgrade").returncode == 0
        for _ in range(50):
            with server.connect("environment") as client:
                assert client.ask_line("MARK") == "new\n"
        server.follow()


def test_open_connections_stay_with_the_old_server_until_its_drain_timeout():
    with Upgradable(ECHO, drain="1s") as server:
        with server.connect("echo") as client:
            assert client.ask(b"before", 6) == b"before"
            worker = server.worker()
            server.upgrade()
            assert client.ask(b"after", 5) == b"after"
            assert process_lives(worker) and worker not in server.workers()
            try:
                assert client.receive_all() == b""
            except ConnectionResetError:
                pass
        server.those_before_have_left()
        server.wait_for_lines("closed", service="echo", reason="shutdown")
        with server.connect("echo") as client:
            assert client.ask(b"new", 3) == b"new"


def test_the_plugin_of_the_old_server_says_goodbye():
    with Upgradable(service("drain")) as server:
        with server.connect("drain") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.upgrade()
            assert client.receive_all() == b"bye\n"


def test_files_of_unix_sockets_stay_and_go_with_the_last_server():
    with Upgradable(ECHO) as server:
        for _ in range(2):
            server.upgrade()
            server.those_before_have_left()
            assert server.socket_files() == ["control.sock", "echo.sock"]
            with server.connect("echo", "unix") as client:
                assert client.ask(b"hola", 4) == b"hola"
            assert server.command("status").returncode == 0
        server.stop()
        assert server.socket_files() == []


def test_sockets_whose_paths_have_blanks_are_handed_over():
    server = Upgradable(service("echo"), keys="include = with blank/*.ini")
    folder = os.path.join(server.directory, "with blank")
    os.mkdir(folder)
    with open(os.path.join(folder, "more.ini"), "w", encoding="utf-8") as file:
        file.write(service("more", "echo", "unix://more.sock"))
    with server:
        with Traffic([server.endpoint("echo"), f"unix://{folder}/more.sock"]):
            server.upgrade()
        server.those_before_have_left()
        assert os.path.exists(os.path.join(folder, "more.sock"))


def test_the_new_server_reads_the_new_configuration():
    both = (service("echo", listen="tcp://127.0.0.1:0 unix://{dir}/echo.sock") +
            service("gone", "echo", "tcp://127.0.0.1:0 unix://{dir}/gone.sock"))
    with Upgradable(both) as server:
        gone = server.endpoint("gone", "tcp")
        server.configure(service("echo", listen="tcp://127.0.0.1:0 unix://{dir}/echo.sock") +
                         service("came", "echo", "tcp://127.0.0.1:0 unix://{dir}/came.sock"))
        with Traffic(server.endpoints("echo")):
            server.upgrade()
            server.those_before_have_left()
        assert server.socket_files() == ["came.sock", "control.sock", "echo.sock"]
        assert refused(gone)
        for kind in ("tcp", "unix"):
            with server.connect("came", kind) as client:
                assert client.ask(b"hola", 4) == b"hola"


def test_an_endpoint_that_the_new_server_does_not_want_is_closed_after_its_queue_was_served():
    with Upgradable(service("echo") + service("gone", "echo")) as server:
        gone = server.endpoint("gone")
        server.configure(service("echo"))
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            with Traffic([server.endpoint("echo")]):
                server.upgrade()
                wait_until(lambda: refused(gone), "nobody listens there, though the old one drains")
            assert server.before[0].poll() is None
            assert held.ask(b"hola", 4) == b"hola"


def test_an_upgrade_that_removes_hundreds_of_endpoints_keeps_the_others_served():
    """The list of those that go is longer than any one message between the servers."""
    def services(count):
        ten = " ".join(["tcp://127.0.0.1:0"] * 10)
        return "".join(service(f"echo-{i}", "echo", ten) for i in range(count))

    with Upgradable(services(80), keys="threads = 1") as server:
        stay = server.endpoints()[:100]
        server.configure(services(10))
        server.upgrade()
        server.those_before_have_left()
        for endpoint in stay:
            with Client(*socket_address(endpoint)) as client:
                assert client.ask(b"hola", 4) == b"hola"
        # Their ports may be another program's by now: nobody keeps a socket of them.
        for pid in (server.pid, server.worker()):
            assert len(os.listdir(f"/proc/{pid}/fd")) < 200


def test_an_old_server_leaves_a_unix_socket_that_the_new_one_has_made():
    """It had one of the same path itself, until a reload took it away."""
    unix = service("unix", "echo", "unix://{dir}/echo.sock")
    with Upgradable(service("echo") + unix) as server:
        with server.connect("unix") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.configure(service("echo"))
            assert server.command("reload").returncode == 0
            server.configure(service("echo") + unix)
            server.upgrade()
        server.those_before_have_left()
        assert server.socket_files() == ["control.sock", "echo.sock"]
        with server.connect(endpoint=f"unix://{server.directory}/echo.sock") as client:
            assert client.ask(b"hola", 4) == b"hola"


@pytest.mark.parametrize("counts", [(1, 4, 1), (4, 1, 4)])
def test_the_number_of_loops_may_change(counts):
    def text(threads):
        return service("echo", listen=EVERYWHERE, threads=threads)
    with Upgradable(text(counts[0]), keys="threads = 4") as server:
        with Traffic(server.endpoints()) as traffic:
            for threads in counts[1:]:
                server.configure(text(threads))
                upgrade_with_open_connections(server, 2)
                traffic.goes_on()


def test_a_reload_after_an_upgrade_keeps_the_sockets():
    with Upgradable(ECHO) as server:
        with Traffic(server.endpoints(), hold=1):
            server.upgrade()
            done = server.command("reload")
            assert (done.returncode, done.stdout) == (0, "generation 2 serves\n"), done.stderr
        assert server.socket_files() == ["control.sock", "echo.sock"]


# ---- that do not ----

def break_binary(text):
    return lambda server: server.put_script(text)


def remove_binary(server):
    os.unlink(server.binary)


def put_nonsense(server):
    with open(server.binary + ".new", "wb") as file:
        file.write(b"\x7fELF and nothing else")
    os.chmod(server.binary + ".new", 0o755)
    os.replace(server.binary + ".new", server.binary)


def configure(text):
    return lambda server: server.configure(text)


BROKEN = {
    "ends with a status": (break_binary("exit 3"), "ended with status 3"),
    "ends at once with status 0": (break_binary("exit 0"), "ended with status 0"),
    "is killed": (break_binary("kill -9 $$"), "was killed"),
    "hangs without the pipe": (break_binary("exec python3 -c 'import os, time\n"
                                            "os.closerange(3, 1000)\ntime.sleep(1000)'"),
                               "was killed"),
    "is gone": (remove_binary, "cannot be executed: No such file or directory"),
    "is no program": (put_nonsense, "cannot be executed: Exec format error"),
    "configuration": (configure("[echo]\nplugn = echo\n"), "unknown key"),
    "no such plugin": (configure(service("echo", "nowhere")), "nowhere.so"),
    "plugin that crashes": (configure(ECHO + service("x", "load_crash")), "load_crash.so"),
    "plugin that does not start": (configure(ECHO + service("x", "refuser", at="start")),
                                   "[x] start of plugin refuser failed"),
    "plugin that does not start its loops": (
        configure(ECHO + service("x", "refuser", at="loop_start")), "[x] loop_start failed"),
    "plugin that does not start, and endpoints that are not wanted": (
        configure(service("x", "refuser", at="start")), "[x] start of plugin refuser failed"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_new_server_that_does_not_come_up_changes_nothing(how):
    breaks, text = BROKEN[how]
    with Upgradable(ECHO, crashes=True) as server:
        workers = server.workers()
        with Traffic(server.endpoints(), hold=2) as traffic:
            for count in (1, 2):
                breaks(server)
                done = server.command("upgrade")
                assert done.returncode == 1 and text in done.stderr, done.stderr
                error = server.wait_for_lines("upgrade failed", count)[-1]["error"]
                assert text in error and not error.endswith(("\n", "\\n"))
                if breaks is remove_binary:
                    server.put_script("exit 3")
                traffic.goes_on()
            assert server.workers() == workers and server.process.poll() is None
            assert server.socket_files() == ["control.sock", "echo.sock"]
            assert server.command("status").returncode == 0
            server.put_script('exec {enchufe} "$@"')
            server.configure(ECHO)
            server.upgrade()
        server.stop()
        assert server.socket_files() == []


@pytest.mark.soak
def test_every_error_of_the_new_configuration_is_told():
    with Upgradable(service("echo")) as server:
        names = [f"nowhere-{number}" for number in range(60)]
        server.configure("".join(service(name, name) for name in names))
        done = server.command("upgrade")
        assert done.returncode == 1 and all(name + ".so" in done.stderr for name in names)


def test_failures_in_a_row_under_load_and_then_a_good_one():
    with Upgradable(ECHO) as server:
        with Traffic(server.endpoints(), hold=5) as traffic:
            for number in range(soak(6, 20)):
                server.put_script(f"exit {number + 1}")
                done = server.command("upgrade")
                assert done.returncode == 1 and f"status {number + 1};" in done.stderr
                traffic.has_lost_nothing()
            server.put_script('exec {enchufe} "$@"')
            server.upgrade()


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="the limit is 30 s")
def test_a_new_server_that_says_nothing_is_ended():
    with Upgradable(ECHO) as server:
        server.put_script("exec sleep 1000")
        with Traffic(server.endpoints(), hold=2):
            done = server.begin_command("upgrade")
            _, err = done.communicate(timeout=40)
            assert done.returncode == 1 and "did not come up in time" in err


# ---- several things at once ----

def begin_slow_upgrade(server):
    """Returns the command, and what lets the new server come up."""
    open_gate = server.put_slow_binary()
    command = server.begin_command("upgrade")
    server.wait_for_log("^waiting$")
    return command, open_gate


def test_a_second_upgrade_is_refused_while_one_is_under_way():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        command, open_gate = begin_slow_upgrade(server)
        done = server.command("upgrade")
        assert (done.returncode, done.stderr) == (1, "an upgrade is under way\n")
        server.process.send_signal(signal.SIGUSR2)
        open_gate()
        out, err = command.communicate(timeout=DEADLINE)
        assert (command.returncode, out) == (0, "the new server serves\n"), err
        server.follow()
        assert len(server.lines("upgrading")) == 1


def test_an_upgrade_is_refused_while_the_server_before_still_drains_and_the_status_shows_that():
    with Upgradable(ECHO) as server:
        assert server.predecessor() is None
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.upgrade()
            first = server.before[0].pid
            assert server.predecessor()["pid"] == first and server.predecessor()["draining"] >= 0
            assert f"the server before, pid {first}, drains, for " in server.command("status").stdout
            done = server.command("upgrade")
            assert done.returncode == 1
            assert done.stderr.startswith(f"the server before, pid {first}, still drains; ")
            server.process.send_signal(signal.SIGUSR2)
            server.wait_for_lines("no upgrade", 2)
            assert held.ask(b"adios", 5) == b"adios"
        server.wait_for_lines("the server before has gone", pid=str(first))
        server.wait_for_predecessor(None)
        assert "the server before" not in server.command("status").stdout
        server.upgrade()


def test_an_upgrade_may_follow_once_the_server_before_was_ended():
    with Upgradable(ECHO) as server:
        with server.connect("echo") as held:
            assert held.ask(b"hola", 4) == b"hola"
            server.upgrade()
            server.before[0].send_signal(signal.SIGINT)
            server.upgrade()


def waiting_reload(server, text):
    """Generation 1 is held by a connection, 2 serves, and a reload of `text` waits."""
    held = server.connect("echo")
    assert held.ask(b"hola", 4) == b"hola"
    assert server.command("reload").returncode == 0
    server.configure(text)
    reload = server.begin_command("reload")
    server.wait_for_lines("reload waits until the last generation has drained")
    return held, reload


MORE = ECHO + service("more", "echo", "unix://{dir}/more.sock tcp://127.0.0.1:0")


def test_an_upgrade_while_a_reload_waits_takes_its_place():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        held, reload = waiting_reload(server, MORE)
        with held:
            server.upgrade()
            assert "new server" in reload.communicate(timeout=DEADLINE)[1] and reload.returncode == 1
            assert held.ask(b"adios", 5) == b"adios"
            for kind in ("unix", "tcp"):
                with server.connect("more", kind) as client:
                    assert client.ask(b"hola", 4) == b"hola"
        server.those_before_have_left()
        assert server.socket_files() == ["control.sock", "echo.sock", "more.sock"]


def test_after_an_upgrade_that_fails_the_reload_that_waited_goes_on():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        held, reload = waiting_reload(server, MORE)
        server.put_script("exit 3")
        assert server.command("upgrade").returncode == 1
        server.wait_for_lines("reload waits until the last generation has drained", 2)
        assert reload.poll() is None
        held.socket.close()
        assert "serves" in reload.communicate(timeout=DEADLINE)[0] and reload.returncode == 0
        assert server.socket_files() == ["control.sock", "echo.sock", "more.sock"]


def test_a_reload_during_an_upgrade_that_fails_comes_after_it():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        server.put_script("echo waiting >&2\nexec sleep 1000")
        upgrade = server.begin_command("upgrade")
        server.wait_for_log("^waiting$")
        reload = server.begin_command("reload")
        server.wait_for_lines("reload waits until the upgrade is over")
        def asleep():
            return [pid for pid in server.workers()
                    if open(f"/proc/{pid}/comm", encoding="ascii").read() == "sleep\n"]
        os.kill(wait_until(asleep, "the script to have become sleep(1)")[0], signal.SIGKILL)
        assert "was killed" in upgrade.communicate(timeout=DEADLINE)[1] and upgrade.returncode == 1
        assert reload.communicate(timeout=DEADLINE)[0] == "generation 2 serves\n"
        assert reload.returncode == 0


def test_a_reload_during_an_upgrade_that_succeeds_is_passed_on():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        upgrade, open_gate = begin_slow_upgrade(server)
        reload = server.begin_command("reload")
        server.wait_for_lines("reload waits until the upgrade is over")
        open_gate()
        assert upgrade.communicate(timeout=DEADLINE)[0] == "the new server serves\n"
        assert "new server" in reload.communicate(timeout=DEADLINE)[1] and reload.returncode == 1
        server.follow()
        server.wait_for_lines("ready", generation="2", pid=str(server.pid))


def test_an_upgrade_during_a_reload_is_refused():
    with Upgradable(ECHO) as server, Traffic(server.endpoints()):
        server.configure(ECHO + service("x", "load_endless"))
        reload = server.begin_command("reload")
        server.wait_for_lines("reloading")
        done = server.command("upgrade")
        assert (done.returncode, done.stderr) == (1, "a reload is under way\n")
        reload.communicate(timeout=2 * DEADLINE)
        assert reload.returncode == 1
        server.configure(ECHO)
        server.upgrade()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_ends_the_upgrade_as_well(sig):
    with Upgradable(ECHO) as server:
        command, _ = begin_slow_upgrade(server)
        server.stop(sig)
        _, err = command.communicate(timeout=DEADLINE)
        assert (command.returncode, err) == (1, "the server is leaving\n")
        assert server.socket_files() == []


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_an_old_server_that_is_told_to_end_takes_nothing_from_the_new_one(sig):
    with Upgradable(ECHO) as server:
        for _ in range(2 if SANITIZED else 5):
            with server.connect("echo") as held:
                assert held.ask(b"hola", 4) == b"hola"
                server.upgrade()
                # Whoever connects from here on gets the new one.
                with Traffic(server.endpoints()):
                    server.before[-1].send_signal(sig)
                    server.those_before_have_left()
        assert server.socket_files() == ["control.sock", "echo.sock"]


def test_a_new_server_that_is_told_to_end_before_it_is_up_takes_nothing_from_the_old_one():
    with Upgradable(ECHO) as server, Traffic(server.endpoints(), hold=1):
        gate = os.path.join(server.directory, "start")
        os.mkfifo(gate)
        server.configure(ECHO + service("x", "slow_start", gate=gate, read_paths=gate))
        upgrade = server.begin_command("upgrade")
        server.wait_for_log("slow_start waits")
        new = next(pid for pid in server.workers()
                   if b"enchufe\n" == open(f"/proc/{pid}/comm", "rb").read())
        os.kill(new, signal.SIGTERM)
        upgrade.communicate(timeout=DEADLINE)
        assert upgrade.returncode == 1
        assert server.socket_files() == ["control.sock", "echo.sock"]
        assert server.command("status").returncode == 0


def test_a_worker_that_crashes_during_an_upgrade_is_replaced():
    with Upgradable(ECHO + service("crash"), crashes=True) as server:
        command, open_gate = begin_slow_upgrade(server)
        with server.connect("crash") as client:
            client.send(b"s")
            client.receive_all()
        server.wait_for_lines("worker started", 2)
        open_gate()
        command.communicate(timeout=DEADLINE)
        assert command.returncode == 0
        server.follow()
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_new_server_that_is_not_up_yet_ends_with_the_old_one_that_is_killed():
    with Upgradable(ECHO, crashes=True) as server:
        gate = os.path.join(server.directory, "gate")
        os.mkfifo(gate)
        old = server.workers()
        server.configure(ECHO + service("slow", "slow_start", gate=gate, read_paths=gate))
        order = server.begin_command("upgrade")
        server.wait_for_log("slow_start waits")
        new = [pid for pid in children_of(server.pid) if pid not in old]
        assert len(new) == 1
        new += children_of(new[0])
        assert len(new) == 2
        server.kill()
        wait_until(lambda: not [pid for pid in old + new if process_lives(pid)],
                   "every process is gone", SLOWER)
        order.communicate()


def test_a_generation_that_drained_for_ever_does_not_keep_an_old_server():
    with Upgradable(service("echo"), drain="none") as server, server.connect("echo") as held:
        assert held.ask(b"hola", 4) == b"hola"
        server.head = server.head.replace("none", "500ms")
        server.configure(service("echo"))
        assert server.command("reload").returncode == 0
        server.upgrade()
        assert held.receive_all() == b""
        server.those_before_have_left()
