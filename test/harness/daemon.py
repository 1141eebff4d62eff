"""A real appsvc in a home of its own, on ports of its own, with everything it started ended at the end."""
import os
import pathlib
import random
import secrets
import signal
import socket
import ssl
import subprocess

from . import processes
from .client import Client
from .waiting import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
ADMIN_PASSWORD = "Admin-for-tests-1"


def binaries():
    return pathlib.Path(os.environ.get("APPMESH_BIN", ROOT / "build/release/bin")).resolve()


def free_ports(count):
    """Ports below the ephemeral range, so that no outgoing connection takes one while the daemon is down."""
    ports, holders = [], []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20000, 32000)
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        holders.append(holder)
        ports.append(port)
    for holder in holders:
        holder.close()
    return ports


def in_own_mounts(script):
    """A launcher that runs a shell script in a mount namespace of its own, and in it the program."""
    return ["unshare", "--mount", "sh", "-e", "-c", f'{script}\nexec "$@"', "sh"]


class Daemon:
    def __init__(self, home, ports=None, **settings):
        """ports: (REST, TCP, WebSocket), else three free ones. settings become APPMESH_<key> in its environment, say
        BaseConfig_StopGraceSeconds=1; None removes one."""
        self.home = pathlib.Path(home)
        self.token = secrets.token_hex(8)
        self.port, self.tcp_port, self.ws_port = ports or free_ports(3)
        self.address = settings.get("REST_RestListenAddress", "127.0.0.1")
        self.process = None
        self.launcher = []  # put before the program: see in_own_mounts()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("APPMESH_")}
        self.environment[processes.TOKEN_VARIABLE] = self.token
        defaults = {
            "REST_RestListenPort": self.port, "REST_RestTcpPort": self.tcp_port, "REST_WebSocketPort": self.ws_port,
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
        }
        for key, value in {**defaults, **settings}.items():
            if value is not None:
                self.environment[f"APPMESH_{key}"] = str(value)

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"https://{self.address}:{self.port}"

    @property
    def ca_file(self):
        return str(self.home / "ssl/ca.pem")

    def start(self, wait=True):
        assert self.process is None or self.process.poll() is not None, "it still runs"
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / "daemon.out", "ab") as output:
            self.process = subprocess.Popen(
                [*self.launcher, binaries() / "appsvc", "--home", self.home], env=self.environment, cwd="/", stdin=subprocess.DEVNULL,
                stdout=output, stderr=output)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def answers():
            assert self.process.poll() is None, f"appsvc ended with {self.process.returncode}:\n{self.log_tail()}"
            try:
                client = self.client(login=False)
                return client.request("GET", "/appmesh/app/nobody/health").status == 404
            except (OSError, ssl.SSLError):
                return False
        try:
            eventually(answers, "the daemon answers", timeout=60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def client(self, user="admin", password=ADMIN_PASSWORD, login=True, timeout=60):
        client = Client(self.port, self.ca_file, timeout=timeout, address=self.address)
        if login:
            client.login(user, password)
        return client

    def kill(self):
        """SIGKILL of the daemon alone."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks the daemon to end; apps and keeper stay. Returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def keeper_pid(self):
        return processes.keeper_of(self.home)

    def kill_keeper(self):
        pid = self.keeper_pid()
        assert pid, "no keeper to kill"
        processes.kill_exactly(pid, lambda each: processes.program(each) == "appkeeper")
        eventually(lambda: not processes.alive(pid), "the keeper is gone")
        return pid

    def processes_of(self, name):
        return processes.of_app(self.token, name)

    def log_tail(self, lines=40):
        text = ""
        for file in ("daemon.out", "work/server.log", "run/keeper.log"):
            try:
                tail = (self.home / file).read_text(errors="replace").splitlines()[-lines:]
                text += f"--- {file}\n" + "\n".join(tail) + "\n"
            except OSError:
                pass
        return text

    def close(self):
        """Ends the daemon, the keeper and every app, by pid."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        keeper = self.keeper_pid()
        if keeper:
            for pid, born in [(pid, processes.start_ticks(pid)) for pid in processes.descendants(keeper)]:
                processes.kill_exactly(pid, lambda each, born=born: processes.start_ticks(each) == born)
            processes.kill_exactly(keeper, lambda pid: processes.program(pid) == "appkeeper")
        mark = self.token

        def none_left():
            left = processes.marked(mark)
            for pid in left:
                processes.kill_exactly(
                    pid, lambda each: processes.environment(each).get(processes.TOKEN_VARIABLE) == mark, signal.SIGKILL)
            return not left
        eventually(none_left, "every process of this daemon is gone", interval=0.05)
