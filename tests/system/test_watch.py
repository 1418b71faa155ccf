"""`watch = yes`: files that change reload by themselves, with the same safety as a command."""

import os
import shutil
import time

import pytest

from server import Server, service
from settings import PLUGINS, plugin_path

QUIET = 1.0  # twice what the server waits for


class Watched(Server):
    """Its echo service is loaded from a plugin file of its own, and includes services/*.ini."""

    def __init__(self, config="", keys="", watch="yes", **more):
        super().__init__(f"[server]\nwatch = {watch}\ncontrol = {{dir}}/control.sock\n"
                         f"drain_timeout = 2s\ninclude = services/*.ini\n{keys}\n" +
                         service("echo", "{dir}/plugins/echo.so") + config, **more)
        self.services = os.path.join(self.directory, "services")
        self.plugin = os.path.join(self.directory, "plugins", "echo.so")
        os.mkdir(self.services)
        os.mkdir(os.path.dirname(self.plugin))
        shutil.copy(os.path.join(PLUGINS, "echo.so"), self.plugin)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def drop_in(self, name, text):
        self.write(os.path.join(self.services, name), text)

    def serves(self, generation):
        self.wait_for_lines("ready", generation=str(generation))
        self.serves_lines(self.lines("ready")[-1])
        if generation > 1:
            self.wait_for_lines("drained", generation=str(generation - 1))

    def serves_as_number(self, count):
        """The count-th generation that came up; those that did not have numbers too."""
        self.serves_lines(self.wait_for_lines("ready", count)[count - 1])
        self.wait_for_lines("drained", count - 1)

    def serves_lines(self, ready):
        count = int(ready["endpoints"])
        self._listening = self._read_listening()[-count:]

    def is_quiet(self):
        """Whether no reload begins for a while; waits, because that is what must not happen."""
        before = len(self.lines("reloading"))
        end = time.monotonic() + QUIET
        while time.monotonic() < end:
            if len(self.lines("reloading")) != before:
                return False
            time.sleep(0.02)
        return True

    def echoes(self):
        with self.connect("echo") as client:
            return client.ask(b"hola", 4) == b"hola"


def touch(server):
    os.utime(server.file)
    with open(server.file, "a", encoding="utf-8"):
        pass


def rewrite(server):
    server.write(server.file, server.config)


def move_over(server):
    server.write(server.file + ".new", server.config)
    os.replace(server.file + ".new", server.file)


def copy_over_plugin(server):
    shutil.copy(os.path.join(PLUGINS, "echo.so"), server.plugin)


def move_over_plugin(server):
    shutil.copy(os.path.join(PLUGINS, "echo.so"), server.plugin + ".new")
    os.replace(server.plugin + ".new", server.plugin)


@pytest.mark.parametrize("change", [touch, rewrite, move_over, copy_over_plugin, move_over_plugin])
def test_a_change_is_one_reload_each_time(change):
    with Watched() as server:
        for generation in (2, 3):
            change(server)
            server.serves(generation)
            assert server.is_quiet() and server.echoes()


def test_a_service_is_dropped_in_and_taken_out_without_a_command():
    with Watched() as server:
        server.drop_in("more.ini", service("more", "echo"))
        server.serves(2)
        with server.connect("more") as client:
            assert client.ask(b"hola", 4) == b"hola"
        os.unlink(os.path.join(server.services, "more.ini"))
        server.serves(3)
        assert not server.endpoints("more") and server.echoes()


def test_a_service_that_is_linked_in_or_renamed_is_noticed():
    with Watched() as server:
        server.write(server.path("more.ini"), service("more", "echo"))
        os.symlink(server.path("more.ini"), os.path.join(server.services, "more.ini"))
        server.serves(2)
        os.rename(os.path.join(server.services, "more.ini"),
                  os.path.join(server.services, "more.off"))
        server.serves(3)
        assert not server.endpoints("more")
        os.link(server.path("more.ini"), os.path.join(server.services, "hard.ini"))
        server.serves(4)
        assert server.endpoints("more")


def test_the_plugin_of_a_service_that_came_later_is_watched_as_well():
    with Watched() as server:
        os.mkdir(server.path("other"))
        other = server.path("other", "drain.so")
        shutil.copy(plugin_path("drain"), other)
        server.drop_in("more.ini", service("more", other))
        server.serves(2)
        shutil.copy(plugin_path("drain"), other)
        server.serves(3)
        os.unlink(os.path.join(server.services, "more.ini"))
        server.serves(4)
        shutil.copy(plugin_path("drain"), other)
        assert server.is_quiet()


def test_a_change_while_the_server_starts_is_noticed():
    with Watched(service("slow", "stuck", start_sleep="700ms"), wait=False) as server:
        server.wait_for_lines("worker started")
        server.drop_in("more.ini", service("more", "echo"))
        server.wait_for_lines("ready", generation="2", services="3")


