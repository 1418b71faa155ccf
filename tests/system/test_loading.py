"""Plugins that misbehave at loading: older and newer ones load, each other one is one error line that
names the file and the reason, and the master lives."""

import os
import re
import struct

import pytest

from controlled import Controlled
from processes import process_lives
from server import Server, let_crash, run, service
from settings import DEADLINE, SLOWER, plugin_path


def refused(tmp_path, plugin, command="check", timeout=DEADLINE):
    """Returns the one error line about the plugin."""
    file = tmp_path / "enchufe.ini"
    file.write_text(service("x", str(plugin)))
    done = run(command, file, timeout=timeout, env=let_crash())
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    line = done.stderr.rstrip("\n")
    assert re.match(rf"{re.escape(str(file))}:2: \[x\] plugin: ", line), line
    assert os.path.basename(plugin) in line
    return line


def good_bytes():
    with open(plugin_path("eof"), "rb") as file:
        return file.read()


def test_an_older_smaller_plugin_loads_and_serves():
    with Server(service("load_older")) as server, server.connect("load_older") as client:
        assert client.ask(b"hola", 4) == b"hola"
        client.end()
        assert client.receive_all() == b""


def test_a_newer_larger_plugin_loads_and_serves():
    with Server(service("load_newer", after="!")) as server:
        with server.connect("load_newer") as client:
            assert client.ask(b"hola\n", 6) == b"<hola!"


def test_options_of_a_newer_plugin_are_checked_and_listed(tmp_path):
    (tmp_path / "x.ini").write_text(service("load_newer", aftr="!"))
    done = run("check", tmp_path / "x.ini")
    assert done.returncode == 1 and re.search(r":4: \[load_newer\] aftr: .*after", done.stderr)


def test_an_option_named_like_a_key_of_the_server_is_refused(tmp_path):
    line = refused(tmp_path, plugin_path("load_reserved"))
    assert 'option "threads": the server has a key of this name' in line


def test_a_newer_key_is_refused_to_a_plugin_that_could_have_known_it(tmp_path):
    line = refused(tmp_path, plugin_path("load_reserved_newer"))
    assert re.search(r'option "(read_paths|session_timeout)": the server has a key of this name', line)


@pytest.mark.parametrize("key", ["sandbox", "allow"])
def test_no_plugin_takes_away_a_key_that_guards(tmp_path, key):
    """However old it says it is: else it could take off its own sandbox."""
    line = refused(tmp_path, plugin_path(f"load_guard_{key}"))
    assert f'option "{key}": the server has a key of this name' in line


SHADOW = "session_timeout = as much as you like\nread_paths = a b\nread_paths = c\n"


def shadowing(name="old", listen="tcp://127.0.0.1:0", keys=SHADOW):
    return f"[{name}]\nplugin = {plugin_path('load_shadow')}\nlisten = {listen}\n{keys}"


def asked(server, name="old"):
    with server.connect(name) as client:
        client.send(b"x")
        client.end()
        return client.receive_all()


@pytest.mark.parametrize("isolate", ["", "isolate = yes\n"])
def test_an_older_plugin_keeps_an_option_that_became_a_key_of_the_server(isolate):
    """What [defaults] says of the server's key is no option's value."""
    config = ("[defaults]\nsession_timeout = 1h\ndeny = 127.0.9.9\n" + shadowing(keys=SHADOW + isolate)
              + shadowing("unsaid", keys=""))
    with Server(config) as server:
        assert asked(server) == b"as much as you like 3\n"
        assert asked(server, "unsaid") == b"little 0\n"
        said = server.lines("a key of the server means the plugin's option")
        assert sorted((line["service"], line["key"]) for line in said) == [
            ("old", "read_paths"), ("old", "session_timeout"), ("unsaid", "read_paths"), ("unsaid", "session_timeout")]


def test_check_notes_which_key_is_an_older_plugins(tmp_path):
    file = tmp_path / "x.ini"
    file.write_text(shadowing())
    done = run("check", file)
    assert done.returncode == 0 and done.stdout == f"{file}: ok, 1 service, 1 endpoint\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines
    for line, key in zip(lines, ["read_paths", "session_timeout"]):
        assert line.startswith(f'note: {file}:2: [old] plugin: has an option "{key}" ')


