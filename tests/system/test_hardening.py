"""What the unit file takes from the server is not missed: its limits, without the service manager."""

import ctypes
import os
import re
import shutil

import pytest

from server import Server, service
from settings import ENCHUFE, ROOT, SANITIZED, VARIANT
from trespasser import whole_sandbox  # noqa: F401

PR_SET_MDWE = 65
PR_MDWE_REFUSE_EXEC_GAIN = 1

with open(os.path.join(ROOT, "enchufe.service.in"), encoding="utf-8") as unit:
    UNIT = dict(re.findall(r"^(\w+)=(.*)$", unit.read(), re.MULTILINE))


def refuse_exec_gain():
    """The kernel's own MemoryDenyWriteExecute, for this process and its children."""
    return ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)


def kernel_can_refuse():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if refuse_exec_gain() == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(SANITIZED, reason="sanitizers map memory as they like")
def test_plugins_load_where_no_memory_may_be_made_executable():
    assert UNIT["MemoryDenyWriteExecute"] == "yes"
    if not kernel_can_refuse():
        pytest.skip("this kernel cannot refuse it")
    with Server(service("echo"), preexec=refuse_exec_gain) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_the_unit_lets_workers_have_an_empty_network():
    assert sorted(UNIT["RestrictNamespaces"].split()) == ["net", "user"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
@pytest.mark.skipif(VARIANT == "tsan", reason="stays in the network")
@pytest.mark.parametrize("writable, words", [("", "all"), ("/user", "no")])
def test_where_no_limits_can_be_written_workers_have_an_empty_network_and_the_filter(whole_sandbox, tmp_path,
                                                                                     writable, words):
    """As with ProtectKernelTunables. Where /proc/sys/user alone can be written to, the network is enough."""
    assert UNIT["ProtectKernelTunables"] == "yes"
    script = tmp_path / "start"
    script.write_text("#!/bin/sh\nmount --bind /proc/sys /proc/sys && "
                      f"mount --bind /proc/sys{writable} /proc/sys{writable} && "
                      f"mount -o remount,bind,ro /proc/sys && exec {ENCHUFE} \"$@\"\n")
    script.chmod(0o755)
    wrapper = tmp_path / "apart"
    wrapper.write_text(f"#!/bin/sh\nexec unshare --mount {script} \"$@\"\n")
    wrapper.chmod(0o755)
    with Server(service("echo"), binary=str(wrapper)) as server:
        if int(server.lines("sandbox")[0]["landlock"]) < 6:
            pytest.skip("this kernel lacks a part")
        assert not server.lines("sandbox is incomplete")
        assert server.lines("sandbox")[0]["filter"] == words
        assert os.readlink(f"/proc/{server.worker()}/ns/net") != os.readlink("/proc/self/ns/net")
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_the_units_capabilities_are_enough(as_nobody):
    """To take a port below 1024, become another user, and end a worker of that user that is stuck."""
    names = UNIT["CapabilityBoundingSet"].lower().split()
    allowed = ",".join("+" + name.removeprefix("cap_") for name in names)
    script = os.path.join(as_nobody.directory, "start")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nexec setpriv --bounding-set=-all,{allowed} --inh-caps=-all "
                   f"--no-new-privs {ENCHUFE} \"$@\"\n")
    os.chmod(script, 0o755)
    with Server(f"[server]\nuser = {as_nobody.uid}\ndrain_timeout = 300ms\n" +
                service("crash", as_nobody.plugin("crash")) +
                service("low", as_nobody.plugin("echo"), "tcp://127.0.0.77:907"),
                binary=script, crashes=True) as server:
        with open(f"/proc/{server.worker()}/status", encoding="ascii") as file:
            status = file.read()
        assert re.search(rf"^Uid:\s+{as_nobody.uid}\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        if VARIANT != "tsan" and not server.lines("sandbox is incomplete"):
            assert os.readlink(f"/proc/{server.worker()}/ns/net") != os.readlink("/proc/self/ns/net")
        with server.connect("low") as client:
            assert client.ask(b"hola", 4) == b"hola"
        worker = server.worker()
        os.kill(worker, 19)  # stopped, it cannot obey
        server.stop()
        server.wait_for_lines("worker stuck", pid=str(worker))
