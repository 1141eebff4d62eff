"""A right is checked as long as it is used: every long request ends soon after its caller loses what it rests on. One table of
long requests and one of losses, each against each; a route that lasts and has no row fails."""
import base64
import contextlib
import http.client
import json
import secrets
import ssl
import time

import msgpack
import pytest
import websocket
from harness import processes
from harness.daemon import Daemon, free_ports
from harness.tcp import TcpClient
from harness.waiting import eventually, stays
from harness.websocket import WebSocketClient

SOON = 15  # seconds until a test gives up; what waits here waits for at least a minute otherwise
TRUST = {"REST_JWT_JWTSalt": "one secret for all daemons of the test", "REST_JWT_Issuer": "mesh"}
FAR = "127.0.0.2"
PASSWORD = "Secret-of-user-1"
FILE_BYTES = 512 * 1024 * 1024  # sparse; more than all buffers between the daemon and a client that does not read

PERMISSIONS = ["app-control", "app-delete", "app-output-view", "app-reg", "app-run-async", "app-run-pty", "app-run-sync",
               "app-run-task", "app-subscribe", "app-view", "app-view-all", "file-download", "file-upload", "passwd-change-self",
               "user-token-renew"]


@pytest.fixture(scope="module")
def pair(homes):
    ports = free_ports(3)
    near = Daemon(homes / "rights-near", ports=ports, REST_ForwardTargets=FAR, **TRUST)
    far = Daemon(homes / "rights-far", ports=ports, REST_RestListenAddress=FAR, **TRUST)
    try:
        yield near.start(), far.start()
    finally:
        near.close()
        far.close()


class Scene:
    """A user of one test, with a role and an app of its own on both daemons; the app is another user's, of the same group."""

    def __init__(self, near, far):
        self.daemon = near
        self.far_daemon = far
        self.key = secrets.token_hex(4)
        self.user, self.mate, self.stranger = (f"{word}-{self.key}" for word in ("user", "mate", "stranger"))
        self.role, self.app, self.own = f"role-{self.key}", f"app-{self.key}", f"own-{self.key}"
        self.admins = [near.client(), far.client()]
        self.admin = self.admins[0]
        for admin in self.admins:
            admin.ok("POST", f"/appmesh/role/{self.role}", body=PERMISSIONS)
            for name, group in ((self.user, "crew"), (self.mate, "crew"), (self.stranger, "others")):
                admin.ok("PUT", f"/appmesh/user/{name}",
                         body={"key": PASSWORD, "group": group, "roles": [self.role], "exec_user": "root"})
        self.mates = [each.client(self.mate, PASSWORD) for each in (near, far)]
        for mate in self.mates:
            self.register(mate)
        self.idle = f"idle-{self.key}"  # gets no task
        self.mates[0].add(self.idle, "sleep 600")
        # A token is good where the user is older than it, to the second.
        eventually(lambda: self.log_in(near, far), "both daemons take the token", interval=0.3)
        self.open_files = contextlib.ExitStack()

    def log_in(self, near, far):
        self.client = near.client(self.user, PASSWORD)
        self.token = self.client.token
        return far.client(login=False).request("GET", "/appmesh/user/self", token=self.token).status == 200

    def register(self, mate, **fields):
        # The group may do everything, others nothing.
        return mate.add(self.app, "sleep 600", **{"permission": 13, **fields})

    def close(self):
        self.open_files.close()
        for admin in self.admins:
            for name in admin.apps():
                if self.key in name:
                    admin.request("DELETE", f"/appmesh/app/{name}", query={"force": "true"})
            for user in (self.user, self.mate, self.stranger):
                admin.request("DELETE", f"/appmesh/user/{user}")
            admin.request("DELETE", f"/appmesh/role/{self.role}")

    def tcp(self):
        client = TcpClient(self.daemon, timeout=SOON)
        self.open_files.callback(client.close)
        client.token = self.token
        return client

    def ws(self):
        client = WebSocketClient(self.daemon, timeout=SOON)
        self.open_files.callback(client.close)
        client.token = self.token
        return client

    def https(self, port=None):
        connection = http.client.HTTPSConnection("127.0.0.1", port or self.daemon.port, timeout=SOON,
                                                 context=ssl.create_default_context(cafile=self.daemon.ca_file))
        self.open_files.callback(connection.close)
        return connection


