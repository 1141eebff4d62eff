"""The programs that ours stands beside, from build/peers or the machine's own."""
import http.client
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import xmlrpc.client

from . import processes
from .daemon import free_ports


def find(root, program):
    """Path of a peer, or None. The unpacked one wins, so that what is compared does not depend on the machine."""
    unpacked = root / "build/peers/bin" / program
    if unpacked.exists():
        return str(unpacked)
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def make_connection(self, host):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(self.path)
        return connection


class Supervisord:
    """`programs`: name -> command. Output of each goes to a file, as ours does."""

    def __init__(self, executable, work_folder, programs):
        self.executable = executable
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="supervisord-", dir=work_folder))
        self.programs = programs
        self.process = None

    def __enter__(self):
        user = "user=root\n" if os.geteuid() == 0 else ""
        lines = [
            f"[supervisord]\n{user}nodaemon=true\nlogfile={self.folder}/log\npidfile={self.folder}/pid\n"
            f"childlogdir={self.folder}\nminfds={min(16000, 1024 + 8 * len(self.programs))}\n",
            f"[unix_http_server]\nfile={self.folder}/socket\n",
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
        ]
        for name, command in self.programs.items():
            lines.append(f"[program:{name}]\ncommand={command}\nautorestart=true\nstartsecs=0\nredirect_stderr=true\n"
                         f"stdout_logfile={self.folder}/{name}.log\n")
        (self.folder / "conf").write_text("\n".join(lines))
        self.process = subprocess.Popen([self.executable, "-c", self.folder / "conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
        return self

    def __exit__(self, *_):
        # Not by its own stop: that waits for every program in turn. The programs come to us as orphans.
        self.process.kill()
        self.process.wait()
        processes.end_orphans()
        processes.delete_later(self.folder)

    def running(self):
        server = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self.folder / "socket"))
        try:
            return sum(1 for one in server.supervisor.getAllProcessInfo() if one["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return 0

    def wait_all_running(self, seconds=300):
        # Counting the children costs it nothing; it is asked only when they are all there.
        count = len(self.programs)
        processes.wait_until(lambda: len(processes.children(self.process.pid)) >= count, "the start of every program",
                             seconds, pause=0.005)
        processes.wait_until(lambda: self.running() == count, "RUNNING of every program", seconds, pause=0.005)


class _Server:
    """A peer that listens on a loopback port. It starts with `command()`, has started once it takes connections, and is gone with
    whatever it had started at the end of the `with` block. What it has to say is in `log`."""

    name = None

    def __init__(self, executable, work_folder):
        self.executable = pathlib.Path(executable)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=work_folder))
        self.log = self.folder / "log"
        (self.port,) = free_ports(1)
        self.process = None

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        try:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            processes.wait_until(self._answers, f"an answer of {self.name}", seconds=10)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text(errors='replace')[-500:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        if self.process:
            others = processes.children(os.getpid())
            processes.end(self.process)
            processes.end_orphans(known=others)  # what it leaves behind comes to us
        processes.delete_later(self.folder)

    @property
    def pids(self):
        return [self.process.pid] + processes.descendants(self.process.pid)


class Nginx(_Server):
    """Serves one text as /reply over TLS, with what makes a static reply cheap turned on."""

    name = "nginx"

    def __init__(self, executable, work_folder, body, certificate, key, root=None, more=""):
        super().__init__(executable, work_folder)
        (self.folder / "reply").write_bytes(body)
        temporaries = root or self.folder
        user = "user root;\n" if os.geteuid() == 0 else ""
        temporary = "".join(f"    {kind}_temp_path {temporaries}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "conf").write_text(f"""{user}daemon off;
worker_processes 1;
pid {self.folder}/pid;
error_log {self.log};
events {{ worker_connections 1024; }}
http {{
{temporary}    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 120s;
    sendfile on;
    tcp_nodelay on;
    {"" if root else "open_file_cache max=16 inactive=600s; open_file_cache_valid 600s;"}
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        root {root or self.folder};
        {more}
    }}
}}
""")

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/reply"

    def command(self):
        return [self.executable, "-p", self.folder, "-c", self.folder / "conf"]


class NginxFiles(Nginx):
    """Serves the files of a folder, and takes more by PUT. What it receives lies on the same file system first."""

    def __init__(self, executable, work_folder, root, certificate, key):
        # Large pieces both ways: what it has by default is for small answers.
        super().__init__(executable, work_folder, b"", certificate, key, root=root,
                         more="dav_methods PUT; client_max_body_size 0; client_body_buffer_size 1m; output_buffers 2 512k;")

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"


class Sshd(_Server):
    """A server for scp on a loopback port, with keys of its own. It wants a user and a folder that the machine may not have, so it
    gets them in a mount namespace of its own: only root can have that."""

    name = "sshd"

    def __init__(self, executable, work_folder):
        super().__init__(executable, work_folder)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        (self.folder / "conf").write_text(f"""Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder}/host
AuthorizedKeysFile {self.folder}/user.pub
PidFile none
StrictModes no
PasswordAuthentication no
UsePAM no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
""")
        passwd = pathlib.Path("/etc/passwd").read_text()
        if "\nsshd:" not in passwd:
            passwd += "sshd:x:65530:65534::/run/sshd:/usr/sbin/nologin\n"
        (self.folder / "passwd").write_text(passwd)

    @staticmethod
    def usable(root):
        """Path of sshd, or None when it cannot be started here."""
        found = find(root, "sshd")
        tools = all(shutil.which(tool) for tool in ("scp", "ssh-keygen", "unshare"))
        return found if found and tools and os.geteuid() == 0 else None

    def command(self):
        script = ('mount --bind "$1" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && shift && exec "$@"')
        return ["unshare", "--mount", "sh", "-c", script, "sh", self.folder / "passwd", self.executable,
                "-D", "-e", "-f", self.folder / "conf"]

    def remote(self, path):
        return f"root@127.0.0.1:{path}"

    def copy(self, source, target):
        subprocess.run(["scp", "-q", "-P", str(self.port), "-i", self.folder / "user", "-F", "none", "-o", "StrictHostKeyChecking=no",
                        "-o", f"UserKnownHostsFile={self.folder}/known", "-o", "LogLevel=ERROR", source, target], check=True, timeout=600)


class NatsServer(_Server):
    """Core NATS with TLS, as it comes: nothing is stored."""

    name = "nats-server"

    def __init__(self, executable, work_folder, certificate, key):
        super().__init__(executable, work_folder)
        (self.folder / "conf").write_text(f"""
listen: "127.0.0.1:{self.port}"
log_file: "{self.log}"
tls {{
  cert_file: "{certificate}"
  key_file: "{key}"
}}
""")

    def command(self):
        return [self.executable, "-c", self.folder / "conf"]