@pytest.mark.parametrize("what", ["configuration", "plugin", "plugin is gone", "drop-in"])
def test_a_broken_edit_leaves_everything_as_it_is_and_is_told(what):
    with Watched() as server:
        workers = server.workers()
        if what == "configuration":
            server.write(server.file, server.config + "nonsense = 1\n")
            error = "nonsense"
        elif what == "plugin":
            server.write(server.plugin, "not a plugin")
            error = "echo.so"
        elif what == "plugin is gone":
            os.unlink(server.plugin)
            error = "echo.so"
        else:
            server.drop_in("broken.ini", "[more]\nplugin = nowhere\nlisten = tcp://127.0.0.1:0\n")
            error = "nowhere"
        assert error in server.wait_for_lines("reload failed")[0]["error"]
        assert server.is_quiet() and server.workers() == workers and server.echoes()
        if what == "drop-in":
            os.unlink(os.path.join(server.services, "broken.ini"))
        copy_over_plugin(server)
        rewrite(server)
        server.wait_for_lines("ready", 2)
        assert server.echoes()


def failed(server, count):
    return server.wait_for_lines("reload failed", count)[count - 1]["error"]


def test_a_plugin_that_only_a_failed_reload_named_is_watched():
    """The user who drops a broken .so sees the error and replaces it."""
    with Watched() as server:
        new = server.path("new.so")
        server.write(new, "not a plugin")
        server.drop_in("more.ini", service("more", new))
        assert "new.so" in failed(server, 1)
        server.write(new, "still not a plugin")
        assert "new.so" in failed(server, 2)
        shutil.copy(os.path.join(PLUGINS, "echo.so"), new)
        server.serves_as_number(2)
        with server.connect("more") as client:
            assert client.ask(b"hola", 4) == b"hola"
        os.unlink(os.path.join(server.services, "more.ini"))
        server.serves_as_number(3)
        server.write(new, "nobody cares")
        assert server.is_quiet()


def test_a_plugin_may_come_later_than_the_section_that_names_it_and_so_may_its_folders():
    with Watched() as server:
        new = server.path("a", "b", "new.so")
        server.drop_in("more.ini", service("more", new))
        assert "new.so" in failed(server, 1)
        os.mkdir(server.path("a"))
        os.mkdir(server.path("a", "other"))
        assert server.is_quiet()
        os.mkdir(server.path("a", "b"))
        server.write(server.path("a", "b", "other.so"), "nothing of ours")
        assert server.is_quiet()
        shutil.copy(os.path.join(PLUGINS, "echo.so"), new)
        server.serves_as_number(2)
        with server.connect("more") as client:
            assert client.ask(b"hola", 4) == b"hola"


def test_a_folder_of_plugins_that_comes_whole_is_noticed_and_so_is_one_in_its_place():
    with Watched() as server:
        new = server.path("a", "new.so")
        server.drop_in("more.ini", service("more", new))
        assert "new.so" in failed(server, 1)
        for name in ("first", "second"):
            os.mkdir(server.path(name))
            shutil.copy(os.path.join(PLUGINS, "echo.so"), server.path(name, "new.so"))
        os.rename(server.path("first"), server.path("a"))
        server.serves_as_number(2)
        os.rename(server.path("a"), server.path("first"))
        assert "new.so" in failed(server, 2)
        os.rename(server.path("second"), server.path("a"))
        server.serves_as_number(3)
        shutil.rmtree(server.path("a"))
        assert "new.so" in failed(server, 3)
        os.rename(server.path("first"), server.path("a"))
        server.serves_as_number(4)
        shutil.copy(os.path.join(PLUGINS, "echo.so"), new)
        server.serves_as_number(5)


def point(link, target):
    """What `ln -sfn` does."""
    os.symlink(target, link + ".new")
    os.replace(link + ".new", link)


def test_a_plugin_behind_links_is_followed_where_any_of_them_leads_elsewhere():
    with Watched() as server:
        for name in ("one", "two"):
            os.mkdir(server.path(name))
            shutil.copy(os.path.join(PLUGINS, "echo.so"), server.path(name, "echo-1.so"))
            os.symlink("echo-1.so", server.path(name, "echo.so"))
        os.symlink("one", server.path("current"))
        os.symlink(server.path("current"), server.path("linked"))
        server.drop_in("more.ini", service("more", server.path("linked", "echo.so")))
        server.serves(2)
        point(server.path("current"), "two")
        server.serves(3)
        shutil.copy(os.path.join(PLUGINS, "echo.so"), server.path("one", "echo-1.so"))
        assert server.is_quiet()
        shutil.copy(os.path.join(PLUGINS, "echo.so"), server.path("two", "echo-1.so"))
        server.serves(4)
        shutil.copy(os.path.join(PLUGINS, "echo.so"), server.path("two", "echo-2.so"))
        point(server.path("two", "echo.so"), "echo-2.so")
        server.serves(5)
        point(server.path("linked"), server.path("nowhere"))
        assert "echo.so" in failed(server, 1)
        point(server.path("nowhere"), "one")
        server.serves_as_number(6)


