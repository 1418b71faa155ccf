"""What a configuration may say, and how it is refused: every error in one go, with file, line, section,
key, what was wrong and what would be right; status 1; no port opened."""

import os
import re
import socket

import pytest

from server import Server, run, service
from settings import plugin_path

ECHO = "[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n"


def check(tmp_path, config, command="check"):
    file = tmp_path / "enchufe.ini"
    if isinstance(config, bytes):
        file.write_bytes(config)
    else:
        file.write_text(config)
    return run(command, file)


# what is wrong: the configuration, and for each error the line, section, key and what the text says
ERRORS = {
    "unknown_host": ("[echo]\nplugin = echo\nlisten = tcp://no-such-host.invalid:80\n",
                     [(3, "echo", "listen", "no-such-host.invalid")]),
    "missing_plugin": ("[echo]\nplugin = ecco\nlisten = tcp://127.0.0.1:0\n",
                       [(2, "echo", "plugin", "ecco")]),
    "missing_plugin_file": ("[echo]\nplugin = /no/such/echo.so\nlisten = tcp://127.0.0.1:0\n",
                            [(2, "echo", "plugin", "/no/such/echo.so")]),
    "no_plugin_said": ("[echo]\nlisten = tcp://127.0.0.1:0\n", [(1, "echo", "plugin", "")]),
    "no_listen_said": ("[echo]\nplugin = echo\n", [(1, "echo", "listen", "")]),
    "port_too_large": ("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:70000\n",
                       [(3, "echo", "listen", "70000.*65535")]),
    "port_no_number": ("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:http\n",
                       [(3, "echo", "listen", "http")]),
    "no_port": ("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1\n",
                [(3, "echo", "listen", "127.0.0.1")]),
    "unknown_scheme": ("[echo]\nplugin = echo\nlisten = tpc://127.0.0.1:0\n",
                       [(3, "echo", "listen", "tpc.*tcp://")]),
    "range_backward": ("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:8010-8000\n",
                       [(3, "echo", "listen", "8010-8000")]),
    "ipv6_without_brackets": ("[echo]\nplugin = echo\nlisten = tcp://::1:80\n",
                              [(3, "echo", "listen", r"\[")]),
    "misspelled_key_of_the_server": (ECHO + "idle_timout = 10s\n",
                                     [(4, "echo", "idle_timout", "idle_timeout")]),
    "misspelled_listen": ("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\nlsten = tcp://:1\n",
                          [(4, "echo", "lsten", "listen")]),
    "unknown_plugin_option": (service("options", token="12345678", colur="red"),
                              [(5, "options", "colur", "colour")]),
    "unknown_key_of_server_section": ("[server]\nthread = 2\n" + ECHO,
                                      [(2, "server", "thread", "threads")]),
    "wrong_type_integer": (service("options", token="12345678", low="ten"),
                           [(5, "options", "low", "ten")]),
    "wrong_type_with_a_tail": (service("options", token="12345678", low="10x"),
                               [(5, "options", "low", "10x")]),
    "wrong_type_bool": (service("options", token="12345678", flag="maybe"),
                        [(5, "options", "flag", "maybe.*(yes|no)")]),
    "wrong_type_size": (service("options", token="12345678", size="64q"),
                        [(5, "options", "size", "64q")]),
    "wrong_type_duration": (service("options", token="12345678", wait="soon"),
                            [(5, "options", "wait", "soon")]),
    "wrong_choice": (service("options", token="12345678", colour="mauve"),
                     [(5, "options", "colour", "mauve.*red.*green.*blue")]),
    "wrong_endpoint": (service("options", token="12345678", upstream="nowhere"),
                       [(5, "options", "upstream", "nowhere")]),
    "out_of_range": (service("options", token="12345678", low="-101", high="101", size="2m"),
                     [(5, "options", "low", "-101.*-100"), (6, "options", "high", "101.*100"),
                      (7, "options", "size", "2m")]),
    "text_too_long": (service("options", token="12345678", text="x" * 21),
                      [(5, "options", "text", "20")]),
    "required_option_missing": (service("options"), [(1, "options", "token", "")]),
    "cross_check_of_the_plugin": (service("options", token="12345678", low="7", high="6"),
                                  [(6, "options", "high", "6 is below low, write 7 or more")]),
    "wrong_type_of_server_keys": ("[server]\nthreads = many\ndrain_timeout = 5 apples\n"
                                  "log_level = loud\nlog_format = xml\n" + ECHO,
                                  [(2, "server", "threads", "many"),
                                   (3, "server", "drain_timeout", "5 apples"),
                                   (4, "server", "log_level", "loud.*info"),
                                   (5, "server", "log_format", "xml.*text.*json")]),
    "wrong_type_of_service_keys": (ECHO + "idle_timeout = -1\nmax_connections = few\nisolate = 7\n",
                                   [(4, "echo", "idle_timeout", "-1"),
                                    (5, "echo", "max_connections", "few"),
                                    (6, "echo", "isolate", "7")]),
    "unknown_user": ("[server]\nthreads = 1\nuser = no-such-user\n" + ECHO,
                     [(3, "server", "user", "no-such-user.*getent passwd")]),
    "unknown_group": ("[server]\nthreads = 1\ngroup = no-such-group\n" + ECHO,
                      [(3, "server", "group", "no-such-group.*getent group")]),
    "a_key_said_twice": (ECHO + "idle_timeout = 1s\nidle_timeout = 2s\n",
                         [(5, "echo", "idle_timeout", "")]),
    "an_option_said_twice": (service("options", token="12345678") + "flag = yes\nflag = no\n",
                             [(6, "options", "flag", "")]),
    "bad_section_name": ("[my service]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n",
                         [(1, None, "", "my service.*letters")]),
    "duplicate_section": (ECHO + ECHO, [(4, "echo", "", "")]),
    "empty_section": (ECHO + "[empty]\n", [(4, "empty", "", "")]),
    "a_wrong_key_in_defaults": ("[defaults]\nidle_timout = 3s\n" + ECHO,
                                [(2, "defaults", "idle_timout", "idle_timeout")]),
    "listen_in_defaults": ("[defaults]\nlisten = tcp://:0\n" + ECHO,
                           [(2, "defaults", "listen", "")]),
}


