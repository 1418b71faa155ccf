"""Where services listen: families, port 0, ranges, Unix sockets, and what is refused."""

import contextlib
import os
import re
import signal
import socket
import stat

import pytest

from controlled import Controlled
from server import Server, run, service
from settings import SANITIZED


@contextlib.contextmanager
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def free_ports(count):
    """The first of `count` ports in a row that nobody uses at the moment."""
    for first in range(20000 + os.getpid() % 8000, 32000):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
                return first
            except OSError:
                continue
    raise AssertionError("no free ports in a row")


def refused(config, tmp_path):
    """`run` with a configuration that must be refused. Returns the lines of the error."""
    file = tmp_path / "enchufe.ini"
    file.write_text(config)
    done = run("run", file)
    assert done.returncode == 1, done.stderr
    assert "listening" not in done.stderr and "ready" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("listen, family", [
    ("tcp://127.0.0.1:0", socket.AF_INET), ("tcp://[::1]:0", socket.AF_INET6),
    ("tcp://localhost:0", None)])
def test_a_service_listens_where_it_is_told_and_the_log_has_the_real_port(listen, family):
    with Server(service("echo", listen=listen)) as server:
        assert server.port("echo") > 0
        for endpoint in server.endpoints("echo"):
            with server.connect(endpoint=endpoint) as client:
                assert family in (None, client.socket.family)
                assert client.ask(b"hola", 4) == b"hola"


def test_without_a_host_both_families_are_served_on_one_port():
    with Server(service("echo", listen="tcp://:0 udp://:0")) as server:
        port = server.port("echo", "tcp")
        for host in ("127.0.0.1", "127.0.0.9"):
            with server.connect(endpoint=f"tcp://{host}:{port}") as client:
                assert client.ask(b"hola", 4) == b"hola"
        with server.connect(endpoint=f"tcp://[::1]:{port}") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_peers_of_both_families_stand_in_the_log_as_people_write_them():
    with Server(service("whoami", listen="tcp://:0")) as server:
        port = server.port("whoami")
        for endpoint in (f"tcp://127.0.0.1:{port}", f"tcp://[::1]:{port}"):
            with server.connect(endpoint=endpoint) as client:
                name = client.socket.getsockname()
                peer = ("[%s]:%d" if ":" in name[0] else "%s:%d") % name[:2]
                local = endpoint.removeprefix("tcp://")
                assert client.receive_line() == f"whoami peer={peer} local={local}\n"
                assert client.receive_all() == b""
            server.wait_for_lines("closed", peer=peer)


def test_port_0_twice_is_two_ports():
    with Server(service("echo", listen="tcp://127.0.0.1:0 tcp://127.0.0.1:0")) as server:
        assert len(set(server.endpoints("echo"))) == 2


def test_a_port_range_listens_on_each_port():
    first = free_ports(5)
    with Server(service("echo", listen=f"tcp://127.0.0.1:{first}-{first + 4}")) as server:
        assert server.endpoints("echo") == [f"tcp://127.0.0.1:{first + n}" for n in range(5)]
        for endpoint in server.endpoints("echo"):
            with server.connect(endpoint=endpoint) as client:
                assert client.ask(b"hola", 4) == b"hola"


def test_listen_may_be_repeated():
    config = service("echo") + "listen = udp://127.0.0.1:0\nlisten = unix://{dir}/echo.sock\n"
    with Server(config) as server:
        assert [e.partition(":")[0] for e in server.endpoints("echo")] == ["tcp", "udp", "unix"]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_loop_count_serves_many_clients_at_once(threads):
    with Server(f"[server]\nthreads = {threads}\n" + service("echo")) as server:
        clients = [server.connect("echo") for _ in range(200 if not SANITIZED else 50)]
        for number, client in enumerate(clients):
            client.send(b"%05d" % number)
        for number, client in enumerate(clients):
            assert client.receive(5) == b"%05d" % number
            client.socket.close()


def test_services_that_use_fewer_loops_than_there_are_begin_at_different_ones():
    names = ["one", "two", "three", "four"]
    config = "[server]\nthreads = 4\n" + "".join(service(name, "thread", threads=1) for name in names)
    with Server(config) as server:
        threads = []
        for name in names:
            seen = set()
            for _ in range(5):
                with server.connect(name) as client:
                    seen.add(client.receive_all())
            assert len(seen) == 1
            threads += seen
        # The first loop is the process's main thread.
        assert sorted(threads) == [b"enchufe-worker", b"loop-1", b"loop-2", b"loop-3"]