def test_files_that_come_as_a_config_map_does_are_followed():
    """The file is a link to ..data/FILE, and ..data one to a folder that is exchanged as a whole."""
    with Watched() as server:
        def publish(name, text):
            os.mkdir(os.path.join(server.services, name))
            server.write(os.path.join(server.services, name, "more.ini"), text)
            point(os.path.join(server.services, "..data"), name)

        publish("..1", service("more", "echo"))
        os.symlink("..data/more.ini", os.path.join(server.services, "more.ini"))
        server.serves(2)
        assert server.endpoints("more")
        publish("..2", service("other", "echo"))
        server.serves(3)
        assert server.endpoints("other") and not server.endpoints("more")
        shutil.rmtree(os.path.join(server.services, "..1"))
        assert server.is_quiet()
        publish("..3", service("more", "echo"))
        server.serves(4)
        assert server.endpoints("more")


def test_a_configuration_behind_a_link_is_followed():
    with Watched() as server:
        server.stop()
        os.mkdir(server.path("first"))
        os.rename(server.file, server.path("first", "enchufe.ini"))
        shutil.copytree(server.path("first"), server.path("second"))
        os.symlink("first", server.path("now"))
        os.symlink("now/enchufe.ini", server.file)
        server.start()
        point(server.path("now"), "second")
        server.wait_for_lines("ready", generation="2")
        server.write(server.path("second", "enchufe.ini"), server.config)
        server.wait_for_lines("ready", generation="3")


def test_links_in_a_circle_are_an_error_and_no_more():
    with Watched() as server:
        os.symlink("b.ini", os.path.join(server.services, "a.ini"))
        os.symlink("a.ini", os.path.join(server.services, "b.ini"))
        server.wait_for_lines("reloading")
        os.unlink(os.path.join(server.services, "a.ini"))
        os.unlink(os.path.join(server.services, "b.ini"))
        server.drop_in("more.ini", service("more", "echo"))
        server.wait_for_log("service=more")
        assert server.echoes()


def test_a_folder_of_services_may_come_later_than_the_pattern_that_includes_it():
    with Watched() as server:
        os.rmdir(server.services)
        server.config = server.config.replace("services/*.ini", "later/*.ini")
        rewrite(server)
        server.serves(2)
        server.services = server.path("later")
        os.mkdir(server.services)
        server.drop_in("more.ini", service("more", "echo"))
        server.serves(3)
        assert server.endpoints("more")


def test_other_files_in_the_same_folders_do_nothing():
    with Watched(keys="log_level = info") as server:
        for path in ("enchufe.ini~", ".enchufe.ini.swp", "4913", "services/notes.txt",
                     "services/.hidden.ini", "plugins/other.so"):
            server.write(server.path(path), "[x]\nnothing of ours\n")
            os.unlink(server.path(path))
        os.mkdir(server.path("folder"))
        assert server.is_quiet()


def test_many_writes_within_half_a_second_are_one_reload():
    with Watched() as server:
        pauses, before = 0, time.monotonic()
        for _ in range(30):
            move_over(server)
            move_over_plugin(server)
            time.sleep(0.02)  # the pace of an editor or a package manager
            now = time.monotonic()
            pauses += now - before > 0.4  # a machine that is busy: the quiet half second may be over
            before = now
        server.wait_for_lines("ready", 2)
        assert server.is_quiet() and len(server.lines("reloading")) <= 1 + pauses


def test_a_change_while_a_reload_is_under_way_is_not_lost():
    with Watched() as server:
        gate = server.path("gate")
        os.mkfifo(gate)
        server.drop_in("slow.ini", service("slow", "slow_start", gate=gate, read_paths=gate))
        server.wait_for_log("slow_start waits")
        server.drop_in("slow.ini", service("more", "echo"))
        with open(gate, "wb"):
            server.wait_for_lines("ready", generation="2")
        server.serves(3)
        assert server.endpoints("more")


def test_nothing_is_watched_unless_asked_for_and_a_reload_begins_or_ends_it():
    with Watched(watch="no") as server:
        rewrite(server)
        assert server.is_quiet()
        os.kill(server.pid, 1)
        server.serves(2)
        server.config = server.config.replace("watch = no", "watch = yes")
        rewrite(server)
        os.kill(server.pid, 1)
        server.serves(3)
        rewrite(server)
        server.serves(4)
        server.config = server.config.replace("watch = yes", "watch = no")
        rewrite(server)
        server.serves(5)
        rewrite(server)
        assert server.is_quiet()


def test_connections_stay_while_files_change():
    with Watched() as server, server.connect("echo") as client:
        server.config = server.config.replace("drain_timeout = 2s", "drain_timeout = 60s")
        rewrite(server)
        server.wait_for_lines("ready", generation="2")
        assert client.ask(b"hola", 4) == b"hola"
        client.socket.close()


def test_the_configuration_may_be_named_without_a_folder():
    with Watched() as server:
        server.stop()
        server.file = "enchufe.ini"
        before = os.getcwd()
        os.chdir(server.directory)
        try:
            server.start()
            rewrite(server)
            server.wait_for_lines("ready", generation="2")
            server.drop_in("more.ini", service("more", "echo"))
            server.wait_for_lines("ready", generation="3")
        finally:
            os.chdir(before)
