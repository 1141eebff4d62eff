"""A small HTTPS server that answers the routes of the wire contract which appc uses, with real TLS and real processes.

It exists so that the client can be tested apart from the daemon, and made to misbehave on purpose (see `script`).
"""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


def make_certificates(folder: Path, names: str) -> None:
    """A CA (ca.pem) and a server certificate (server.pem, server-key.pem) for the subjectAltName given."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    folder.mkdir(parents=True, exist_ok=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA")
    openssl("req", *ec, "-keyout", "server-key.pem", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "san").write_text(f"subjectAltName={names}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-out", "server.pem", "-days", "2", "-extfile", "san")


class Run:
    """One process whose output goes to a file."""

    def __init__(self, command: str, env: dict):
        self.uuid = uuid.uuid4().hex
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["/bin/bash", "-c", command], stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=self.output, env={**os.environ, **env}, start_new_session=True)
        self.pid = self.process.pid

    def code(self):
        return self.process.poll()

    def read(self, position: int) -> bytes:
        return os.pread(self.output.fileno(), 3 << 20, position)

    def stop(self):
        if self.code() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class FakeDaemon:
    PASSWORD = "secret:with:colons"

    def __init__(self, ssl_folder: Path, port: int = 0, host: str = "127.0.0.1"):
        self.apps = {}
        self.runs = {}  # app name -> list of Run, newest first
        self.labels = {"arch": "x86_64"}
        self.tokens = set()
        self.requests = []  # (method, path, headers, body)
        self.connections = 0
        self.streams = []
        self.script = {}  # (method, path) -> function(handler) that answers in its own way
        self.lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ssl_folder / "server.pem", ssl_folder / "server-key.pem")
        daemon = self

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def finish_request(self, request, client_address):
                request.settimeout(30)
                with context.wrap_socket(request, server_side=True) as stream:
                    daemon.connections += 1
                    daemon.streams.append(stream)
                    super().finish_request(stream, client_address)
                    try:
                        stream.unwrap()
                    except (OSError, ssl.SSLError):
                        pass

            def handle_error(self, request, client_address):
                pass

        self.server = Server((host, port), self.handler())
        self.port = self.server.server_address[1]
        self.url = f"https://{'[' + host + ']' if ':' in host else host}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self, keep_runs: bool = False):
        self.server.shutdown()
        self.server.server_close()
        for stream in self.streams:  # as a daemon that dies: whoever waits notices
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if not keep_runs:
            for runs in self.runs.values():
                for run in runs:
                    run.stop()

    def start_run(self, name: str, command: str, env=None) -> Run:
        run = Run(command, env or {})
        with self.lock:
            self.runs.setdefault(name, []).insert(0, run)
        return run

    def asked(self, method: str, path: str):
        return [request for request in self.requests if request[0] == method and urlsplit(request[1]).path == path]

    def view(self, name: str) -> dict:
        app = dict(self.apps[name])
        runs = self.runs.get(name, [])
        app.update(starts=len(runs), health=1, register_time=app.get("register_time", int(time.time()) - 90))
        if runs and runs[0].code() is None:
            app.update(pid=runs[0].pid, health=0, last_start_time=int(time.time()) - 5)
        elif runs:
            app.update(return_code=runs[0].code())
        return app

    def handler(daemon):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self, status, body, headers=None):
                data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, str(value))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def fail(self, status, message):
                self.answer(status, {"message": message})

            def serve(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                daemon.requests.append((self.command, self.path, dict(self.headers), self.body))
                url = urlsplit(self.path)
                self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
                if scripted := daemon.script.get((self.command, url.path)):
                    return scripted(self)
                if url.path == "/appmesh/login":
                    return self.login()
                if url.path == "/appmesh/metrics":
                    return self.answer(200, "appmesh_process_id 1\n")
                if self.headers.get("Authorization", "").removeprefix("Bearer ") not in daemon.tokens:
                    return self.fail(401, "No authentication token provided")
                return self.route(self.command, [unquote(part) for part in url.path.split("/")[2:]])

            do_GET = do_POST = do_PUT = do_DELETE = serve

            def login(self):
                given = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                if given == f"totp:{daemon.PASSWORD}" and not self.headers.get("X-Totp-Code"):
                    return self.answer(428, {"status": "TOTP_CHALLENGE_REQUIRED", "totp_challenge": "H1", "expires": 1})
                if given not in (f"admin:{daemon.PASSWORD}", f"totp:{daemon.PASSWORD}"):
                    return self.fail(401, "Incorrect user name or password")
                claims = {"sub": given.split(":")[0], "aud": "appmesh-service", "iat": int(time.time()),
                          "exp": int(time.time()) + int(self.headers.get("X-Expire-Seconds", 604800)),
                          "jti": uuid.uuid4().hex}
                payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
                token = f"e30.{payload}.c2ln"
                daemon.tokens.add(token)
                return self.answer(200, {"access_token": token, "token_type": "Bearer"})

            def route(self, method, path):
                if path == ["self", "logoff"]:
                    daemon.tokens.discard(self.headers["Authorization"].removeprefix("Bearer "))
                    return self.answer(200, "")
                if path == ["applications"]:
                    return self.answer(200, [daemon.view(name) for name in daemon.apps])
                if path == ["labels"]:
                    return self.answer(200, daemon.labels)
                if path[0] == "label" and method == "PUT":
                    daemon.labels[path[1]] = self.query["value"]
                    return self.answer(200, "Add label success")
                if path[0] == "label" and method == "DELETE":
                    daemon.labels.pop(path[1], None)
                    return self.answer(200, "Label delete success")
                if path == ["config"]:
                    return self.answer(200, json.loads(self.body) if method == "POST" else {"BaseConfig": {}})
                if path[:2] == ["user", "self"] and method == "GET":
                    return self.answer(200, {"name": "admin", "roles": ["manage"]})
                if path == ["users"]:
                    return self.answer(200, {"admin": {"name": "admin", "roles": ["manage"]}})
                if path[0] == "user":
                    return self.answer(200, "success")
                if path[:2] == ["app", "run"] or path[:2] == ["app", "syncrun"]:
                    return self.run(path[1] == "syncrun")
                if path[0] == "app" and method == "PUT":
                    app = json.loads(self.body)
                    daemon.apps[app["name"]] = {"owner": "admin", "status": 1, **app}
                    return self.answer(200, daemon.view(app["name"]))
                if path[0] == "app":
                    if path[1] not in daemon.apps:
                        return self.fail(404, f"No such application {path[1]}")
                    return self.app(method, path[1], path[2] if len(path) > 2 else "")
                return self.fail(404, f"Path not found {method}:{self.path}")

            def run(self, sync):
                app = json.loads(self.body)
                name = app["name"]
                if name in daemon.apps:
                    app["command"] = daemon.apps[name]["command"]
                    name = f"{name}_1"
                daemon.apps[name] = {"owner": "admin", **app, "name": name, "status": 2, "register_time": int(time.time())}
                run = daemon.start_run(name, app["command"], app.get("env"))
                if not sync:
                    return self.answer(200, {"name": name, "process_uuid": run.uuid})
                run.process.wait()
                daemon.apps.pop(name, None)
                return self.answer(200, run.read(0), {"X-Exit-Code": run.code()})

            def app(self, method, name, action):
                runs = daemon.runs.get(name, [])
                if method == "GET" and action == "":
                    return self.answer(200, daemon.view(name))
                if method == "DELETE":
                    daemon.apps.pop(name)
                    for run in daemon.runs.pop(name, []):
                        run.stop()
                    return self.answer(200, {"message": f"Application {name} removed."})
                if method == "POST":
                    daemon.apps[name]["status"] = 0 if action == "disable" else 1
                    return self.answer(200, {"message": f"{action.capitalize()} {name} success."})
                if action == "runs":
                    return self.answer(200, [{"process_uuid": run.uuid, "pid": run.pid} for run in runs])
                if action == "output":
                    return self.output(runs)
                return self.fail(404, "Path not found")

            def output(self, runs):
                index = int(self.query.get("stdout_index", 0))
                position = int(self.query.get("stdout_position", 0))
                wanted = self.query.get("process_uuid")
                if index >= len(runs):
                    return self.answer(200 if index == 0 else 417, "")
                run = runs[index]
                if index == 0 and wanted and wanted != run.uuid:
                    return self.answer(417, "")
                end = time.time() + int(self.query.get("timeout", 0))
                done = run.code() is not None
                text = run.read(position)
                while not text and not done and time.time() < end:
                    time.sleep(0.01)
                    done = run.code() is not None
                    text = run.read(position)
                headers = {"X-Output-Position": position + len(text)}
                if done and index == 0:
                    headers["X-Exit-Code"] = run.code()
                return self.answer(200, text, headers)

        return Handler