@pytest.fixture
def scene(pair):
    made = Scene(*pair)
    yield made
    made.close()


# ---- what can be lost; each gives the statuses that a long request may be told

def log_off(scene):
    scene.client.ok("POST", "/appmesh/self/logoff")


def lock(scene):
    scene.admin.ok("POST", f"/appmesh/user/{scene.user}/lock")


def delete_user(scene):
    scene.admin.ok("DELETE", f"/appmesh/user/{scene.user}")


def change_password(scene):
    def coded(text):
        return base64.b64encode(text.encode()).decode()
    scene.client.ok("POST", "/appmesh/user/self/passwd",
                    body={"old_password": coded(PASSWORD), "new_password": coded("Another-secret-2")})


def take_roles(scene):
    scene.admin.ok("PUT", f"/appmesh/user/{scene.user}", body={"group": "crew", "roles": [], "exec_user": "root"})


def empty_role(scene):
    scene.admin.ok("POST", f"/appmesh/role/{scene.role}", body=["label-view"])


def close_app(scene):
    for mate in scene.mates:
        scene.register(mate, permission=11)


def replace_app(scene):
    for mate in scene.mates:
        mate.delete(scene.app)
        scene.register(mate)
    scene.mates[0].delete(scene.idle)


def leave_group(scene):
    for admin in scene.admins:
        admin.ok("PUT", f"/appmesh/user/{scene.user}", body={"group": "others", "roles": [scene.role], "exec_user": "root"})


IDENTITY = {log_off: {401}, lock: {401}, delete_user: {401}, change_password: {401}, take_roles: {403}, empty_role: {403}}
# 417 is what a task is told whose processes have gone.
OF_APP = {close_app: {403}, replace_app: {404, 417}, leave_group: {403}}


# ---- what is long; begin() returns when it is under way, end() tells the status that it was told, "cut" where none can be told

class Waiting:
    """An HTTPS request that has no answer yet."""
    route = losses = None

    def request(self, scene):
        raise NotImplementedError

    def begin(self, scene):
        method, path, body, headers = self.request(scene)
        self.connection = scene.https()
        self.connection.request(method, path, body=body, headers={"Authorization": f"Bearer {scene.token}", **headers})

    def end(self, scene):
        return self.connection.getresponse().status


class WaitingMessage:
    def begin(self, scene):
        method, path, body, headers = self.request(scene)
        path, _, query = path.partition("?")
        self.client = self.open(scene)
        self.id = self.client.send(method, path, query=dict(pair.split("=") for pair in query.split("&") if pair), body=body or b"",
                                   headers=headers)

    def end(self, scene):
        return self.client.receive(self.id).status


class OverTcp(WaitingMessage):
    def open(self, scene):
        return scene.tcp()


class OverWebSocket(WaitingMessage):
    def open(self, scene):
        return scene.ws()


class Output(Waiting):
    route = "GET /appmesh/app/{name}/output"
    losses = {**IDENTITY, **OF_APP}

    def request(self, scene):
        return "GET", f"/appmesh/app/{scene.app}/output?timeout=120", None, {}


class OutputOverTcp(OverTcp, Output):
    pass


class OutputOverWebSocket(OverWebSocket, Output):
    pass


class Task(Waiting):
    route = "POST /appmesh/app/{name}/task"
    losses = {**IDENTITY, **OF_APP}

    def request(self, scene):
        return "POST", f"/appmesh/app/{scene.app}/task?timeout=120", b"work", {}


