"""What plugin code can reach: nothing but what its section names."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from server import Server, run, service
from settings import ROOT as HOME
from settings import SANITIZED, plugin_path
from trespasser import (DENIED, NOWHERE, TRACED, Trespasser, no_landlock, no_seccomp, status_of,
                        whole_sandbox)  # noqa: F401

NOBODY_AT_ALL = 4000000001
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")

def cage(sandbox):
    return Server("".join(service(name, sandbox=sandbox) for name in ("trespass", "ring", "echo")))


@pytest.fixture(scope="module", params=["yes", "strict"])
def caged(whole_sandbox, request):
    with cage(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def lightly_caged(whole_sandbox):
    with cage("yes") as server:
        yield server


@pytest.fixture(scope="module")
def strictly_caged(whole_sandbox):
    with cage("strict") as server:
        yield server


@pytest.fixture
def stranger():
    """A process that is no part of the server, of the same user as a worker where that can be."""
    process = subprocess.Popen(["sleep", "1000"], user=65534 if ROOT else None)
    yield process.pid
    process.kill()
    process.wait()


# ---- what nobody may ----

def deny(server, attempt, name="trespass"):
    worker = server.worker()
    with Trespasser(server, name) as trespasser:
        assert trespasser.ask(attempt) in DENIED
    with server.connect("echo") as client:
        assert client.ask(b"hola", 4) == b"hola"
    assert server.worker() == worker


@pytest.mark.parametrize("attempt", [
    "open /etc/passwd", "open /proc/1/status", "write /tmp/enchufe-trespass", "list /", "list /tmp",
    "write /dev/shm/enchufe-trespass", "tcp 9", "exec", "execveat", "setgroups", "capset", "mount",
    "chroot", "map-wx", "make-exec"])
def test_it_is_denied_and_the_server_goes_on(caged, attempt):
    deny(caged, attempt)


def test_nobody_becomes_root(caged):
    with Trespasser(caged) as trespasser:
        assert trespasser.ask("setuid") in (*DENIED, "EINVAL")  # where there is no user 0


@pytest.mark.parametrize("attempt", [
    "udp 9", "mptcp 9", "fastopen 9", "unix /run/x.sock", "abstract x", "unshare", "keyctl", "bpf", "perf",
    "uring", "memfd", "group"])
def test_it_is_denied_by_strict(strictly_caged, attempt):
    deny(strictly_caged, attempt)


@pytest.mark.parametrize("attempt", ["open /etc/passwd", "write /tmp/enchufe-trespass", "tcp 9"])
def test_it_is_denied_through_a_ring(lightly_caged, attempt):
    with Trespasser(lightly_caged, "ring") as trespasser:
        if trespasser.ask("open /dev/null") != "done":
            pytest.skip("this kernel has no io_uring")
    deny(lightly_caged, attempt, "ring")


def test_strict_has_no_rings(strictly_caged):
    with Trespasser(strictly_caged, "ring") as trespasser:
        assert trespasser.ask("open /dev/null") == "ring EPERM"


@pytest.mark.skipif(TRACED, reason="the leak checker needs it")
def test_a_process_is_denied_by_strict(strictly_caged):
    with Trespasser(strictly_caged) as trespasser:
        assert trespasser.ask("fork") in DENIED


@pytest.mark.parametrize("attempt", ["kill", "queue", "peek", "ptrace"])
@pytest.mark.parametrize("whom", ["master", "stranger"])
def test_other_processes_cannot_be_reached(caged, stranger, attempt, whom):
    with Trespasser(caged) as trespasser:
        assert trespasser.ask(attempt, stranger if whom == "stranger" else caged.pid) in DENIED


@pytest.mark.parametrize("attempt", ["nice", "policy", "param", "attr", "bind", "ioprio"])
def test_strict_lets_a_thread_change_its_own_share_of_the_machine_alone(strictly_caged, stranger, attempt):
    with Trespasser(strictly_caged) as trespasser:
        assert trespasser.ask(attempt, stranger) == "EPERM"
        assert trespasser.ask(attempt, strictly_caged.worker()) == "EPERM"  # no loop can do what others cannot
        assert trespasser.ask(attempt, 0) == "done"


@pytest.mark.parametrize("attempt", ["nice-group", "ioprio-group"])
def test_strict_lets_nobody_change_the_share_of_a_group(lightly_caged, strictly_caged, attempt):
    with Trespasser(lightly_caged) as trespasser:
        assert trespasser.ask(attempt, lightly_caged.worker()) == "done"
    with Trespasser(strictly_caged) as trespasser:
        assert trespasser.ask(attempt, strictly_caged.worker()) == "EPERM"


@pytest.mark.parametrize("attempt", ["nice-user", "ioprio-user"])
def test_strict_lets_nobody_change_the_share_of_a_user(lightly_caged, strictly_caged, attempt):
    """Of one without processes: the attempt is real."""
    for server, outcome in ((lightly_caged, "ESRCH"), (strictly_caged, "EPERM")):
        with Trespasser(server) as trespasser:
            assert trespasser.ask(attempt, NOBODY_AT_ALL) == outcome


def test_abstract_sockets_of_others_cannot_be_reached(caged):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0enchufe-test-%d" % os.getpid())
        listener.listen()
        with Trespasser(caged) as trespasser:
            assert trespasser.ask("abstract enchufe-test-%d" % os.getpid()) in NOWHERE


def test_a_worker_has_a_process_group_of_its_own(caged):
    assert os.getpgid(caged.worker()) == caged.worker()


def test_threads_and_signals_of_its_own_are_fine(caged):
    with Trespasser(caged) as trespasser:
        assert trespasser.ask("thread") == "done"
        assert trespasser.ask("kill", caged.worker()) == "done"
        assert trespasser.ask("open /dev/null") == "done"
        assert trespasser.ask("open /usr/share/zoneinfo") == "done"


def test_no_plugin_code_runs_before(caged):
    """The constructor is the first of it."""
    with Trespasser(caged) as trespasser:
        assert trespasser.ask("constructor") == f"EACCES {65534 if ROOT else os.getuid()}"


def test_workers_have_no_capability(caged):
    status = status_of(caged.worker())
    assert status["NoNewPrivs"] == "1"
    sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"] + (["CapBnd"] if ROOT else [])
    assert {name: int(status[name], 16) for name in sets} == dict.fromkeys(sets, 0)


def test_only_strict_costs_a_filter(lightly_caged, strictly_caged):
    own = status_of(os.getpid())["Seccomp_filters"]
    assert status_of(lightly_caged.worker())["Seccomp_filters"] == own
    assert int(status_of(strictly_caged.worker())["Seccomp_filters"]) == int(own) + 1


def test_one_strict_service_makes_its_worker_strict(whole_sandbox):
    with Server(service("trespass") + service("echo", sandbox="strict") +
                service("other", "trespass", isolate="yes")) as server:
        with Trespasser(server) as trespasser, Trespasser(server, "other") as other:
            assert trespasser.ask("uring") == "EPERM"
            assert other.ask("memfd") == "done"


@pytest.mark.parametrize("sandbox, words", [("yes", "no"), ("strict", "strict")])
def test_the_log_says_once_which_sandbox_workers_have(whole_sandbox, sandbox, words):
    with Server(service("echo", sandbox=sandbox) + service("hola", isolate="yes")) as server:
        assert [line["filter"] for line in server.lines("sandbox")] == [words]


def test_a_crash_is_still_told(whole_sandbox):
    with Server(service("trespass"), crashes=True) as server:
        worker = server.worker()
        with Trespasser(server) as trespasser:
            trespasser.client.send(b"abort\n")
            server.wait_for_lines("worker crashed", signal="SIGABRT")
        assert any(frame.get("module") == "trespass.so" for frame in server.frames(str(worker)))
        with Trespasser(server) as trespasser:
            assert trespasser.ask("exec") in DENIED


# ---- what a section names ----

@pytest.fixture
def public(shared_path):
    """Folders and files that every user may write to."""
    for name in ("in", "out"):
        (shared_path / name).mkdir()
        (shared_path / name).chmod(0o777)
        (shared_path / name / "file").write_text("x")
        (shared_path / name / "file").chmod(0o666)
    return shared_path


def test_paths_that_are_named(whole_sandbox, public):
    with Server(service("trespass", read_paths=public / "in", write_paths=public / "out", sandbox="strict") +
                service("other", "trespass", isolate="yes")) as server:
        with Trespasser(server) as trespasser:
            assert trespasser.ask("open", public / "in/file") == "done"
            assert trespasser.ask("list", public / "in") == "done"
            assert trespasser.ask("write", public / "in/file") == "EACCES"
            assert trespasser.ask("write", public / "in/new") == "EACCES"
            assert trespasser.ask("write", public / "out/new") == "done"
            assert trespasser.ask("open", public / "out/file") == "done"
            assert trespasser.ask("exec-shared", public / "out/file") in DENIED
            assert trespasser.ask("list", public) == "EACCES"
        with Trespasser(server, "other") as trespasser:
            assert trespasser.ask("open", public / "in/file") == "EACCES"


def test_relative_paths_count_from_the_file(whole_sandbox):
    with Server(service("trespass", read_paths="enchufe.ini")) as server, \
            Trespasser(server) as trespasser:
        assert trespasser.ask("open", server.file) == "done"
        assert trespasser.ask("open", server.log_file) == "EACCES"


@pytest.mark.parametrize("sandbox", ["yes", "strict"])
def test_ports_that_are_named(whole_sandbox, sandbox):
    with socket.create_server(("127.0.0.1", 0)) as named, socket.create_server(("127.0.0.1", 0)) as other:
        port, wrong = named.getsockname()[1], other.getsockname()[1]
        with Server(service("trespass", connect=f"tcp://127.0.0.1:{port}", sandbox=sandbox)) as server, \
                Trespasser(server) as trespasser:
            assert trespasser.ask("tcp", port) == "done"
            assert trespasser.ask("tcp", wrong) == "EACCES"
            if sandbox == "strict":
                assert trespasser.ask("fastopen", wrong) == "EPERM"
                assert trespasser.ask("mptcp", wrong) == "EPERM"
                assert trespasser.ask("udp", port) == "EPERM"
                assert trespasser.ask("unix /run/x.sock") == "EPERM"


def test_datagrams_and_unix_sockets_that_are_named(whole_sandbox, public):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as hidden:
        listener.bind(str(public / "in/sock"))
        os.chmod(public / "in/sock", 0o666)
        listener.listen()
        hidden.bind("\0enchufe-test-%d" % os.getpid())
        hidden.listen()
        with Server(service("trespass", connect=f"udp://127.0.0.1:9 unix://{public}/in/sock",
                            sandbox="strict")) as server, \
                Trespasser(server) as trespasser:
            assert trespasser.ask("udp 9") == "done"
            assert trespasser.ask("unix", public / "in/sock") == "done"
            assert trespasser.ask("abstract enchufe-test-%d" % os.getpid()) == "EPERM"
            assert trespasser.ask("tcp 9") == "EPERM"


def test_services_of_one_worker_share_what_they_name(whole_sandbox, public):
    with Server(service("a", "trespass", read_paths=public / "in") + service("b", "trespass")) as server:
        with Trespasser(server, "b") as trespasser:
            assert trespasser.ask("open", public / "in/file") == "done"


def test_a_worker_has_no_sockets_of_others():
    with Server(service("echo") + service("trespass", isolate="yes", threads=1)) as server:
        with Trespasser(server) as trespasser:
            assert trespasser.ask("listeners") == "1"


def test_a_service_without_a_sandbox(public):
    with Server(service("trespass", sandbox="no", isolate="yes") + service("echo")) as server:
        with Trespasser(server) as trespasser:
            assert trespasser.ask("fork") == "done"
            assert trespasser.ask("open", public / "in/file") == "done"
            assert trespasser.ask("setuid") == "EPERM"
        for worker in server.workers():
            assert int(status_of(worker)["CapEff"], 16) == 0
            assert status_of(worker)["NoNewPrivs"] == "1"


@pytest.mark.parametrize("keys, server_keys, error", [
    ({"read_paths": "/no/such/path"}, "", r"x\] read_paths: there is no \"/no/such/path\""),
    ({"write_paths": ""}, "", r"x\] write_paths: is empty; write a path"),
    ({"connect": "tcp:/x"}, "", r"x\] connect: "),
    ({"connect": "tcp://127.0.0.1:0"}, "", r"x\] connect: .*port 0"),
    ({"sandbox": "no"}, "", r"x\] sandbox: no needs isolate = yes"),
    ({"sandbox": "no", "isolate": "yes"}, "require_sandbox = yes", "contradicts require_sandbox"),
    ({"sandbox": "stric"}, "", r"x\] sandbox: .*strict"),
    ({"max_memory": "1k"}, "", r"x\] max_memory: "),
    ({"max_processes": "0"}, "", r"x\] max_processes: "),
    ({"read_path": "/"}, "", 'did you mean "read_paths"'),
])
def test_what_is_wrong_with_the_keys_is_told(tmp_path, keys, server_keys, error):
    file = tmp_path / "x.ini"
    file.write_text(f"[server]\n{server_keys}\n" + service("x", "echo", **keys))
    done = run("check", file)
    assert done.returncode == 1
    assert re.search(error, done.stderr), done.stderr


def test_paths_are_not_for_the_defaults(tmp_path):
    file = tmp_path / "x.ini"
    file.write_text("[defaults]\nread_paths = /srv\n" + service("x", "echo"))
    assert "belongs into each service's own section" in run("check", file).stderr


def test_a_path_of_a_plugin_that_is_not_named_is_told_by_the_check(whole_sandbox, public):
    file = public / "x.ini"
    keys = {"file": public / "in/file", "token": "12345678"}
    file.write_text(service("x", "options", **keys))
    done = run("check", file)
    assert done.returncode == 1
    assert re.search(r"\[x\] file: the sandbox keeps the service from .*/in/file; name it", done.stderr)
    file.write_text(service("x", "options", read_paths=public / "in", **keys))
    assert run("check", file).returncode == 0


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.skipif(SANITIZED, reason="is built without the sanitizer")
@pytest.mark.parametrize("flags, advice", [
    (["-fno-pic", "-mcmodel=large", "-Wl,-z,notext"], "build it with -fPIC"),
    (["-fPIC", "-Wl,-z,execstack"], "link it with -z noexecstack"),
])
def test_a_plugin_that_needs_executable_memory_to_load_is_told_so(whole_sandbox, tmp_path, flags, advice):
    if os.uname().machine != "x86_64" and "-fno-pic" in flags:
        pytest.skip("text relocations are made differently there")
    plugin = tmp_path / "code.so"
    subprocess.run(["cc", "-shared", *flags, "-Wno-pedantic", "-I", os.path.join(HOME, "include"), "-o", plugin,
                    os.path.join(HOME, "plugins/echo/echo.c")], check=True, capture_output=True)
    (tmp_path / "x.ini").write_text(service("x", str(plugin)))
    done = run("check", tmp_path / "x.ini")
    assert done.returncode == 1 and advice in done.stderr
    (tmp_path / "x.ini").write_text(service("x", str(plugin), sandbox="no", isolate="yes"))
    assert run("check", tmp_path / "x.ini").returncode == 0


# ---- a kernel that lacks a part ----

@pytest.mark.parametrize("without, words", [(no_landlock, "Landlock"), (no_seccomp, "seccomp")])
def test_a_part_that_the_kernel_lacks_is_told_once(without, words):
    with Server(service("echo", sandbox="strict") + service("hola", isolate="yes"), preexec=without) as server:
        lines = server.lines("sandbox is incomplete")
        assert len(lines) == 1 and words in lines[0]["lacking"]
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


@pytest.mark.parametrize("without, words", [(no_landlock, "Landlock"), (no_seccomp, "seccomp")])
def test_a_sandbox_that_is_required_and_lacks_a_part_is_an_error(without, words):
    with Server("[server]\nrequire_sandbox = yes\n" + service("echo", sandbox="strict"), preexec=without,
                wait=False) as server:
        assert server.process.wait(20) == 1
        assert re.search(rf"\[server\] require_sandbox: .*{words}", server.log())


def test_a_part_that_nobody_needs_is_not_missed(whole_sandbox):
    with Server("[server]\nrequire_sandbox = yes\n" + service("echo"), preexec=no_seccomp) as server:
        assert not server.lines("sandbox is incomplete")


def test_where_landlock_is_too_old_there_is_the_filter(whole_sandbox):
    with Server(service("trespass"), preexec=no_landlock) as server, Trespasser(server) as trespasser:
        assert server.lines("sandbox")[0]["filter"] == "all"
        assert trespasser.ask("uring") == "EPERM"


def test_a_sandbox_that_is_required_and_there(whole_sandbox):
    with Server("[server]\nrequire_sandbox = yes\n" + service("echo")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


# ---- who ----

@needs_root
@pytest.mark.parametrize("line, uid", [("", 65534), ("user = nobody", 65534), ("user = root", 0)])
def test_workers_of_root_are_nobody_unless_said(line, uid):
    with Server(f"[server]\n{line}\n" + service("trespass")) as server:
        assert status_of(server.worker())["Uid"].split() == [str(uid)] * 4
        assert int(status_of(server.worker())["CapEff"], 16) == 0
        assert server.lines("workers run as")[0]["uid"] == str(uid)
        with Trespasser(server) as trespasser:
            assert trespasser.ask("open /etc/shadow") in DENIED
            filtered = server.lines("sandbox")[0]["filter"] == "all"
            assert filtered or uid != 0
            assert (trespasser.ask("uring") == "EPERM") == filtered


@needs_root
def test_the_master_keeps_only_what_it_needs():
    with Server(service("echo")) as server:
        status = status_of(server.pid)
        kept = {1, 5, 6, 7, 8, 10, 12}  # DAC_OVERRIDE KILL SETGID SETUID SETPCAP NET_BIND NET_ADMIN
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert not int(status[name], 16) & ~sum(1 << bit for bit in kept)
        assert status["NoNewPrivs"] == "1"


@needs_root
def test_describing_a_plugin_runs_it_as_nobody():
    done = run("plugins", plugin_path("load_user"))
    assert "root" not in done.stdout
