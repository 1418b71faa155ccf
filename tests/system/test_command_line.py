"""The command line: what each command prints, and with which status it ends."""

import os
import re
import subprocess

import pytest

from server import Server, run, service
from settings import ENCHUFE, ROOT, SANITIZED, TEST_PLUGINS, plugin_path


def test_help_lists_every_command():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("run", "check", "plugins", "call", "--plugin-dir", "--version"):
        assert word in done.stdout


def test_version_is_one_line():
    done = run("--version")
    assert done.returncode == 0 and re.fullmatch(r"enchufe \d+\.\d+\.\d+.*\n", done.stdout)


@pytest.mark.parametrize("args", [[], ["runn"], ["--nonsense"], ["run", "a", "b"], ["run", "--nonsense"],
                                  ["check", "a", "b"], ["plugins", "a", "b"], ["run", "--plugin-dir"]])
def test_wrong_usage_is_status_2(args):
    done = run(*args)
    assert done.returncode == 2, done
    assert done.stdout == "" and done.stderr


@pytest.mark.parametrize("command", ["run", "check", "plugins", "call"])
def test_each_command_has_help(command):
    done = run(command, "--help")
    assert done.returncode == 0 and command in done.stdout and done.stderr == ""


def test_plugins_lists_what_can_be_loaded():
    done = run("plugins")
    assert done.returncode == 0, done.stderr
    for name in ("hola", "echo", "responder"):
        assert re.search(rf"^{name}\b.*\w+", done.stdout, re.MULTILINE), done.stdout
    assert "RFC 862" in done.stdout


def test_plugins_names_what_cannot_be_loaded_and_lists_the_rest(tmp_path):
    for name in ("eof", "options", "load_other_major", "load_crash"):
        os.symlink(plugin_path(name), tmp_path / f"{name}.so")
    (tmp_path / "junk.so").write_text("junk\n")
    (tmp_path / "README").write_text("no plugin at all\n")
    done = run("plugins", "--plugin-dir", tmp_path)
    assert "counts what comes" in done.stdout and "one option of every type" in done.stdout
    together = done.stdout + done.stderr
    for name in ("load_other_major", "load_crash", "junk"):
        assert re.search(rf"{name}\.so.*\w", together), together
    assert "README" not in together


def test_plugins_with_a_name_tells_type_default_range_and_help():
    done = run("plugins", "--plugin-dir", TEST_PLUGINS, "options")
    assert done.returncode == 0, done.stderr
    for words in (["text", "string", "hello", "1", "20", "any text of 1 to 20 bytes"],
                  ["low", "integer", "-5", "-100", "100", "the lower end"],
                  ["size", "size", "64k", "1m", "a size"],
                  ["wait", "duration", "never", "a duration, or never"],
                  ["colour", "green", "red", "blue", "one of three"],
                  ["token", "required", "never printed"],
                  ["words", "list", "some words"]):
        for word in words[1:]:
            wanted = rf"(?s)\b{words[0]}\b.*?{re.escape(word)}"
            assert re.search(wanted, done.stdout), (words, done.stdout)


def test_plugins_tells_of_responder_what_its_readme_tells():
    done = run("plugins", "responder")
    assert done.returncode == 0 and re.search(r"\breply\b", done.stdout)


def test_plugins_takes_a_path():
    done = run("plugins", plugin_path("options"))
    assert done.returncode == 0 and "colour" in done.stdout


def test_plugins_of_a_plugin_that_is_not_there_is_status_1():
    done = run("plugins", "ecco")
    assert done.returncode == 1 and "ecco" in done.stderr and done.stdout == ""
    assert "`enchufe plugins` lists those there are; a path has a / in it" in done.stderr


def test_plugin_dir_says_where_names_are_looked_up(tmp_path):
    os.symlink(plugin_path("eof"), tmp_path / "mine.so")
    (tmp_path / "x.ini").write_text(service("x", "mine"))
    assert run("check", tmp_path / "x.ini").returncode == 1
    done = run("check", "--plugin-dir", tmp_path, tmp_path / "x.ini")
    assert done.returncode == 0, done.stderr
    assert run("check", tmp_path / "x.ini", "--plugin-dir", tmp_path).returncode == 0


def test_debug_runs_in_one_process():
    with Server(service("echo"), args=["--debug"]) as server:
        assert server.workers() == []
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            client.end()
            assert client.receive_all() == b""


def test_the_configuration_of_the_project_is_right():
    folder = os.path.join(ROOT, "conf")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".ini"):
            done = run("check", os.path.join(folder, name))
            assert done.returncode == 0, done.stderr
    done = run("check", os.path.join(folder, "enchufe.ini"))
    assert "ok, 3 services, 4 endpoints" in done.stdout


def test_the_configuration_of_the_project_serves_as_it_promises():
    with open(os.path.join(ROOT, "conf", "enchufe.ini"), encoding="utf-8") as file:
        config = re.sub(r"(://127\.0\.0\.1):\d+", r"\1:0", file.read())
    with Server(config) as server:
        assert run("call", server.endpoint("hola"), "hola", "adios").stdout == "pues hola\npues adios\n"
        assert run("call", server.endpoint("echo", "udp"), "hola").stdout == "hola\n"
        assert run("call", server.endpoint("responder"), "hola").returncode == 0


def test_the_server_can_be_started_from_anywhere_and_finds_its_plugins(tmp_path):
    """Beside the executable, as in the build directory."""
    (tmp_path / "x.ini").write_text("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n")
    assert run("check", "x.ini", cwd=tmp_path).returncode == 0
    done = run("check", "./x.ini", cwd=tmp_path)
    assert done.stdout.endswith("x.ini: ok, 1 service, 1 endpoint\n")


def test_output_that_cannot_be_written_is_status_1():
    if not os.path.exists("/dev/full") or SANITIZED:
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run([ENCHUFE, "plugins"], stdout=full, check=False).returncode == 1