class TaskOverTcp(OverTcp, Task):
    pass


class SyncRun(Waiting):
    """Its run goes on, as it does when the connection is lost."""
    route = "POST /appmesh/app/syncrun"
    losses = IDENTITY

    def request(self, scene):
        self.name = f"sync-{scene.key}-{id(self)}"
        return "POST", "/appmesh/app/syncrun?timeout=120", json.dumps({"name": self.name, "command": "sleep 600"}), {}

    def begin(self, scene):
        super().begin(scene)
        eventually(lambda: self.runs(scene), "it runs")

    def runs(self, scene):
        answer = scene.admin.request("GET", f"/appmesh/app/{self.name}")
        return answer.status == 200 and "pid" in answer.json

    def end(self, scene):
        status = super().end(scene)
        assert self.runs(scene)
        return status


class SyncRunOverTcp(OverTcp, SyncRun):
    def begin(self, scene):
        OverTcp.begin(self, scene)
        eventually(lambda: self.runs(scene), "it runs")

    def end(self, scene):
        return OverTcp.end(self, scene)


class Forwarded(Output):
    """The near daemon knows the user and what they lost; the far one may not."""
    losses = IDENTITY

    def request(self, scene):
        method, path, body, _ = super().request(scene)
        return method, path, body, {"X-Target-Host": FAR}


class ForwardedToTcp(Forwarded):
    def request(self, scene):
        return *super().request(scene)[:3], {"X-Target-Host": f"{FAR}:{scene.far_daemon.tcp_port}"}


class ForwardedOverTcp(OverTcp, Forwarded):
    pass


class Stream:
    route = "GET /appmesh/events"
    losses = {**IDENTITY, close_app: {403}, leave_group: {403}}

    def query(self, scene):
        return f"?app={scene.app}&events=STATUS"

    def begin(self, scene):
        connection = scene.https()
        connection.request("GET", f"/appmesh/events{self.query(scene)}", headers={"Authorization": f"Bearer {scene.token}"})
        self.response = connection.getresponse()
        assert self.response.status == 200
        assert self.response.readline() == b": subscribed\n"

    def end(self, scene):
        lines = self.response.read().decode().splitlines()
        reason = json.loads(lines[lines.index("event: END") + 1].removeprefix("data: "))["reason"]
        return 403 if "lacks required permission" in reason or "is not allowed" in reason else 401


class StreamOfAll(Stream):
    losses = IDENTITY

    def query(self, scene):
        return "?events=STATUS"


class Subscription:
    route = "POST /appmesh/app/{name}/subscribe"
    losses = {**IDENTITY, close_app: {403}, leave_group: {403}}

    def open(self, scene):
        return scene.tcp()

    def place(self, scene):
        return f"/appmesh/app/{scene.app}/subscribe"

    def begin(self, scene):
        self.client = self.open(scene)
        self.id = self.client.ok("POST", self.place(scene), query={"events": "STATUS"}).json["subscription_id"]

    def end(self, scene):
        message = msgpack.unpackb(self.client.receive_message(), raw=False)
        body = json.loads(message["body"])
        assert (message["request_uri"], body["event_type"], body["subscription_id"]) == ("/appmesh/event", "END", self.id)
        assert body["data"]["status"] == message["http_status"]
        # It was the last one.
        scene.admin.disable(scene.app)
        scene.admin.enable(scene.app)
        self.client.ok("GET", f"/appmesh/app/{scene.app}/health", token=None)
        assert self.client.pushed == []
        return message["http_status"]


class SubscriptionOverWebSocket(Subscription):
    def open(self, scene):
        return scene.ws()


class SubscriptionToAll(Subscription):
    route = "POST /appmesh/subscribe"
    losses = IDENTITY

    def place(self, scene):
        return "/appmesh/subscribe"