def test_an_error_beside_a_shadowed_key_is_told_once_and_that_key_is_none(tmp_path):
    file = tmp_path / "x.ini"
    file.write_text(shadowing(keys=SHADOW + "max_files = many\n"))
    done = run("check", file)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"{file}:7: [old] max_files: " in done.stderr


def test_a_reload_brings_an_older_plugin_with_such_an_option():
    with Controlled(service("echo")) as server:
        server.write(service("echo") + shadowing())
        assert "generation 2 serves" in server.reload()
        with server.connect_now("old") as client:
            client.send(b"x")
            client.end()
            assert client.receive_all() == b"as much as you like 3\n"
        server.write(service("echo") + shadowing(keys=f"session_timeout = {41 * 'x'}\n"))
        errors = server.reload(status=1)
        assert "session_timeout: has the wrong length" in errors and "no size" not in errors, errors
        assert "do not start" not in errors  # it was probed again as well


def test_an_option_table_without_an_end_is_refused_with_a_hint(tmp_path):
    line = refused(tmp_path, plugin_path("load_no_end"))
    assert "crashed while its tables were read (SIGSEGV)" in line and "{ .name = NULL }" in line


@pytest.mark.parametrize("command", ["check", "run"])
def test_another_major_version_is_refused_with_both_versions_and_the_fix(tmp_path, command):
    line = refused(tmp_path, plugin_path("load_other_major"), command)
    assert re.search(r"\b2\.0\b|\bABI 2\b|\b2\b", line) and re.search(r"\b1\b|\b1\.0\b", line)
    assert re.search(r"build|compile", line)


def test_a_shared_object_without_a_vtable_is_refused(tmp_path):
    line = refused(tmp_path, plugin_path("load_no_vtable"))
    assert "ENCHUFE_PLUGIN" in line or "enchufe_plugin_entry" in line


def test_an_unresolved_symbol_is_refused_and_named(tmp_path):
    line = refused(tmp_path, plugin_path("load_unresolved"))
    assert "load_unresolved_missing_function" in line


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_crash_in_a_constructor_is_refused(tmp_path, command):
    line = refused(tmp_path, plugin_path("load_crash"), command)
    assert re.search(r"SIGABRT|abort|crash", line, re.IGNORECASE)


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_exit_in_a_constructor_is_refused(tmp_path, command):
    assert re.search(r"exit|ended", refused(tmp_path, plugin_path("load_exit"), command))


def test_a_plugin_that_is_killed_is_not_told_to_be_slow(tmp_path):
    line = refused(tmp_path, plugin_path("load_killed"))
    assert "it was killed" in line and " within " not in line


def test_an_endless_constructor_is_refused_after_a_while(tmp_path):
    line = refused(tmp_path, plugin_path("load_endless"), timeout=30 * SLOWER)
    assert re.search(r"time|second|\d+ ?m?s", line)


def test_a_file_that_is_no_elf_is_refused(tmp_path):
    (tmp_path / "text.so").write_text("this is a text, and not a short one\n" * 100)
    assert re.search(r"shared object|ELF", refused(tmp_path, tmp_path / "text.so"))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.so").write_bytes(b"")
    refused(tmp_path, tmp_path / "empty.so")


@pytest.mark.parametrize("part", [10, 64, 100, 400, 0.3, 0.5, 0.9])
def test_a_truncated_plugin_is_refused(tmp_path, part):
    data = good_bytes()
    (tmp_path / "cut.so").write_bytes(data[:part if isinstance(part, int) else int(len(data) * part)])
    refused(tmp_path, tmp_path / "cut.so")


def test_a_plugin_for_another_machine_is_refused(tmp_path):
    data = bytearray(good_bytes())
    machine, = struct.unpack_from("<H", data, 18)
    struct.pack_into("<H", data, 18, 183 if machine != 183 else 62)  # aarch64, else x86_64
    (tmp_path / "other.so").write_bytes(data)
    assert re.search(r"machine|architecture", refused(tmp_path, tmp_path / "other.so"))