def assert_error(stderr, file, line, section, key, says):
    wanted = re.escape(f"{file}:{line}: [{section}]" if section else f"{file}:{line}:")
    wanted += rf" {re.escape(key)}: .*{says}" if key else f".*{says}"
    assert re.search("^" + wanted, stderr, re.MULTILINE), f"no line like `{wanted}` in:\n{stderr}"


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("what", ERRORS)
def test_it_is_refused_with_the_place_and_the_reason(tmp_path, what, command):
    config, errors = ERRORS[what]
    done = check(tmp_path, config, command)
    assert done.returncode == 1, done.stderr
    for error in errors:
        assert_error(done.stderr, tmp_path / "enchufe.ini", *error)
    assert len(done.stderr.splitlines()) == len(errors), done.stderr
    assert "listening" not in done.stderr and done.stdout == ""


def test_every_error_of_a_file_is_said_in_one_run(tmp_path):
    """Also those that only the plugins find, and those of other sections."""
    config = ("[server]\nthread = 2\n"
              + "[one]\nplugin = echo\nlisten = tcp://127.0.0.1:70000\nlsten = x\n"
              + "[two]\nplugin = nothing\nlisten = udp://127.0.0.1:0\n"
              + service("three", "options", token="short", low="x", flag="x")
              + "[four]\nplugin = echo\nlisten = tcp://127.0.0.1:0\nwrite_timeout = x\n")
    done = check(tmp_path, config)
    assert done.returncode == 1
    for line, section, key in [(2, "server", "thread"), (5, "one", "listen"), (6, "one", "lsten"),
                               (8, "two", "plugin"), (13, "three", "token"), (14, "three", "low"),
                               (15, "three", "flag"), (19, "four", "write_timeout")]:
        assert_error(done.stderr, tmp_path / "enchufe.ini", line, section, key, "")
    lines = [int(re.search(r":(\d+):", line).group(1)) for line in done.stderr.splitlines()]
    assert lines == sorted(lines) and len(lines) == 8, done.stderr


@pytest.mark.parametrize("one, two", [
    ("tcp://127.0.0.1:18431", "tcp://127.0.0.1:18431"), ("tcp://0.0.0.0:18431", "tcp://:18431"),
    ("udp://[::1]:18431", "udp://[::1]:18431"),
    ("unix:///tmp/x.sock", "unix:///tmp/x.sock"),
    ("tcp://127.0.0.1:18430-18440", "tcp://127.0.0.1:18435")])
def test_two_services_on_one_endpoint_are_refused_and_both_lines_named(tmp_path, one, two):
    config = service("one", "echo", one) + service("two", "echo", two)
    done = check(tmp_path, config)
    assert done.returncode == 1
    assert re.search(r"enchufe\.ini:6: \[two\] listen: ", done.stderr), done.stderr
    assert re.search(r":3\b|line 3\b", done.stderr), done.stderr
    assert "one" in done.stderr