class SubscriptionOfRegistration(Subscription):
    route = "PUT /appmesh/app/{name}"
    losses = IDENTITY

    def begin(self, scene):
        self.client = self.open(scene)
        self.id = self.client.ok("PUT", f"/appmesh/app/{scene.own}", query={"subscribe_events": "HEALTH"},
                                 body={"name": scene.own, "command": "sleep 600", "status": 0}).json["subscription_id"]


class Terminal:
    """The shell is ended with everything in it."""
    route = "GET /appmesh/pty"
    losses = IDENTITY

    def query(self, scene):
        return "command=sleep%20600"

    def begin(self, scene):
        self.socket = websocket.create_connection(
            f"wss://127.0.0.1:{scene.daemon.port}/appmesh/pty?{self.query(scene)}", timeout=SOON, subprotocols=["appmesh-pty"],
            header=[f"Authorization: Bearer {scene.token}"],
            sslopt={"context": ssl.create_default_context(cafile=scene.daemon.ca_file)})
        scene.open_files.callback(self.socket.close)
        self.name = json.loads(self.socket.recv())["name"]
        assert self.name in scene.admin.apps()

    def end(self, scene):
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                break
        assert int.from_bytes(data[:2]) == 1008
        eventually(lambda: self.name not in scene.admin.apps(), "its run is ended")
        actions = [entry["record"] for entry in scene.admin.ok("GET", "/appmesh/audit").json]
        assert any(record["action"] == "shell taken from its user" and record["app"] == self.name for record in actions)
        reason = data[2:].decode()
        return 403 if "lacks required permission" in reason else 401


class Upload:
    """Nothing of the file stays."""
    route = "POST /appmesh/file/upload"
    losses = IDENTITY
    path = "/appmesh/file/upload"
    cut = False

    def folder(self, scene):
        folder = scene.daemon.home / "work" / "tmp" / f"{type(self).__name__}-{scene.key}"
        folder.mkdir(exist_ok=True)
        return folder

    def begin(self, scene):
        target = self.folder(scene) / "file"
        self.send(scene, self.authorization(scene, target), target)
        eventually(lambda: self.is_open(scene), "the file is being written")

    def is_open(self, scene):
        """It has no name until it is complete."""
        return any(str(self.folder(scene)) in target for target in processes.descriptors(scene.daemon.pid))

    def authorization(self, scene, target):
        return f"Bearer {scene.token}"

    def send(self, scene, authorization, target):
        self.connection = scene.https()
        self.connection.putrequest("POST", self.path)
        for name, value in (("Authorization", authorization), ("X-File-Path", str(target)),
                            ("Content-Length", str(8 << 20)), ("Content-Type", "application/octet-stream")):
            self.connection.putheader(name, value)
        self.connection.endheaders(b"x" * (1 << 20))

    def end(self, scene):
        status = self.connection.getresponse().status
        self.nothing_stays(scene)
        return status

    def nothing_stays(self, scene):
        eventually(lambda: not self.is_open(scene) and not list(self.folder(scene).iterdir()), "nothing of it stays")


class UploadWithToken(Upload):
    route = "POST /appmesh/file/upload/ws"
    path = "/appmesh/file/upload/ws"

    def authorization(self, scene, target):
        return scene.ws().ok("POST", "/appmesh/file/upload", headers={"X-File-Path": str(target)}).headers["authorization"]


class UploadOverTcp(Upload):
    """Nothing can be said between the frames: the connection ends."""

    def send(self, scene, authorization, target):
        self.client = scene.tcp()
        self.client.ok("POST", "/appmesh/file/upload", headers={"X-File-Path": str(target), "X-Send-File-Socket": "true"})
        self.client.send_message(b"x" * 16128)

    def end(self, scene):
        assert self.client.is_closed()
        self.nothing_stays(scene)
        return "cut"


