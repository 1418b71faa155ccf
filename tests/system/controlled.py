"""A server with a control socket of its own, whose configuration changes while it runs.

    with Controlled(service("echo")) as server:
        server.write(service("echo") + service("hola"))
        assert "generation 2 serves" in server.reload()
"""

import json
import os
import signal
import shutil
import subprocess

from client import Client, socket_address
from processes import process_lives
from server import Server, environment, run
from settings import PLUGINS, plugin_path, wait_until

# One line for each connection would be most of the work under load.
QUIET = {"log_level": "warning"}


def whole_config(services, settings):
    keys = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return f"[server]\ncontrol = {{dir}}/control.sock\n{keys}{services}"


class Controlled(Server):
    """`server` is what the section [server] says besides the path of the control socket; `plugins` are
    copied into the server's directory first: {"mine.so": "echo"}."""

    def __init__(self, services, server=None, plugins=None, **keys):
        self.settings = dict(server or {})
        super().__init__(whole_config(services, self.settings), **keys)
        self.control = os.path.join(self.directory, "control.sock")
        for target, name in (plugins or {}).items():
            copy_plugin(name, self.path(target))

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, services, **settings):
        """A new configuration; what [server] said stays unless it is said anew."""
        self.settings.update(settings)
        self.write_text(whole_config(services, self.settings))

    def write_text(self, text):
        self.config = text.replace("{dir}", self.directory)
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(self.config)

    def command(self, *words, **keys):
        return run(*words, "--control", self.control, **keys)

    def reload(self, status=0):
        """Reloads. Returns what was printed: on success where it belongs, or else the errors."""
        done = self.command("reload")
        assert done.returncode == status, f"{done}\n{self.log()[-4000:]}"
        silent = done.stderr if status == 0 else done.stdout
        assert silent == "", done
        self.workers()
        return done.stdout if status == 0 else done.stderr

    def reload_in_background(self):
        return subprocess.Popen([self.binary, "reload", "--control", self.control], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def status(self):
        done = self.command("status", "--json")
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def service_status(self, name):
        return next(service for service in self.status()["services"] if service["name"] == name)

    def generations(self):
        return {g["state"]: g for g in self.status()["generations"]}

    def with_workers(self):
        """How many generations have workers."""
        return sum(bool(g["workers"]) for g in self.status()["generations"])

    def wait_for_generation(self, number=None):
        """Until that generation, or whichever, serves alone."""
        def alone():
            generations = self.status()["generations"]
            return (len(generations) == 1 and number in (None, generations[0]["number"]) and
                    generations[0])
        return wait_until(alone, f"generation {number or ''} serves alone")

    def wait_for_waiting(self, number=None):
        """Until that generation, or whichever, was found right and waits."""
        def waiting():
            found = self.generations().get("waiting")
            return found if found and number in (None, found["number"]) else None
        return wait_until(waiting, f"generation {number or ''} waits")

    def serving_pids(self):
        """Of workers that run: one that waits for its next start has none."""
        return sorted(w["pid"] for w in self.generations()["serving"]["workers"] if w["pid"])

    # As it is now, while endpoints() tells what the log of the start said.

    def endpoint_now(self, service, kind=None):
        found = self.service_status(service)["endpoints"]
        return next(endpoint for endpoint in found if kind is None or endpoint.startswith(kind + ":"))

    def connect_now(self, service, kind=None):
        return Client(*socket_address(self.endpoint_now(service, kind)))

    def left_over(self):
        """Processes beside the master and the workers that the status shows."""
        shown = {worker["pid"] for g in self.status()["generations"] for worker in g["workers"]}
        return [pid for pid in self.workers() if pid not in shown and process_lives(pid)]


def built_plugin(name):
    path = plugin_path(name)
    return path if os.path.exists(path) else os.path.join(PLUGINS, name + ".so")


def copy_plugin(name, target):
    """What `cp` does: the same file, with other bytes."""
    shutil.copyfile(built_plugin(name), target)


def is_refused(endpoint):
    try:
        Client(*socket_address(endpoint)).socket.close()
        return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True
