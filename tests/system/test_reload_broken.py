"""A reload of something broken changes nothing, says precisely what is wrong, and fails."""

import os
import re
import signal
import socket

import pytest

from controlled import QUIET, Controlled, copy_plugin
from load import Load
from processes import process_lives, process_state
from server import service
from settings import SLOWER, plugin_path, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"
GOOD = service("echo", listen=BOTH)


def with_line(line):
    return lambda server: server.write(GOOD + line + "\n")


def with_service(text):
    return lambda server: server.write(GOOD + text)


def with_server_line(line):
    return lambda server: server.write_text(f"[server]\ncontrol = {server.control}\n{line}\n{GOOD}")


def with_plugin(name, listen="tcp://127.0.0.1:0", **keys):
    return lambda server: server.write(GOOD + service("more", plugin_path(name), listen, **keys))


def with_file(change):
    """A plugin of the server's own directory, spoilt by change(path)."""
    def spoil(server):
        path = server.path("mine.so")
        if not os.path.isdir(path):
            copy_plugin("echo", path)
        change(path)
        server.write(GOOD + service("more", path))
    return spoil


def replace_by(data):
    def change(path):
        with open(path, "wb") as file:
            file.write(data)
    return change


def cut_to(part):
    def change(path):
        os.truncate(path, int(os.path.getsize(path) * part))
    return change


def with_address_of(kind):
    """An endpoint that another program has."""
    def write(server):
        server.write(GOOD + service("more", "echo", f"{kind}://127.0.0.1:{server.taken}"))
    return write


def with_include(text, name="more.ini"):
    def write(server):
        with open(server.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        server.write_text(f"[server]\ncontrol = {server.control}\ninclude = {name}\n{GOOD}")
    return write


def without_file(server):
    os.unlink(server.file)


def directory_for_file(server):
    os.mkdir(server.file)


# What is done, and what the error says.
BROKEN = [
    ("misspelled_key", with_line("idel_timeout = 3s"), r"idel_timeout.*idle_timeout"),
    ("no_value_of_the_type", with_line("idle_timeout = soon"), r"idle_timeout.*soon"),
    ("out_of_range", with_line("threads = 100000"), r"threads"),
    ("key_twice", with_line("threads = 1\nthreads = 2"), r"threads"),
    ("unknown_server_key", with_server_line("treads = 1"), r"treads.*threads"),
    ("bad_log_level", with_server_line("log_level = loud"), r"log_level.*loud"),
    ("unknown_user", with_server_line("user = nobody-of-that-name"), r"nobody-of-that-name"),
    ("no_ini_at_all", with_service("what is this\n"), r"enchufe\.ini:\d+"),
    ("section_twice", with_service(service("echo")), r"echo"),
    ("bad_section_name", with_service(service("a/b", "echo")), r"a/b"),
    ("no_plugin", with_service("[more]\nlisten = tcp://127.0.0.1:0\n"), r"\[more\].*plugin"),
    ("no_listen", with_service("[more]\nplugin = echo\n"), r"\[more\].*listen"),
    ("unknown_plugin", with_service(service("more", "ecko")), r"ecko.*enchufe plugins"),
    ("bad_endpoint", with_service(service("more", "echo", "tpc://127.0.0.1:0")), r"tpc"),
    ("port_too_large", with_service(service("more", "echo", "tcp://127.0.0.1:70000")), r"70000"),
    ("unknown_host", with_service(service("more", "echo", "tcp://no.such.host.invalid:80")),
     r"no\.such\.host"),
    ("foreign_address", with_service(service("more", "echo", "tcp://192.0.2.1:8000")),
     r"192\.0\.2\.1.*no such address"),
    ("same_endpoint_twice", with_service(service("one", "echo", "tcp://127.0.0.1:1") +
                                         service("two", "echo", "tcp://127.0.0.1:1")), r"127\.0\.0\.1:1"),
    ("tcp_in_use", with_address_of("tcp"), r"in use by another program"),
    ("udp_in_use", with_address_of("udp"), r"in use by another program"),
    ("unix_no_folder", with_service(service("more", "echo", "unix:///no/such/folder/s")),
     r"/no/such/folder/s"),
    ("unix_no_socket", with_service(service("more", "echo", "unix://{dir}/enchufe.ini")),
     r"not a socket"),
    ("wrong_include", with_include("[more]\nplugin = echo\nlisten = tcp://127.0.0.1:0\nx = 1\n"),
     r"more\.ini:4: \[more\]"),
    ("server_in_include", with_include("[server]\nthreads = 1\n"), r"more\.ini:1"),
    ("no_file", without_file, r"enchufe\.ini"),
    ("directory_for_file", directory_for_file, r"enchufe\.ini"),
    ("empty_file", lambda server: server.write_text(""), r"enchufe\.ini"),
    ("text_for_plugin", with_file(replace_by(b"#!/bin/sh\n")), r"mine\.so.*not a shared object"),
    ("empty_plugin", with_file(replace_by(b"")), r"mine\.so"),
    ("half_a_plugin", with_file(cut_to(0.5)), r"mine\.so.*cut short"),
    ("zeroed_plugin", with_file(lambda path: replace_by(bytes(20000))(path)), r"mine\.so"),
    ("directory_for_plugin", with_file(lambda path: (os.unlink(path), os.mkdir(path))),
     r"mine\.so.*directory"),
    ("fifo_for_plugin", with_file(lambda path: (os.rmdir(path), os.mkfifo(path))),
     r"mine\.so.*regular file"),
    ("no_vtable", with_plugin("load_no_vtable"), r"load_no_vtable"),
    ("other_major", with_plugin("load_other_major"), r"load_other_major"),
    ("unresolved_symbol", with_plugin("load_unresolved"), r"load_unresolved"),
    ("crashes_when_loaded", with_plugin("load_crash"), r"load_crash"),
    ("exits_when_loaded", with_plugin("load_exit"), r"load_exit"),
    ("fails_in_check", with_plugin("refuser", at="check"), r"\[more\]"),
    ("fails_in_start", with_plugin("refuser", at="start"), r"\[more\]"),
    ("fails_in_loop_start", with_plugin("refuser", at="loop_start"), r"\[more\].*loop_start"),
    ("fails_in_a_worker_of_its_own", with_plugin("refuser", at="start", isolate="yes"), r"\[more\]"),
]


def mend(server):
    """What a mistake left in the place of the configuration."""
    if os.path.isdir(server.file):
        os.rmdir(server.file)


def another_program(server):
    """Takes one port, TCP and UDP."""
    sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    sockets[0].bind(("127.0.0.1", 0))
    server.taken = sockets[0].getsockname()[1]
    sockets[1].bind(("127.0.0.1", server.taken))
    sockets[0].listen()
    return sockets


@pytest.mark.soak
def test_broken_configurations_and_plugins_change_nothing_under_load():
    with Controlled(GOOD, crashes=True) as server:
        server.write(GOOD, **QUIET)
        server.reload()
        server.wait_for_generation(2)
        pids, endpoints = server.serving_pids(), server.service_status("echo")["endpoints"]
        others = another_program(server)
        wrong = []
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), hold=50) as load:
            for name, change, error in BROKEN:
                change(server)
                said = server.reload(status=1)
                mend(server)
                if not re.search(error, said) or len(said.splitlines()) != 1:
                    wrong.append(f"{name}: /{error}/ is not what was said: {said}")
                assert server.serving_pids() == pids, f"after {name}"
                assert len(server.status()["generations"]) == 1
        print(f"{len(BROKEN)} broken ones: {load.counts}")
        assert not wrong, "\n".join(wrong)
        assert server.service_status("echo")["endpoints"] == endpoints
        for other in others:
            other.close()
        server.write(GOOD)
        server.reload()
        server.wait_for_generation(len(BROKEN) + 3)
        server.wait_for_lines("reload failed", len(BROKEN))
        assert not server.left_over()