class Download:
    route = "GET /appmesh/file/download"
    losses = IDENTITY
    path = "/appmesh/file/download"

    def begin(self, scene):
        source = scene.daemon.home / "work" / "tmp" / f"large-{scene.key}"
        with source.open("wb") as file:
            file.truncate(FILE_BYTES)
        scene.open_files.callback(lambda: source.unlink(missing_ok=True))
        self.receive(scene, self.authorization(scene, source), source)

    def authorization(self, scene, source):
        return f"Bearer {scene.token}"

    def receive(self, scene, authorization, source):
        connection = scene.https()
        connection.request("GET", self.path, headers={"Authorization": authorization, "X-File-Path": str(source)})
        self.response = connection.getresponse()
        assert self.response.status == 200
        self.response.read(1)

    def end(self, scene):
        time.sleep(0.5)  # nothing is read until the daemon has noticed: it is stuck in a write
        received = 0
        with contextlib.suppress(http.client.IncompleteRead, OSError):
            while more := self.response.read(1 << 20):
                received += len(more)
        assert received < FILE_BYTES - 1
        return "cut"


class DownloadWithToken(Download):
    route = "GET /appmesh/file/download/ws"
    path = "/appmesh/file/download/ws"

    def authorization(self, scene, source):
        return scene.ws().ok("GET", "/appmesh/file/download", headers={"X-File-Path": str(source)}).headers["authorization"]


class ForwardedDownload(Download):
    def begin(self, scene):
        self.home = scene.far_daemon.home
        source = self.home / "work" / "tmp" / f"far-{scene.key}"
        with source.open("wb") as file:
            file.truncate(FILE_BYTES)
        scene.open_files.callback(lambda: source.unlink(missing_ok=True))
        connection = scene.https()
        connection.request("GET", self.path, headers={"Authorization": f"Bearer {scene.token}", "X-File-Path": str(source),
                                                      "X-Target-Host": FAR})
        self.response = connection.getresponse()
        assert self.response.status == 200
        self.response.read(1)


class DownloadOverTcp(Download):
    def receive(self, scene, authorization, source):
        self.client = scene.tcp()
        self.client.ok("GET", "/appmesh/file/download", headers={"X-File-Path": str(source), "X-Recv-File-Socket": "true"})
        self.client.receive_frame()

    def end(self, scene):
        time.sleep(0.5)
        received = 0
        with contextlib.suppress(OSError):
            while more := self.client.socket.recv(1 << 20):
                received += len(more)
        assert received < FILE_BYTES
        return "cut"


class Fetch:
    """A worker is known by its process key and by nothing else: that ends with its run."""
    route = "GET /appmesh/app/{name}/task"
    losses = {replace_app: {417}}

    def begin(self, scene):
        eventually(lambda: scene.admin.app(scene.idle).get("pid"), "it runs")
        pid = scene.admin.app(scene.idle)["pid"]
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = dict(pair.split(b"=", 1) for pair in file.read().split(b"\0") if b"=" in pair)
        self.client = scene.tcp()
        self.id = self.client.send("GET", f"/appmesh/app/{scene.idle}/task", token=None,
                                   query={"process_key": environment[b"APP_MESH_PROCESS_KEY"].decode()})

    def end(self, scene):
        return self.client.receive(self.id).status


ROWS = [Output, OutputOverTcp, OutputOverWebSocket, Task, TaskOverTcp, SyncRun, SyncRunOverTcp, Forwarded, ForwardedToTcp,
        ForwardedOverTcp, Stream, StreamOfAll, Subscription, SubscriptionOverWebSocket, SubscriptionToAll,
        SubscriptionOfRegistration, Terminal, Upload, UploadWithToken, UploadOverTcp, Download, DownloadWithToken,
        ForwardedDownload, DownloadOverTcp, Fetch]


def routes_that_last(client):
    lasting, path, method = set(), None, None
    for line in client.ok("GET", "/openapi.yaml").text.splitlines():
        if line.startswith('  "/'):
            path = line.strip().rstrip(":").strip('"')
        elif line.startswith("    ") and line[4] != " ":
            method = line.strip().rstrip(":").upper()
        elif line.strip() == "x-lasts: true":
            lasting.add(f"{method} {path}")
    return lasting


