"""A daemon of ours in a home of its own, on free ports, that is gone with its apps at the end of the `with` block."""
import base64
import http.client
import json
import os
import pathlib
import secrets
import socket
import ssl
import subprocess
import tempfile

from . import processes


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Daemon:
    def __init__(self, bin_folder, work_folder):
        self.bin = pathlib.Path(bin_folder)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="home-", dir=work_folder))
        self.port, self.tcp_port, self.websocket_port = free_ports(3)
        self.password = secrets.token_hex(16)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("APPMESH_")}
        self.environment |= {
            "APPMESH_ADMIN_PASSWORD": self.password,
            "APPMESH_REST_RestListenPort": str(self.port),
            "APPMESH_REST_RestTcpPort": str(self.tcp_port),
            "APPMESH_REST_WebSocketPort": str(self.websocket_port),
        }
        self.token = None
        self.connection = None
        self.process = None
        self.cgroups = set()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self):
        return self.home / "ssl/ca.pem"

    def __enter__(self):
        log = open(self.home / "output.log", "wb")
        with log:
            self.process = subprocess.Popen([self.bin / "appsvc", "--home", self.home], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment, cwd=self.home)
        try:
            processes.wait_until(self._log_in, "a login to the daemon", seconds=30)
        except BaseException:
            tail = (self.home / "output.log").read_text(errors="replace")[-2000:]
            self.__exit__()
            raise RuntimeError(f"the daemon did not come up; it said:\n{tail}")
        return self

    def __exit__(self, *_):
        self._note_cgroups()
        if self.connection:
            self.connection.close()
        if self.process:
            processes.end(self.process)
        processes.end_orphans()
        for folder in self.cgroups:
            for below in [one for one in folder.glob("*") if one.is_dir()] + [folder]:
                try:
                    below.rmdir()
                except OSError:
                    pass
        processes.delete_later(self.home)

    def _log_in(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self.process.returncode}")
        if not self.ca.exists():
            return False
        try:
            self.connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=60, context=ssl.create_default_context(cafile=str(self.ca)))
            basic = base64.b64encode(f"admin:{self.password}".encode()).decode()
            status, body = self._exchange("POST", "/appmesh/login", None, {"Authorization": f"Basic {basic}"})
        except (OSError, http.client.HTTPException):
            return False
        if status != 200:
            raise RuntimeError(f"login was answered with {status}: {body[:200]}")
        self.token = json.loads(body)["access_token"]
        return True

    def _exchange(self, method, path, body, headers):
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def call(self, method, path, document=None):
        """Body of the answer, which must be a success."""
        body = None if document is None else json.dumps(document)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        status, answer = self._exchange(method, path, body, headers)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]}")
        return answer

    def add_app(self, name, command, **fields):
        return json.loads(self.call("PUT", f"/appmesh/app/{name}", {"name": name, "command": command} | fields))

    @property
    def keeper(self):
        """Pid of the keeper: below the daemon, or our child when it has detached itself."""
        for pid in processes.descendants(self.process.pid) + processes.children(os.getpid()):
            if processes.name(pid) == "appkeeper":
                return pid
        raise RuntimeError("no appkeeper runs")

    @property
    def pids(self):
        return [self.process.pid, self.keeper]

    def load(self, program, *arguments, timeout=600, url=None):
        """Runs a load program against this daemon and returns the JSON that it prints."""
        done = subprocess.run([self.bin / program, "--url", url or self.url, "--ca", self.ca, *map(str, arguments)],
                              env=os.environ | {"APPMESH_BENCH_TOKEN": self.token}, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)

    def _note_cgroups(self):
        """The daemon leaves its cgroups behind with the apps. Ours are the parents of the cgroups that the apps are in."""
        try:
            if not processes.children(self.keeper):  # no app left that could show them
                self.add_app("cgroup-probe", "/bin/sleep 600")
                processes.wait_until(lambda: processes.children(self.keeper), "the start of an app", seconds=5)
            apps = processes.children(self.keeper)[:3]
        except (RuntimeError, OSError, http.client.HTTPException):
            return
        for pid in apps:
            try:
                lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                controllers, path = line.split(":", 2)[1:]
                parts = pathlib.PurePosixPath(path).parts
                for index, part in enumerate(parts):
                    if part.startswith("appmesh"):
                        below = pathlib.Path(*parts[1:index + 1])
                        for mount in pathlib.Path("/sys/fs/cgroup").glob("*"):
                            if (mount / below).is_dir():
                                self.cgroups.add(mount / below)
                        if (pathlib.Path("/sys/fs/cgroup") / below).is_dir():
                            self.cgroups.add(pathlib.Path("/sys/fs/cgroup") / below)
                        break
