"""A published Python client, unchanged, against our daemon. Prints one JSON line a step; test_python.py reads them.

  smoke.py --list VERSION                     the steps that this version has
  smoke.py HTTPS TCP WSS CA_FILE PASSWORD SCRATCH
"""

import base64
import contextlib
import http.client
import io
import json
import os
import pathlib
import ssl
import stat
import sys
import threading
import time
import traceback

STEPS = ("login", "run sync", "run async and wait", "file round trip", "worker and run_task", "subscribe")


def number(version):
    return tuple(int(part) for part in version.split("."))


def transports(version):
    return ("https", "tcp") if number(version) < (2, 1) else ("https", "tcp", "wss")


def steps(version):
    for transport in transports(version):
        for step in STEPS:
            if step == "subscribe" and (transport == "https" or number(version) < (2, 2)):
                continue
            if step == "worker and run_task" and number(version) < (1, 6):
                continue  # its worker was part of the daemon's packages; test_old_workers.py speaks as it did
            yield f"{transport}: {step}"


def eventually(check, what):
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.02)


class Published:
    """The differences in names between versions, in one place."""

    def __init__(self, version, place):
        import appmesh

        self.sdk = appmesh
        self.old = version.startswith("1.")
        self.rest = number(version) < (2, 1, 7)  # arguments are called rest_*
        self.tls = "rest_ssl_verify" if number(version) < (2, 1) else "ssl_verify"
        # They look for a client certificate of an installation unless they are told that there is none.
        name = self.tls.replace("verify", "client_cert")
        self.no_certificate = {name: None} if (2, 0) <= number(version) < (2, 1, 7) else {}
        self.tokens = not hasattr(appmesh.AppMeshClient, "login")  # since 3.0 a token comes from elsewhere
        self.place = place

    def client(self, transport):
        ports, ca = self.place["ports"], self.place["ca"]
        verify = self.tls
        if transport == "https":
            url = {("rest_url" if self.rest else "base_url"): f"https://127.0.0.1:{ports['https']}"}
            return self.sdk.AppMeshClient(**url, **{verify: ca}, **self.no_certificate)
        if transport == "tcp":
            return self.sdk.AppMeshClientTCP(tcp_address=("127.0.0.1", ports["tcp"]), **{verify: ca})
        return self.sdk.AppMeshClientWSS(wss_address=("127.0.0.1", ports["wss"]), **{verify: ca})

    def worker(self, transport):
        ports, ca = self.place["ports"], self.place["ca"]
        verify = self.tls
        kind = "AppMeshWorker" if hasattr(self.sdk, "AppMeshWorker") else "AppMeshServer"
        if transport == "https":
            url = {("rest_url" if self.rest else "base_url"): f"https://127.0.0.1:{ports['https']}"}
            return getattr(self.sdk, kind)(**url, **{verify: ca}, **self.no_certificate)
        if transport == "tcp":
            return getattr(self.sdk, kind + "TCP")(tcp_address=("127.0.0.1", ports["tcp"]), **{verify: ca})
        return getattr(self.sdk, kind + "WSS")(wss_address=("127.0.0.1", ports["wss"]), **{verify: ca})

    def login(self, client):
        if self.tokens:
            client.set_bearer_token(self.place["token"]())
        else:
            client.login("admin", self.place["password"])

    def run_sync(self, client, command):
        app = self.sdk.App({"command": command, "shell": True})
        if self.old:
            return client.run_app_sync(app, stdout_print=False)
        return client.run_app_sync(app)

    def wait(self, client, run):
        """(exit code, output)"""
        seen, printed = [], io.StringIO()
        with contextlib.redirect_stdout(printed):
            # The first ones print, later ones call; 2.x over HTTPS prints although it is given a function.
            code = run.wait(stdout_print=True) if self.old else run.wait(lambda text, position: seen.append(text))
        return code, ("".join(seen) or printed.getvalue()).strip()

    def list_apps(self, client):
        return client.view_all_apps() if self.old else client.list_apps()

    def output(self, client, name):
        return client.get_app_output(name).output.strip()

    def upload_options(self):
        return {("apply_file_attributes" if self.old else "preserve_permissions"): True}

    def download_options(self):
        # Up to 2.1.6 the owner must be a number; 1.x fails on anything else.
        return self.upload_options()