def test_every_route_that_lasts_has_a_row(pair):
    assert routes_that_last(pair[0].client()) == {row.route for row in ROWS}


@pytest.mark.parametrize("loss", [*IDENTITY, *OF_APP], ids=lambda loss: loss.__name__)
def test_what_is_long_ends_when_its_caller_loses(loss, scene):
    eventually(lambda: all(admin.app(scene.app).get("pid") for admin in scene.admins), "the app runs")
    rows = [row() for row in ROWS if loss in row.losses]
    run = scene.client.run(name=f"async-{scene.key}", command="sleep 600").json["name"]
    for row in rows:
        row.begin(scene)
    time.sleep(0.3)  # each has reached where it waits
    loss(scene)
    problems = []
    for row in rows:
        try:
            told = row.end(scene)
            if told != "cut" and told not in row.losses[loss]:
                problems.append(f"{type(row).__name__} was told {told}")
        except (Exception, pytest.fail.Exception) as problem:  # every row is looked at
            problems.append(f"{type(row).__name__}: {type(problem).__name__} {problem}")
    assert not problems
    assert scene.admin.app(run)["pid"], "a run that nobody waits for goes on"


@pytest.mark.parametrize("loss", [log_off, lock, empty_role], ids=lambda loss: loss.__name__)
def test_a_shell_that_was_attached_again_ends_too(loss, homes):
    daemon = Daemon(homes / f"attached-{loss.__name__}")
    try:
        daemon.start()
        scene = Scene(daemon, daemon)
        first = Terminal()
        first.begin(scene)
        daemon.kill()
        daemon.start()
        scene.admins = [daemon.client()] * 2
        scene.admin = scene.admins[0]
        scene.client = daemon.client(scene.user, PASSWORD)
        scene.token = scene.client.token

        class Attached(Terminal):
            def query(self, scene):
                return f"attach={first.name}"
        again = Attached()
        again.begin(scene)
        loss(scene)
        assert again.end(scene) in again.losses[loss]
        scene.close()
    finally:
        daemon.close()


def test_what_others_lose_ends_nothing(scene):
    subscription, stream, output = Subscription(), Stream(), Output()
    for row in (subscription, stream, output):
        row.begin(scene)
    other = scene.daemon.client(scene.stranger, PASSWORD)
    other.add(f"other-{scene.key}", "sleep 600")
    other.delete(f"other-{scene.key}")
    other.ok("POST", "/appmesh/self/logoff")
    scene.admin.ok("POST", f"/appmesh/user/{scene.stranger}/lock")
    scene.register(scene.mates[0], description="another one")
    scene.admin.disable(scene.app)
    assert json.loads(msgpack.unpackb(subscription.client.receive_message(), raw=False)["body"])["event_type"] == "STATUS"
    while not (line := stream.response.readline()).startswith(b"event"):
        pass
    assert line == b"event: STATUS\n"
    assert output.end(scene) == 200, "the run has ended"


def test_a_renewed_token_takes_what_is_long_along(scene):
    subscription, stream, task = Subscription(), Stream(), Task()
    for row in (subscription, stream, task):
        row.begin(scene)
    renewed = scene.client.ok("POST", "/appmesh/token/renew", headers={"X-Refresh-Token-Request": "true"}).json
    refreshed = scene.client.ok("POST", "/appmesh/token/renew", token=False,
                                headers={"Authorization": f"Bearer {renewed['access_token']}",
                                         "X-Refresh-Token": renewed["refresh_token"]}).json
    scene.admin.disable(scene.app)
    scene.admin.enable(scene.app)
    assert json.loads(msgpack.unpackb(subscription.client.receive_message(), raw=False)["body"])["event_type"] == "STATUS"
    while not (line := stream.response.readline()).startswith(b"event"):
        pass
    assert line == b"event: STATUS\n"
    scene.client.token = refreshed["access_token"]
    scene.client.ok("POST", "/appmesh/self/logoff")
    while (message := json.loads(msgpack.unpackb(subscription.client.receive_message(), raw=False)["body"]))["event_type"] != "END":
        pass
    assert message["data"]["status"] == 401
    assert b"event: END" in stream.response.read()