def test_a_plugin_that_is_loaded_for_ever_fails_the_reload_and_delays_nobody():
    with Controlled(GOOD) as server:
        server.write(GOOD + service("more", "load_endless"))
        with Load(server.port("echo", "tcp"), server.port("echo", "udp"), deadline=2):
            assert re.search(r"load_endless", server.reload(status=1))


def test_a_fifo_among_the_included_files_is_an_error_and_not_waited_for():
    with Controlled(GOOD, {"include": "{dir}/conf.d/*.ini"}) as server:
        os.mkdir(server.path("conf.d"))
        os.mkfifo(server.path("conf.d/more.ini"))
        assert "more.ini: is not a regular file" in server.reload(status=1)
        assert server.generations()["serving"]["number"] == 1


@pytest.fixture
def children():
    """Ends what load_child has left behind. Called with a server, it returns their pids."""
    found = {}

    def read(server):
        try:
            with open(server.path("children"), encoding="ascii") as file:
                found.update((int(line), process_state(int(line))) for line in file)
        except FileNotFoundError:
            pass
        return [pid for pid in found if process_lives(pid)]
    yield read
    for pid, state in found.items():
        if state and process_lives(pid, state[19]):
            os.kill(pid, signal.SIGKILL)


def test_a_child_that_a_constructor_leaves_behind_keeps_no_reload_waiting(children):
    with Controlled(GOOD) as server:
        server.write(GOOD + service("more", "load_child", isolate="yes", sandbox="no"))
        server.reload()
        assert children(server)


def test_a_child_that_a_constructor_leaves_behind_keeps_no_server_from_its_end(children):
    with Controlled(GOOD) as server:
        with open(server.path("hang"), "w", encoding="ascii"):
            pass
        server.write(GOOD + service("more", "load_child", isolate="yes", sandbox="no"))
        server.hang_up()
        wait_until(lambda: children(server), "the constructor has left a child")
        server.stop()


def test_every_error_is_told_at_once():
    with Controlled(GOOD) as server:
        server.write(GOOD + "x = 1\ny = 2\n" + service("more", "ecko"))
        said = server.reload(status=1).splitlines()
        assert len(said) == 3
        for line, key in zip(said, ("x", "y", "plugin")):
            assert re.search(rf"enchufe\.ini:\d+: \[\w+\] {key}: ", line), line


def test_an_error_of_a_reload_by_signal_is_in_the_log():
    with Controlled(GOOD) as server:
        server.write(GOOD + "x = 1\n")
        server.hang_up()
        line = server.wait_for_lines("reload failed")[0]
        assert line["level"] == "error" and "[echo] x: " in line["error"]
        assert server.generations()["serving"]["number"] == 1


@pytest.mark.parametrize("step", ["start", "loop_start"])
def test_a_reload_whose_plugin_never_starts_names_it_and_not_those_that_wait_for_it(step):
    """The first worker is prepared all the time: it is the last to blame."""
    with Controlled(GOOD, {"start_timeout": f"{500 * SLOWER}ms"}, crashes=True) as server:
        server.write(GOOD + service("x", "refuser", at=step, hangs="yes", isolate="yes"))
        error = server.reload(status=1)
        assert error == (f"the new workers do not start: worker x does not start: {step} of x "
                         "does not return\n")
        with server.connect("echo", "tcp") as client:
            assert client.ask(b"hola", 4) == b"hola"