def test_the_same_port_of_tcp_and_udp_is_no_clash(tmp_path):
    config = service("one", "echo", "tcp://:18431 udp://:18431")
    assert check(tmp_path, config).returncode == 0


def test_a_line_that_is_too_long_is_refused_whole(tmp_path):
    """inih cuts long lines: nobody must get the first half of a value."""
    config = "[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\n; " + "x" * 300 + "\n"
    listen = " ".join(["tcp://127.0.0.1:0"] * 40)
    for text, line in ((f"[echo]\nplugin = echo\nlisten = {listen}\n", 3),
                       (ECHO + "idle_timeout = " + " " * 190 + "1s\n", 4)):
        done = check(tmp_path, text)
        assert done.returncode == 1, (done.stderr, config)
        assert re.search(rf"^{re.escape(str(tmp_path))}/enchufe\.ini:{line}: .*(long|199|bytes)",
                         done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize("text", ["", "; only a comment\n", "[server]\nthreads = 1\n"],
                         ids=["empty", "comment", "server"])
def test_a_file_without_a_service_is_refused(tmp_path, text):
    done = check(tmp_path, text)
    assert done.returncode == 1
    assert str(tmp_path / "enchufe.ini") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_outside_of_any_section_is_refused(tmp_path):
    done = check(tmp_path, "plugin = echo\n" + ECHO)
    assert done.returncode == 1
    assert re.search(r"enchufe\.ini:1: .*plugin", done.stderr)


def test_a_line_that_is_neither_key_nor_section_is_refused(tmp_path):
    done = check(tmp_path, "[echo\nplugin = echo\n")
    assert done.returncode == 1 and re.search(r"enchufe\.ini:1: ", done.stderr)
    done = check(tmp_path, ECHO + "what is this\n")
    assert done.returncode == 1 and re.search(r"enchufe\.ini:4: ", done.stderr)


@pytest.mark.parametrize("command", ["check", "run"])
def test_no_file_is_one_clear_line(tmp_path, command):
    done = run(command, tmp_path / "none.ini")
    assert done.returncode == 1
    assert re.fullmatch(r".*none\.ini.*\n", done.stderr)


def test_a_directory_as_file_is_one_clear_line(tmp_path):
    done = run("check", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}.*directory.*\n", done.stderr)


@pytest.mark.parametrize("junk", [bytes(range(256)) * 40, b"\0" * 5000,
                                  b"[echo]\nplugin = ec\0ho\nlisten = tcp://127.0.0.1:0\n"],
                         ids=["all_bytes", "zeros", "a_zero_in_a_value"])
def test_binary_junk_as_file_is_refused(tmp_path, junk):
    done = check(tmp_path, junk)
    assert done.returncode == 1
    assert str(tmp_path / "enchufe.ini") in done.stderr
    assert not re.search(r"[^\n\x20-\x7e]", done.stderr), "control bytes reached the terminal"


def test_a_secret_is_never_printed(tmp_path):
    done = check(tmp_path, service("options", token="hunter2"))
    assert done.returncode == 1 and "token" in done.stderr and "hunter2" not in done.stderr


# -- what is right


def test_check_counts_services_and_endpoints_and_opens_no_port(tmp_path):
    config = (service("one", "echo", "tcp://127.0.0.1:18451 udp://127.0.0.1:18451")
              + service("two", "hola", f"unix://{tmp_path}/two.sock")
              + service("three", "echo", "tcp://127.0.0.1:0"))
    done = check(tmp_path, config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/enchufe.ini: ok, 3 services, 4 endpoints\n"
    assert not (tmp_path / "two.sock").exists()


def test_check_is_content_while_the_ports_are_in_use(tmp_path):
    with Server(service("echo")) as server:
        config = service("echo", listen=server.endpoint("echo"))
        assert check(tmp_path, config).returncode == 0


def shown(server):
    """What the plugin `options` says of its settings."""
    with server.connect("options") as client:
        client.send(b"show\n")
        found = {}
        for line in iter(client.receive_line, "end\n"):
            assert line, "the stream ended"
            key, _, value = line.rstrip("\n").partition("=")
            found.setdefault(key, []).append(value)
        return {key: value[0] if len(value) == 1 and key != "word" else value
                for key, value in found.items()}


def test_options_that_are_not_said_have_their_defaults():
    with Server(service("options", token="12345678")) as server:
        assert shown(server) == {
            "text": "hello", "flag": "0", "low": "-5", "high": "5", "size": "65536", "wait": "0",
            "colour": "1", "upstream": "(none) kind=0 address=unix", "file": "(none)",
            "token_length": "8", "words": "0"}


def test_every_type_of_option_reaches_the_plugin():
    with Server(service("options", text="some text: = [x]", flag="on", low="-0x10", high="0x1f",
                        size="512k", wait="1m30s", colour="blue", upstream="tcp://[::1]:99",
                        file="data/file.txt", token="a secret word", words="one two")
                + "words = three\n") as server:
        assert shown(server) == {
            "text": "some text: = [x]", "flag": "1", "low": "-16", "high": "31", "size": "524288",
            "wait": "90000", "colour": "2", "upstream": "tcp://[::1]:99 kind=1 address=[::1]:99",
            "file": f"{server.directory}/data/file.txt", "token_length": "13", "words": "3",
            "word": ["one", "two", "three"]}
        assert "a secret word" not in server.log()


def test_comments_blanks_and_colons_are_read_as_ini_does():
    config = f"""\
; a comment
# another
  [options]   ; a section
plugin: {plugin_path('options')}
listen=tcp://127.0.0.1:0
token = 12345678 ; a comment after a value
text   =   two words
words = one
    two
    three
"""
    with Server(config) as server:
        settings = shown(server)
        assert settings["text"] == "two words" and settings["token_length"] == "8"
        assert settings["word"] == ["one", "two", "three"]


def test_a_file_of_another_editor_with_crlf_and_byte_order_mark_is_read(tmp_path):
    text = ECHO.replace("\n", "\r\n")
    assert check(tmp_path, text.encode()).returncode == 0
    assert check(tmp_path, b"\xef\xbb\xbf" + ECHO.encode()).returncode == 0


def test_defaults_hold_for_every_service_that_does_not_say_otherwise():
    config = ("[defaults]\nidle_timeout = 300ms\n" + service("short", "echo")
              + service("long", "echo", idle_timeout="1h"))
    with Server(config) as server:
        with server.connect("short") as short, server.connect("long") as long:
            assert short.receive_all() == b""
            server.wait_for_lines("closed", service="short", reason="idle-timeout")
            assert long.ask(b"hola", 4) == b"hola"


def test_drop_in_files_are_included_and_named_in_errors(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.ini").write_text(service("a", "echo"))
    (tmp_path / "more" / "b.ini").write_text(service("b", "echo"))
    config = "[server]\ninclude = more/*.ini\n" + ECHO
    done = check(tmp_path, config)
    assert done.returncode == 0 and "3 services, 3 endpoints" in done.stdout, done.stderr
    (tmp_path / "more" / "b.ini").write_text(service("b", "echo", lsten="x"))
    done = check(tmp_path, config)
    assert done.returncode == 1
    assert_error(done.stderr, tmp_path / "more" / "b.ini", 4, "b", "lsten", "listen")


def test_an_included_file_that_is_not_there_is_refused(tmp_path):
    done = check(tmp_path, "[server]\ninclude = more.ini\n" + ECHO)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert_error(done.stderr, tmp_path / "enchufe.ini", 2, "server", "include", "more.ini")


@pytest.mark.parametrize("pattern", ["more/*.ini", "mor?.ini", "[m]ore.ini"])
def test_a_pattern_that_no_file_matches_is_fine(tmp_path, pattern):
    done = check(tmp_path, f"[server]\ninclude = {pattern}\n" + ECHO)
    assert done.returncode == 0 and "1 service," in done.stdout, done.stderr


@pytest.mark.parametrize("wrong", ["key", "port", "plugin", "log"])
def test_a_run_that_is_refused_leaves_no_trace_in_the_file_system(tmp_path, wrong):
    """Neither a log file nor a Unix socket is made, and a stale socket stays where it is (but for a log
    that cannot be opened, which is tried last)."""
    with socket.socket() as taken, socket.socket(socket.AF_UNIX) as stale:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stale.bind(str(tmp_path / "stale.sock"))
        stale.close()
        before = os.stat(tmp_path / "stale.sock").st_ino
        log = tmp_path / ("no/such.log" if wrong == "log" else "x.log")
        listen = f"tcp://127.0.0.1:{taken.getsockname()[1] if wrong == 'port' else 0}"
        config = (f"[server]\nlog = {log}\n"
                  + service("new", "echo", f"unix://{tmp_path}/new.sock")
                  + service("old", "echo", f"unix://{tmp_path}/stale.sock")
                  + service("last", "nothing" if wrong == "plugin" else "echo", listen))
        done = check(tmp_path, config + ("idle_timout = 1s\n" if wrong == "key" else ""), "run")
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        if wrong == "log":
            assert {"x.log", "new.sock"}.isdisjoint(os.listdir(tmp_path))
        else:
            assert sorted(os.listdir(tmp_path)) == ["enchufe.ini", "stale.sock"]
            assert os.stat(tmp_path / "stale.sock").st_ino == before


def test_a_port_in_use_is_said_in_one_run_with_all_other_errors(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = ("[server]\nthread = 2\nuser = no-such-user\n"
                  + service("one", "echo", f"tcp://127.0.0.1:{port}", lsten="x")
                  + service("two", "nothing")
                  + service("three", "options", token="short"))
        done = check(tmp_path, config, "run")
    assert done.returncode == 1
    for line, section, key, says in [(2, "server", "thread", "threads"),
                                     (3, "server", "user", "no-such-user"),
                                     (6, "one", "listen", f"{port} is in use"),
                                     (7, "one", "lsten", "listen"), (9, "two", "plugin", "nothing"),
                                     (14, "three", "token", "")]:
        assert_error(done.stderr, tmp_path / "enchufe.ini", line, section, key, says)
    assert len(done.stderr.splitlines()) == 6, done.stderr


def test_a_section_in_two_files_is_refused_and_both_are_named(tmp_path):
    (tmp_path / "more.ini").write_text(ECHO)
    done = check(tmp_path, "[server]\ninclude = more.ini\n" + ECHO)
    assert done.returncode == 1
    assert "more.ini" in done.stderr and "enchufe.ini" in done.stderr


def test_paths_count_from_the_file_that_names_them(tmp_path):
    (tmp_path / "sub").mkdir()
    os.symlink(plugin_path("eof"), tmp_path / "sub" / "mine.so")
    (tmp_path / "sub" / "x.ini").write_text("[x]\nplugin = ./mine.so\nlisten = unix://x.sock\n")
    with Server(f"[server]\ninclude = {tmp_path}/sub/x.ini\n" + ECHO) as server:
        assert server.endpoint("x") == f"unix://{tmp_path}/sub/x.sock"
        with server.connect("x", "unix") as client:
            client.send(b"12345")
            client.end()
            assert client.receive_all() == b"5 bytes\n"


def test_plugin_dir_of_the_configuration_is_where_plugins_are_found(tmp_path):
    os.symlink(plugin_path("eof"), tmp_path / "mine.so")
    config = "[server]\nplugin_dir = .\n[x]\nplugin = mine\nlisten = tcp://127.0.0.1:0\n"
    assert check(tmp_path, config).returncode == 0


@pytest.mark.parametrize("step", ["start", "loop_start"])
def test_a_service_that_fails_to_start_keeps_the_server_from_starting(tmp_path, step):
    done = check(tmp_path, service("refuser", at=step), "run")
    assert done.returncode == 1
    assert re.search(rf"refuser.*{step}|{step}.*refuser", done.stderr), done.stderr
    assert not re.search(r" ready", done.stderr)


def test_a_service_whose_check_fails_is_refused_by_check(tmp_path):
    done = check(tmp_path, service("refuser", at="check"))
    assert done.returncode == 1
    assert_error(done.stderr, tmp_path / "enchufe.ini", 4, "refuser", "at", "told to refuse")


def test_a_file_for_root_can_be_checked_by_anybody_but_not_run(as_nobody):
    os.chmod(as_nobody.directory, 0o777)
    file = as_nobody.write("[server]\nuser = root\n" + service("echo", as_nobody.plugin("echo")))
    done = as_nobody.run("check", file)
    assert done.returncode == 0 and done.stdout == f"{file}: ok, 1 service, 1 endpoint\n", done
    assert done.stderr.startswith(f"note: {file}:2: [server] user: only root can change"), done
    done = as_nobody.run("run", file)
    assert done.returncode == 1 and f"{file}:2: [server] user: only root can change" in done.stderr


def test_a_path_that_is_not_there_is_told_once(tmp_path):
    done = check(tmp_path, ECHO + "read_paths = /nowhere/at/all\n", "check")
    assert done.returncode == 1
    assert re.fullmatch(r'.*:4: \[echo\] read_paths: there is no "/nowhere/at/all".*\n', done.stderr)
