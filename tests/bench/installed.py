"""Peers from the system's packages, and the configuration that each is measured with."""

import os
import shutil

from candidates import Candidate, LIMIT, Running
from machine import free_port, wait_for_port


class Installed(Candidate):
    program = ""
    services = ("echo",)

    def path(self):
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def available(self, setting):
        return self.path() is not None

    def launch(self, setting, args, stack, on):
        log = stack.enter_context(open(os.path.join(setting.directory, self.name + ".log"), "w",
                                       encoding="utf-8"))
        return stack.enter_context(setting.process([self.path(), *args], on, output=log))

    @staticmethod
    def serving(port, process, kind="tcp", **keys):
        wait_for_port(port, process, kind)
        return Running(port, process, **keys)


class Xinetd(Installed):
    name = program = "xinetd"
    title = "xinetd, its own echo"
    services = ("echo", "udp")
    most = 50   # each connection is a process

    def start(self, setting, workload, stack, on=None):
        stream = workload.service == "echo"
        port = free_port("tcp" if stream else "udp")
        text = ("defaults\n{\n instances = UNLIMITED\n per_source = UNLIMITED\n cps = 1000000 1\n}\n"
                "service echo\n{\n type = INTERNAL UNLISTED\n id = bench\n bind = 127.0.0.1\n"
                f" socket_type = {'stream' if stream else 'dgram'}\n"
                f" protocol = {'tcp' if stream else 'udp'}\n"
                f" wait = {'no' if stream else 'yes'}\n port = {port}\n user = root\n}}\n")
        process = self.launch(setting, ["-dontfork", "-pidfile", setting.file("xinetd.pid"), "-f",
                                        setting.file("xinetd.conf", text)], stack, on)
        return self.serving(port, process, "tcp" if stream else "udp")


class Proxy(Installed):
    """Passes on to a bare echo, whose time is not counted."""

    most = 1000

    def start(self, setting, workload, stack, on=None):
        behind = LIMIT.start(setting, workload, stack, on)
        port = free_port()
        process = self.launch(setting, self.arguments(setting, port, behind.port), stack, on)
        return self.serving(port, process, helpers=[behind.server])

    def arguments(self, setting, port, behind):
        raise NotImplementedError


class Nginx(Proxy):
    name = program = "nginx"
    title = "nginx, stream proxy"

    def arguments(self, setting, port, behind):
        module = "/usr/lib/nginx/modules/ngx_stream_module.so"
        load = f"load_module {module};\n" if os.path.exists(module) else ""
        text = (f"{load}daemon off;\nworker_processes 1;\npid {setting.directory}/nginx.pid;\n"
                f"error_log {setting.directory}/nginx.error error;\n"
                "worker_rlimit_nofile 20000;\nevents {\n worker_connections 10000;\n}\n"
                f"stream {{\n server {{\n  listen 127.0.0.1:{port} backlog=4096;\n"
                f"  proxy_pass 127.0.0.1:{behind};\n }}\n}}\n")
        return ["-p", setting.directory, "-c", setting.file("nginx.conf", text)]


class Haproxy(Proxy):
    name = program = "haproxy"
    title = "HAProxy, TCP proxy"

    def arguments(self, setting, port, behind):
        text = ("global\n nbthread 1\n maxconn 5000\ndefaults\n mode tcp\n timeout connect 5s\n"
                " timeout client 1m\n timeout server 1m\n"
                f"listen bench\n bind 127.0.0.1:{port} backlog 4096\n"
                f" server bare 127.0.0.1:{behind}\n")
        return ["-db", "-f", setting.file("haproxy.cfg", text)]


class Socat(Installed):
    name = program = "socat"
    title = "socat, fork and PIPE"
    most = 50   # each connection is a process

    def start(self, setting, workload, stack, on=None):
        port = free_port()
        listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=4096"
        return self.serving(port, self.launch(setting, [listen, "PIPE"], stack, on))


class Redis(Installed):
    name, program = "redis", "redis-server"
    title = "redis, PING"
    services = ("hola",)

    def start(self, setting, workload, stack, on=None):
        port = free_port()
        process = self.launch(setting, ["--port", port, "--bind", "127.0.0.1", "--save", "",
                                        "--appendonly", "no", "--dir", setting.directory,
                                        "--tcp-backlog", "4096", "--maxclients", "15000"],
                              stack, on)
        return self.serving(port, process, protocol="ping")


INSTALLED = [Nginx(), Haproxy(), Redis(), Socat(), Xinetd()]