# -- Unix sockets


def test_a_unix_socket_is_served_and_its_file_removed_at_the_end():
    with Server(service("echo", listen="unix://{dir}/echo.sock")) as server:
        path = os.path.join(server.directory, "echo.sock")
        assert server.endpoint("echo") == "unix://" + path
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        with server.connect("echo", "unix") as client:
            assert client.ask(b"hola", 4) == b"hola"
        server.wait_for_lines("closed", service="echo", peer="unix")
        server.stop()
        assert not os.path.exists(path)


def test_a_stale_unix_socket_of_a_killed_run_is_replaced():
    with Server(service("echo", listen="unix://{dir}/echo.sock")) as server:
        server.kill()
        assert os.path.exists(os.path.join(server.directory, "echo.sock"))
        server.start()
        with server.connect("echo", "unix") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_live_unix_socket_is_refused_and_goes_on_serving(tmp_path):
    with Server(service("echo", listen="unix://{dir}/echo.sock")) as server:
        errors = refused(service("second", "echo", server.endpoint("echo")), tmp_path)
        assert re.search(r"enchufe\.ini:3: \[second\] listen: .*echo\.sock", errors)
        with server.connect("echo", "unix") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("a file of somebody's")
    errors = refused(service("echo", listen=f"unix://{precious}"), tmp_path)
    assert re.search(r"enchufe\.ini:3: \[echo\] listen: .*precious", errors)
    assert precious.read_text() == "a file of somebody's"


def test_a_unix_path_that_is_too_long_is_refused(tmp_path):
    errors = refused(service("echo", listen=f"unix://{tmp_path}/{'x' * 90}.sock"), tmp_path)
    assert re.search(r"enchufe\.ini:3: \[echo\] listen: .*(long|107)", errors)


def test_a_unix_socket_in_a_directory_that_is_not_there_is_refused(tmp_path):
    errors = refused(service("echo", listen=f"unix://{tmp_path}/no/echo.sock"), tmp_path)
    assert re.search(r"enchufe\.ini:3: \[echo\] listen: .*no/echo\.sock", errors)


def test_a_relative_unix_path_counts_from_the_configuration():
    with Server(service("echo", listen="unix://echo.sock")) as server:
        assert server.endpoint("echo") == f"unix://{server.directory}/echo.sock"
        with server.connect("echo", "unix") as client:
            assert client.ask(b"hola", 4) == b"hola"


# -- what cannot be bound


def test_a_port_in_use_is_refused_before_any_other_is_opened(tmp_path):
    with taken_port() as port, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        first = probe.getsockname()[1]
        config = (service("first", "echo", f"tcp://127.0.0.1:{first}")
                  + service("second", "echo", f"tcp://127.0.0.1:{port}"))
        probe.close()
        errors = refused(config, tmp_path)
        assert re.search(rf"enchufe\.ini:6: \[second\] listen: .*{port}", errors)
        assert "in use" in errors


def test_every_port_in_use_is_named_in_one_run(tmp_path):
    with taken_port() as one, taken_port() as two:
        config = (service("first", "echo", f"tcp://127.0.0.1:{one}")
                  + service("second", "echo", f"tcp://127.0.0.1:{two}"))
        errors = refused(config, tmp_path)
        assert re.search(rf":3: \[first\] listen: .*{one}", errors)
        assert re.search(rf":6: \[second\] listen: .*{two}", errors)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_of_another_enchufe_is_refused(tmp_path, kind):
    """Its sockets share ports among themselves (SO_REUSEPORT), but not with a stranger's."""
    with Server(service("echo", listen=f"{kind}://127.0.0.1:0")) as server:
        errors = refused(service("second", "echo", server.endpoint("echo")), tmp_path)
        assert re.search(r":3: \[second\] listen: .*in use", errors)


def test_one_address_may_be_served_apart_from_all_others():
    port = free_ports(1)
    config = (service("rest", "whoami", f"tcp://:{port}")
              + service("one", "whoami", f"tcp://127.0.0.2:{port}"))
    with Server(config) as server:
        for host, name in (("127.0.0.1", "rest"), ("127.0.0.2", "one"), ("[::1]", "rest")):
            for _ in range(5):
                with server.connect(endpoint=f"tcp://{host}:{port}") as client:
                    assert client.receive_all().decode().split()[0] == name