class Walk:
    """The steps over one transport."""

    def __init__(self, published, transport, scratch):
        self.published = published
        self.transport = transport
        self.scratch = pathlib.Path(scratch) / f"{transport}-{os.getpid()}"
        self.scratch.mkdir()
        self.client = published.client(transport)

    def login(self):
        self.published.login(self.client)
        assert isinstance(self.published.list_apps(self.client), list)
        if not self.published.tokens:
            user = self.client.view_self() if self.published.old else self.client.get_current_user()
            assert user["name"] == "admin", user
            stranger = self.published.client(self.transport)
            try:
                stranger.login("admin", "wrong")
            except Exception as error:
                assert type(error).__name__ != "AttributeError", error
            else:
                raise AssertionError("a wrong password was taken")

    def run_sync(self):
        assert self.published.run_sync(self.client, "echo héllo; exit 7") == (7, "héllo\n")

    def run_async_and_wait(self):
        command = "for i in a b c; do echo $i; sleep 0.2; done; exit 3"
        run = self.client.run_app_async(self.published.sdk.App({"command": command, "shell": True}))
        assert self.published.wait(self.client, run) == (3, "a\nb\nc")

    def file_round_trip(self):
        # A client of its own: 2.x and 3.x cannot move files over a connection that has received events.
        self.client = self.published.client(self.transport)
        self.published.login(self.client)
        source, remote, back = (self.scratch / name for name in ("source", "remote", "back"))
        content = os.urandom(200_003)
        source.write_bytes(content)
        source.chmod(0o640)
        self.client.upload_file(str(source), str(remote), **self.published.upload_options())
        # Over TCP the end of an upload is not acknowledged: the next answer means that it is done.
        self.published.list_apps(self.client)
        assert remote.read_bytes() == content
        self.client.download_file(str(remote), str(back), **self.published.download_options())
        assert back.read_bytes() == content
        for path in (remote, back):
            assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())
            assert stat.S_IMODE(path.stat().st_mode) == 0o640, oct(path.stat().st_mode)

    def worker_and_run_task(self):
        name = f"interop-{self.transport}-{os.getpid()}"
        fields = {"name": name, "command": "echo $APP_MESH_PROCESS_KEY; sleep 1000", "shell": True}
        self.client.add_app(self.published.sdk.App(fields))
        eventually(lambda: self.published.output(self.client, name), "the key of the process")
        os.environ["APP_MESH_PROCESS_KEY"] = self.published.output(self.client, name)
        os.environ["APP_MESH_APPLICATION_NAME"] = name
        worker = self.published.worker(self.transport)
        fetch = getattr(worker, "fetch_task", None) or worker.task_fetch
        give = getattr(worker, "send_task_result", None) or worker.task_return
        problems = []

        def work():
            try:
                for _ in range(3):
                    payload = fetch()
                    give((payload if isinstance(payload, str) else bytes(payload).decode()).upper())
            except BaseException:
                problems.append(traceback.format_exc())

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        for text in ("one", "two words", "três"):
            answer = self.client.run_task(name, text, timeout=20)
            assert answer == text.upper(), (answer, problems)
        thread.join(20)
        assert not problems, problems[0]
        assert self.client.delete_app(name)

    def subscribe(self):
        name = f"interop-event-{self.transport}-{os.getpid()}"
        seen = []
        fields = {"name": name, "command": "echo event", "shell": True}
        added = self.client.add_app(
            self.published.sdk.App(fields), subscribe_events=["START", "STDOUT", "EXIT"], callback=seen.append
        )
        assert added.subscription_id
        eventually(lambda: any(event.event_type == "EXIT" for event in seen), "its EXIT event")
        kinds = [event.event_type for event in seen]
        assert kinds[0] == "START" and "STDOUT" in kinds and kinds[-1] == "EXIT", kinds
        result = self.client.subscribe(name, ["REMOVED"], callback=seen.append)
        assert result.subscription_id and result.events == ["REMOVED"], result
        self.client.delete_app(name)
        eventually(lambda: any(event.event_type == "REMOVED" for event in seen), "its REMOVED event")
        everything = self.client.subscribe("*", None, callback=seen.append)
        self.client.unsubscribe(everything.subscription_id)


def get_token(place):
    """What a program that uses a 3.x client has to do by itself."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", place["ports"]["https"], context=ssl.create_default_context(cafile=place["ca"])
    )
    credentials = base64.b64encode(f"admin:{place['password']}".encode()).decode()
    connection.request("POST", "/appmesh/login", headers={"Authorization": f"Basic {credentials}"})
    return json.loads(connection.getresponse().read())["access_token"]


def main():
    if sys.argv[1] == "--list":
        print("\n".join(steps(sys.argv[2])))
        return
    https, tcp, wss, ca, password, scratch = sys.argv[1:]
    from importlib.metadata import version

    place = {"ports": {"https": int(https), "tcp": int(tcp), "wss": int(wss)}, "ca": ca, "password": password}
    place["token"] = lambda: get_token(place)
    published = Published(version("appmesh"), place)
    wanted = list(steps(version("appmesh")))
    say = os.fdopen(os.dup(1), "w", buffering=1)  # what the client prints must not mix with the lines
    for transport in transports(version("appmesh")):
        try:
            walk = Walk(published, transport, scratch)
        except Exception:
            say.write(json.dumps({"step": f"{transport}: login", "ok": False, "detail": traceback.format_exc()}) + "\n")
            continue
        for step in STEPS:
            name = f"{transport}: {step}"
            if name not in wanted:
                continue
            problem = ""
            finished = threading.Event()

            def take(step=step):
                nonlocal problem
                try:
                    getattr(walk, step.replace(" ", "_"))()
                except BaseException:
                    problem = traceback.format_exc()
                finished.set()

            threading.Thread(target=take, daemon=True).start()
            if not finished.wait(40):
                problem = "did not end within 40 s"
            say.write(json.dumps({"step": name, "ok": not problem, "detail": problem}) + "\n")
    say.flush()
    os._exit(0)  # a step that hangs must not keep the program


if __name__ == "__main__":
    main()
