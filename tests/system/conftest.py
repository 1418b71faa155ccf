"""What all system tests share: where they run, and how long one may take."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import processes  # noqa: E402
import server  # noqa: E402
import settings  # noqa: E402


def pytest_configure(config):
    processes.guard_kill()
    config.addinivalue_line("markers", "timeout(seconds): how long one test may take")
    config.addinivalue_line("markers", "soak: has a full length, which `make soak` runs")
    if not os.access(settings.ENCHUFE, os.X_OK):
        pytest.exit(f"{settings.ENCHUFE} is not there: run `make` first, or say where with ENCHUFE", 2)


def pytest_collection_modifyitems(items):
    """No test waits for ever, even where a check forgot its own deadline."""
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(settings.soak(120, 1800) * settings.SLOWER))


class AsNobody:
    """Runs the server as a user without rights, from a copy that this user can read."""

    uid = 65534

    def __init__(self, directory):
        self.directory = directory
        self.binary = self._copy(settings.ENCHUFE, "enchufe")

    def _copy(self, path, name):
        target = os.path.join(self.directory, name)
        if not os.path.exists(target):
            shutil.copyfile(path, target)
            os.chmod(target, 0o755)
        return target

    def plugin(self, name):
        for path in (settings.plugin_path(name), os.path.join(settings.PLUGINS, name + ".so")):
            if os.path.exists(path):
                return self._copy(path, name + ".so")
        raise FileNotFoundError(name)

    def write(self, config):
        """A configuration that the user can read. Returns its path."""
        file = os.path.join(self.directory, "enchufe.ini")
        with open(file, "w", encoding="utf-8") as out:
            out.write(config.replace("{dir}", self.directory))
        os.chmod(file, 0o644)
        return file

    def run(self, *args):
        """Runs `enchufe ARGS` to its end, as server.run() does."""
        return subprocess.run([self.binary, *args], user=self.uid, group=self.uid, extra_groups=[],
                              capture_output=True, text=True, check=False,
                              timeout=settings.DEADLINE, env=server.environment(),
                              cwd=self.directory)

    def server(self, config, **keys):
        return server.Server(config, binary=self.binary, uid=self.uid, **keys)


@pytest.fixture
def shared_path():
    """Like tmp_path, and the server's workers may use it as well."""
    with tempfile.TemporaryDirectory(prefix="enchufe-") as directory:
        server.share_with_workers(directory)
        yield pathlib.Path(directory)


@pytest.fixture
def as_nobody():
    """Needs root, which alone can become somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="enchufe-") as directory:
        os.chmod(directory, 0o755)
        yield AsNobody(directory)