# ---- pages of other sites

@pytest.mark.parametrize("port,what", [("ws_port", "messages"), *((port, what) for port in ("port", "ws_port")
                                                                  for what in ("shell", "events", "output"))])
def test_a_page_of_another_site_gets_nothing_that_goes_on(what, port, scene):
    number = getattr(scene.daemon, port)
    paths = {"shell": "/appmesh/pty", "messages": "/", "events": f"/appmesh/events?app={scene.app}",
             "output": f"/appmesh/app/{scene.app}/output?timeout=1"}

    def status(**headers):
        connection = scene.https(number)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode()}
        protocols = {"shell": "appmesh-pty", "messages": "appmesh-ws"}
        if what in protocols:
            headers |= upgrade | {"Sec-WebSocket-Protocol": protocols[what]}
        connection.request("GET", paths[what], headers=headers)
        response = connection.getresponse()
        return response.status
    cookie = {"Cookie": f"appmesh_auth_token={scene.token}"}
    good = 101 if what in ("shell", "messages") else 200
    assert status(**cookie, Origin="https://evil.example") == 403
    assert status(**cookie, Origin=f"https://127.0.0.1:{number + 1}") == 403, "the same host, another port"
    assert status(**cookie, Origin="null") == 403
    assert status(**cookie, Origin=f"https://127.0.0.1:{number}") == good
    assert status(**cookie) == good, "programs send no Origin"
    assert status(Authorization=f"Bearer {scene.token}", Origin="https://evil.example") == good, "no page can send this header"


# ---- waits that nobody waits for

def test_waits_of_a_peer_that_left_are_given_back(scene):
    """5,000 abandoned polls, more than a user may have at once, one connection after the other."""
    for _ in range(10):
        client = scene.tcp()
        for _ in range(500):
            client.send("GET", f"/appmesh/app/{scene.app}/output", query={"timeout": 300})
        client.ok("GET", f"/appmesh/app/{scene.app}/health", token=None)
        client.close()
    last = scene.tcp()
    answer = last.request("GET", f"/appmesh/app/{scene.app}/output", query={"timeout": 1})
    assert answer.status == 200


def test_a_user_has_a_limit_of_waits_and_others_do_not_feel_it(scene):
    clients, asked = [], []
    for _ in range(5):
        client = scene.tcp()
        clients.append(client)
        asked.append([client.send("GET", f"/appmesh/app/{scene.app}/output", query={"timeout": 300}) for _ in range(900)])
    refused = clients[-1].receive(asked[-1][-1])
    assert refused.status == 503 and scene.user in refused.text
    mate = scene.tcp()
    mate.token = scene.mates[0].token
    assert mate.request("GET", f"/appmesh/app/{scene.app}/output", query={"timeout": 1}).status == 200
    assert scene.client.app(scene.app)["name"] == scene.app, "what is short has no such limit"


def test_no_poll_waits_longer_than_five_minutes(scene):
    """An hour is not refused but cut, so that clients who ask for it simply ask again."""
    assert stays_open(scene, timeout=3600)


def stays_open(scene, timeout):
    client = scene.tcp()
    asked = client.send("GET", f"/appmesh/app/{scene.app}/output", query={"timeout": timeout})
    client.ok("GET", f"/appmesh/app/{scene.app}/health", token=None)
    stays(lambda: asked not in client._early, "it waits", seconds=0.5)
    client.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.receive(asked)
    return True
