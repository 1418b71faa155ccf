"""Installed under a DESTDIR: complete, and enough to build a plugin outside of the tree."""

import fcntl
import os
import re
import shlex
import shutil
import subprocess

import pytest

from server import Server, run, service
from settings import DEADLINE, ENCHUFE, ROOT, VARIANT

pytestmark = [pytest.mark.skipif(VARIANT != "release", reason="what is installed is the release"),
              pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Make in a build directory of these tests alone: another PREFIX means another server, and the one
    in build/ is in use. The processes that run tests side by side share it, one at a time."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    env = {key: value for key, value in os.environ.items()
           if key not in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "VARIANT")}

    def run_make(*args):
        with open(shared / "make.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = subprocess.run(["make", "-j2", "-C", ROOT, f"B={shared / 'build'}", *args],
                                  capture_output=True, text=True, check=False, timeout=600, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
    return run_make


@pytest.fixture(scope="module")
def installed(make, tmp_path_factory):
    """What `make install` puts under a DESTDIR."""
    root = tmp_path_factory.mktemp("install")
    make("install", f"DESTDIR={root}", "PREFIX=/opt/enchufe")
    return root


def files_under(root):
    return sorted(os.path.relpath(os.path.join(folder, name), root)
                  for folder, _, names in os.walk(root) for name in names)


def pkg_config(root, *args):
    env = dict(os.environ, PKG_CONFIG_PATH=f"{root}/opt/enchufe/lib/pkgconfig",
               PKG_CONFIG_SYSROOT_DIR=str(root))
    return shlex.split(subprocess.run(["pkg-config", *args, "enchufe"], capture_output=True,
                                      text=True, check=True, env=env).stdout)


def build_outside(root, source, target, compiler="gcc", flags=("-std=c11",)):
    """A plugin from what is installed alone; warnings are errors."""
    command = [compiler, *flags, "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
               *pkg_config(root, "--cflags"), str(source), "-o", str(target),
               *pkg_config(root, "--libs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr


def test_everything_is_installed_and_uninstall_takes_it_away(make, tmp_path):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    files = files_under(tmp_path)
    for wanted in ("usr/bin/enchufe", "usr/include/enchufe/plugin.h", "usr/include/enchufe/wire.h",
                   "usr/lib/systemd/system/enchufe.service", "etc/enchufe/enchufe.ini"):
        assert wanted in files, files
    for name in ("hola.so", "echo.so", "responder.so", "enchufe.pc"):
        assert any(file.endswith("/" + name) for file in files), files
    assert not any("crash" in file for file in files), "test plugins are not for installing"
    make("uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert files_under(tmp_path) == ["etc/enchufe/enchufe.ini"]


def test_a_configuration_that_is_there_is_kept(make, tmp_path):
    folder = tmp_path / "etc" / "enchufe"
    folder.mkdir(parents=True)
    (folder / "enchufe.ini").write_text("; mine\n")
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert (folder / "enchufe.ini").read_text() == "; mine\n"


def test_nothing_of_this_machine_is_in_the_pkg_config_file(installed):
    with open(f"{installed}/opt/enchufe/lib/pkgconfig/enchufe.pc", encoding="utf-8") as file:
        text = file.read()
    assert ROOT not in text and str(installed) not in text and "@" not in text
    assert "/opt/enchufe" in text


def unit_lines(path):
    with open(path, encoding="utf-8") as file:
        return [line for line in file.read().splitlines() if line and line[0] != "#"]


def test_the_unit_names_what_was_installed(make, tmp_path):
    prefix = tmp_path / "there"
    make("install", f"PREFIX={prefix}")
    unit = prefix / "lib" / "systemd" / "system" / "enchufe.service"
    lines = unit_lines(unit)
    assert f"ExecStart={prefix}/bin/enchufe run {prefix}/etc/enchufe/enchufe.ini" in lines
    assert f"ExecReload={prefix}/bin/enchufe reload" in lines
    assert os.path.exists(f"{prefix}/etc/enchufe/enchufe.ini")
    assert "@BINDIR@" not in unit.read_text() and "@SYSCONFDIR@" not in unit.read_text()
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                               str(unit)], capture_output=True, text=True, check=False,
                              timeout=DEADLINE)
        about = [line for line in done.stderr.splitlines() if "enchufe" in line]
        assert not about, done.stderr


def test_the_installed_server_finds_the_installed_plugins_by_their_names(make, tmp_path):
    make("install", f"PREFIX={tmp_path}/there")
    done = subprocess.run([f"{tmp_path}/there/bin/enchufe", "plugins", "echo"], capture_output=True,
                          text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0 and done.stdout.startswith("echo"), done.stderr
    done = subprocess.run([f"{tmp_path}/there/bin/enchufe", "check"], capture_output=True,
                          text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0 and "enchufe.ini: ok, 3 services" in done.stdout, done.stderr


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="pkg-config is not installed")
def test_a_plugin_is_built_outside_the_tree_and_served_by_the_installed_server(installed, tmp_path):
    build_outside(installed, os.path.join(ROOT, "tests", "plugins", "eof.c"), tmp_path / "mine.so")
    binary = f"{installed}/opt/enchufe/bin/enchufe"
    with Server(service("x", str(tmp_path / "mine.so")), binary=binary) as server:
        with server.connect("x") as client:
            client.send(b"12345")
            client.end()
            assert client.receive_all() == b"5 bytes\n"


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="pkg-config is not installed")
def test_a_plugin_in_cplusplus_is_built_outside_the_tree(installed, tmp_path):
    source = os.path.join(ROOT, "tests", "plugins", "cplusplus.cc")
    build_outside(installed, source, tmp_path / "words.so", "g++", ("-std=c++17",))
    done = run("plugins", tmp_path / "words.so")
    assert done.returncode == 0 and "counts words" in done.stdout


def readme_examples():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.findall(r"^```c\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="pkg-config is not installed")
def test_the_example_of_the_readme_compiles_as_printed_and_loads(installed, tmp_path):
    examples = [text for text in readme_examples() if "ENCHUFE_PLUGIN" in text]
    assert examples, "README.md shows no whole plugin"
    for number, text in enumerate(examples):
        source, target = tmp_path / f"example{number}.c", tmp_path / f"example{number}.so"
        source.write_text(text)
        build_outside(installed, source, target)
        done = run("plugins", target)
        assert done.returncode == 0, done.stderr
        with Server(service("example", str(target))) as server:
            with server.connect("example") as client:
                client.send(b"hola\n")
                client.end()
                client.receive_all()
            server.wait_for_lines("closed", service="example", reason="closed-by-client")


def test_only_enchufe_symbols_are_exported_by_the_server():
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    done = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", ENCHUFE],
                          capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    exported = [name for name in names if "@" not in name]  # stdout@GLIBC is no symbol of ours
    assert exported and all(name.startswith("enchufe_") for name in exported), exported
    with open(os.path.join(ROOT, "include", "enchufe", "plugin.h"), encoding="utf-8") as file:
        declared = set(re.findall(r"\b(enchufe_\w+)\([^)]*\)(?:\n\s+ENCHUFE_PRINTF\(\d, \d\))?;",
                                  file.read()))
    assert set(exported) == declared, set(exported) ^ declared