def test_a_program_instead_of_a_plugin_is_refused(tmp_path):
    refused(tmp_path, "/bin/true")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.so")
    assert re.search(r"regular file|FIFO|pipe", refused(tmp_path, tmp_path / "pipe.so"))


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "dir.so").mkdir()
    assert re.search(r"regular file|directory", refused(tmp_path, tmp_path / "dir.so"))


def test_a_plugin_that_may_not_be_read_is_refused(as_nobody):
    path = as_nobody.plugin("eof")
    os.chmod(path, 0)
    with as_nobody.server(service("x", path), wait=False) as server:
        assert server.process.wait(DEADLINE) == 1
        assert re.search(r":2: \[x\] plugin: .*eof\.so.*[Pp]ermission", server.log())


def test_damaged_plugins_never_take_the_master_down(tmp_path):
    """Bytes changed here and there: refused with a line, or harmless; never a crash or a hang."""
    data = good_bytes()
    for seed in range(20):
        damaged = bytearray(data)
        for n in range(4):
            damaged[(seed * 977 + n * 7919) % min(len(data), 4096)] ^= 0xff
        (tmp_path / "bad.so").write_bytes(damaged)
        (tmp_path / "x.ini").write_text(service("x", str(tmp_path / "bad.so")))
        done = run("check", tmp_path / "x.ini", timeout=60 * SLOWER, env=let_crash())
        assert done.returncode in (0, 1), (seed, done)
        assert done.returncode == 0 or "bad.so" in done.stderr, (seed, done)


def test_every_bad_plugin_of_a_file_is_named_in_one_run(tmp_path):
    names = ["load_crash", "load_exit", "load_no_vtable", "load_unresolved", "load_other_major"]
    (tmp_path / "x.ini").write_text("".join(service(name) for name in names))
    done = run("check", tmp_path / "x.ini")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == len(names), done.stderr
    for name, line in zip(names, done.stderr.splitlines()):
        assert f"[{name}] plugin: " in line


def test_a_file_that_is_overwritten_in_place_disturbs_no_server_that_runs(tmp_path):
    """People use cp. The server runs from a sealed copy."""
    path = tmp_path / "mine.so"
    path.write_bytes(good_bytes())
    with Server(service("x", str(path))) as server:
        with open(path, "r+b") as file:
            file.write(b"\0" * len(good_bytes()))
        for _ in range(3):
            with server.connect("x") as client:
                client.send(b"12345")
                client.end()
                assert client.receive_all() == b"5 bytes\n"
        assert not server.lines("worker crashed")


@pytest.mark.parametrize("command", ["check", "run", "plugins"])
def test_a_constructor_that_hides_is_refused_after_a_while_and_ended(tmp_path, command):
    """It closes every descriptor, so that nothing is heard of it, and leaves its process group."""
    path = plugin_path("load_escape")
    (tmp_path / "enchufe.ini").write_text(service("x", path))
    done = run(command, path if command == "plugins" else tmp_path / "enchufe.ini",
               timeout=30 * SLOWER, env=let_crash())
    assert done.returncode == 1, done
    said, *errors = done.stderr.splitlines()
    assert len(errors) == 1 and "load_escape" in errors[0] and "did not return" in errors[0], done
    pid = int(re.fullmatch(r"load_escape pid=(\d+)", said).group(1))
    assert not process_lives(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("command", ["check", "run"])
def test_no_code_of_a_plugin_runs_as_root_where_a_user_is_said(tmp_path, command):
    config = "[server]\nuser = nobody\n" + service("load_user")
    if command == "check":
        (tmp_path / "enchufe.ini").write_text(config)
        said = run("check", tmp_path / "enchufe.ini").stderr
    else:
        with Server(config) as server:
            server.stop()
            said = server.log()
    ran = re.findall(r"load_user (\w+) uid=(\d+) gid=(\d+)", said)
    assert {where for where, _, _ in ran} == {"constructor", "check"}, said
    assert {(uid, gid) for _, uid, gid in ran} == {("65534", "65534")}, said