def test_a_udp_port_in_use_is_refused(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        errors = refused(service("echo", listen=f"udp://127.0.0.1:{port}"), tmp_path)
        assert re.search(rf":3: \[echo\] listen: .*{port}.*in use", errors)


def test_an_address_of_another_host_is_refused(tmp_path):
    errors = refused(service("echo", listen="tcp://192.0.2.1:0"), tmp_path)
    assert re.search(r":3: \[echo\] listen: .*192\.0\.2\.1", errors)


def privileged_ports_need_privilege():
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        return int(file.read()) > 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a privilege away to try")
@pytest.mark.skipif(not privileged_ports_need_privilege(), reason="this host lets everybody bind")
def test_a_privileged_port_without_privilege_is_refused(as_nobody):
    with as_nobody.server(service("echo", as_nobody.plugin("echo"), "tcp://127.0.0.1:7"),
                          wait=False) as server:
        assert server.process.wait(20) == 1
        assert re.search(r":3: \[echo\] listen: .*tcp://127\.0\.0\.1:7\b", server.log())
        assert "listening" not in server.log()


def test_the_sockets_of_a_service_are_not_inherited_by_programs_of_a_plugin():
    """CLOEXEC on everything: what a plugin starts cannot hold a port."""
    with Server(service("echo", listen="tcp://127.0.0.1:0 udp://127.0.0.1:0")) as server:
        for pid in [server.pid, *server.workers()]:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if int(fd) > 2:
                    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                        flags = int(re.search(r"flags:\s+([0-7]+)", file.read()).group(1), 8)
                    assert flags & os.O_CLOEXEC, os.readlink(f"/proc/{pid}/fd/{fd}")


def test_a_new_start_binds_at_once_after_clients_were_served():
    """Connections in TIME_WAIT do not keep the port."""
    port = free_ports(1)
    with Server(service("echo", listen=f"tcp://127.0.0.1:{port}")) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.stop(signal.SIGINT)
            client.receive_all()
        server.start()
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


def rights(path):
    """The mode and the group of a file."""
    found = os.stat(path)
    return stat.S_IMODE(found.st_mode), found.st_gid


def unix_service(**keys):
    return service("echo", listen="unix://{dir}/echo.sock", **keys)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_everybody_may_connect_to_a_unix_socket_whatever_the_umask(umask):
    with Server(unix_service(), preexec=lambda: os.umask(umask) and None) as server:
        assert rights(f"{server.directory}/echo.sock")[0] == 0o666


def test_another_user_is_served_on_a_unix_socket_of_root(as_nobody):
    with Server(unix_service()) as server:
        os.chmod(server.directory, 0o755)
        done = as_nobody.run("call", f"unix://{server.directory}/echo.sock", "hola")
        assert (done.returncode, done.stdout.strip()) == (0, "hola"), done


def test_socket_mode_and_group_are_those_of_the_file_and_change_with_a_reload():
    with Controlled(unix_service(socket_mode="0640")) as server:
        path = server.path("echo.sock")
        first = rights(path)
        assert first[0] == 0o640
        group = 12345 if os.geteuid() == 0 else os.getgid()
        with server.connect("echo", "unix") as client:
            server.write(unix_service(socket_group=group))
            server.reload()
            assert rights(path) == (0o660, group)
            assert client.ask(b"hola", 4) == b"hola"
        server.write(unix_service(socket_group=group, socket_mode="0600"))
        server.reload()
        assert rights(path) == (0o600, group)
        server.write(unix_service())
        server.reload()
        assert rights(path) == (0o666, first[1])


def test_rights_of_a_unix_socket_go_to_no_file_that_lies_in_its_place():
    with Controlled(unix_service()) as server:
        path, other = server.path("echo.sock"), server.path("other")
        with open(other, "w", encoding="ascii"):
            os.chmod(other, 0o600)
        os.unlink(path)
        os.symlink(other, path)
        server.write(unix_service(socket_mode="0666"))
        server.reload()
        assert rights(other)[0] == 0o600


def test_only_root_can_name_a_group_that_it_does_not_belong_to(as_nobody):
    os.chmod(as_nobody.directory, 0o777)
    file = as_nobody.write(service("echo", as_nobody.plugin("echo"), "unix://{dir}/echo.sock",
                                   socket_group="0"))
    done = as_nobody.run("run", file)
    assert done.returncode == 1
    assert ":4: [echo] socket_group: only root can name a group" in done.stderr, done
