"""A disk that takes nothing: whoever asks for a change is told 507, and nothing has changed, in the daemon, among the
processes and for the next daemon. The home lies on a small file system of its own, in a mount namespace of its own."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from harness import processes
from harness.client import Client
from harness.daemon import ROOT, Daemon
from harness.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class SmallDisk:
    """A daemon whose home is a tmpfs that nobody else sees; it is there until the last process of the namespace ends."""

    def __init__(self, home):
        home.mkdir(parents=True)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-e", "-c", f"mount -t tmpfs -o size=24m,mode=755 small {home}; echo ready; exec sleep 100000"],
            stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.root = pathlib.Path(f"/proc/{self.holder.pid}/root{home}")
        self.daemon = Daemon(home, BaseConfig_StopGraceSeconds=1)
        self.daemon.launcher = ["nsenter", "--mount", "--target", str(self.holder.pid)]
        self.daemon.client = self.client

    def client(self, user="admin", password="Admin-for-tests-1", login=True, timeout=60):
        client = Client(self.daemon.port, str(self.root / "ssl/ca.pem"), timeout=timeout)
        if login:
            client.login(user, password)
        return client

    @contextlib.contextmanager
    def full(self):
        filler = os.open(self.root / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while os.write(filler, b"x" * size):
                        pass
            yield
        finally:
            os.close(filler)
            (self.root / "filler").unlink()

    def restart(self):
        self.daemon.kill()
        self.daemon.start()

    def close(self):
        self.daemon.close()
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def small(homes, request):
    disk = SmallDisk(homes / f"small-{os.urandom(4).hex()}")
    try:
        disk.daemon.start()
        yield disk
    finally:
        disk.close()


def put(client, name, **fields):
    return client.request("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "sleep 100000", **fields})


def passwords(old, new):
    import base64
    return {"old_password": base64.b64encode(old.encode()).decode(), "new_password": base64.b64encode(new.encode()).decode()}


# Route: what asks for it. `c` is the administrator, `u` a user of its own. The request must be refused with 507.
REFUSED = {
    "PUT /appmesh/app/{name}": [
        lambda c, u: put(c, "new"),
        lambda c, u: put(c, "runs", description="another"),
        lambda c, u: put(c, "runs", command="sleep 200000"),
        lambda c, u: put(c, "runs", status=0),
        lambda c, u: put(c, "rests", status=1),
        lambda c, u: put(c, "many", command="sleep 200000", instances=2),
    ],
    "POST /appmesh/app/{name}/disable": [lambda c, u: c.request("POST", "/appmesh/app/runs/disable"),
                                         lambda c, u: c.request("POST", "/appmesh/app/many/disable")],
    "POST /appmesh/app/{name}/enable": [lambda c, u: c.request("POST", "/appmesh/app/rests/enable")],
    "POST /appmesh/app/{name}/restart": [lambda c, u: c.request("POST", "/appmesh/app/runs/restart"),
                                         lambda c, u: c.request("POST", "/appmesh/app/many/restart")],
    "POST /appmesh/app/{name}/owner": [lambda c, u: c.request("POST", "/appmesh/app/runs/owner", query={"user": "old"})],
    "POST /appmesh/app/run": [lambda c, u: c.run(name="job2", command="sleep 100000")],
    "POST /appmesh/config": [lambda c, u: c.request("POST", "/appmesh/config", body={"BaseConfig": {"Description": "new"}})],
    "PUT /appmesh/label/{name}": [lambda c, u: c.request("PUT", "/appmesh/label/new", query={"value": "v"})],
    "DELETE /appmesh/label/{name}": [lambda c, u: c.request("DELETE", "/appmesh/label/old")],
    "POST /appmesh/role/{name}": [lambda c, u: c.request("POST", "/appmesh/role/new", body=["app-view"])],
    "DELETE /appmesh/role/{name}": [lambda c, u: c.request("DELETE", "/appmesh/role/old")],
    "PUT /appmesh/user/{name}": [lambda c, u: c.request("PUT", "/appmesh/user/new", body={"key": "Secret-of-new-1"})],
    "DELETE /appmesh/user/{name}": [lambda c, u: c.request("DELETE", "/appmesh/user/old")],
    "POST /appmesh/user/{name}/lock": [lambda c, u: c.request("POST", "/appmesh/user/old/lock")],
    "POST /appmesh/user/{name}/unlock": [lambda c, u: c.request("POST", "/appmesh/user/locked/unlock")],
    "POST /appmesh/user/{name}/passwd": [
        lambda c, u: u.request("POST", "/appmesh/user/self/passwd", body=passwords("Secret-of-old-1", "Another-one-1"))],
    "POST /appmesh/totp/secret": [lambda c, u: u.request("POST", "/appmesh/totp/secret")],
    "POST /appmesh/self/logoff": [lambda c, u: u.request("POST", "/appmesh/self/logoff")],
    "POST /appmesh/token/renew": [lambda c, u: u.request("POST", "/appmesh/token/renew")],
    "POST /appmesh/file/upload": [
        lambda c, u: c.request("POST", "/appmesh/file/upload", body=b"x" * 100_000,
                               headers={"X-File-Path": "new-file", "Content-Type": "application/octet-stream"})],
    # An on-demand run goes with its row; of a registered app a removal needs no room.
    "DELETE /appmesh/app/{name}": [lambda c, u: c.request("DELETE", "/appmesh/app/job")],
}
# Write nothing that outlives the request, or use what another row has tried (why).
NOT_WRITING = {
    "POST /appmesh/app/syncrun",  # its row is for the case that the daemon dies meanwhile
    "POST /appmesh/login", "POST /appmesh/auth", "POST /appmesh/schedule/preview",
    "POST /appmesh/app/{name}/task", "PUT /appmesh/app/{name}/task", "DELETE /appmesh/app/{name}/task",
    "POST /appmesh/app/{name}/subscribe", "DELETE /appmesh/app/{name}/subscribe", "POST /appmesh/subscribe",
    "DELETE /appmesh/subscribe",
    "POST /appmesh/file/upload/ws",  # the same writer as file/upload, with a token of the WebSocket
    "POST /appmesh/totp/setup", "POST /appmesh/totp/validate", "POST /appmesh/totp/{user}/disable",  # users file, as secret
}


def routes():
    path = None
    for line in (ROOT / "docs/openapi.yaml").read_text().splitlines():
        if found := re.match(r"^  ['\"]?(/[^:'\"]*)['\"]?:", line):
            path = found[1]
        if found := re.match(r"^    (post|put|delete|patch):", line):
            yield f"{found[1].upper()} {path}"


def test_every_route_that_writes_is_tried():
    assert set(routes()) == set(REFUSED) | NOT_WRITING


VOLATILE = {"memory", "cpu", "fd", "pstree", "stdout_cache_size", "last_error"}


def picture(client, user):
    """All that a user can see of what the requests would change."""
    apps = {name: {key: value for key, value in app.items() if key not in VOLATILE} for name, app in client.apps().items()}
    return {
        "apps": apps, "labels": client.ok("GET", "/appmesh/labels").json, "users": client.ok("GET", "/appmesh/users").json,
        "roles": client.ok("GET", "/appmesh/roles").json, "config": client.ok("GET", "/appmesh/config").json,
        "token of the user": user.request("GET", "/appmesh/user/self").status,
    }


def make_room_for_nothing(small):
    """What the requests of REFUSED find."""
    admin = small.client()
    admin.add("runs", "sleep 100000", behavior={"exit": "keepalive"})
    admin.add("rests", "sleep 100000", status=0)
    admin.add("many", "sleep 100000", instances=2)
    assert admin.run(name="job", command="sleep 100000").status == 200
    admin.ok("PUT", "/appmesh/label/old", query={"value": "v"})
    admin.ok("POST", "/appmesh/role/old", body=["app-view"])
    for name in ("old", "locked"):
        admin.ok("PUT", f"/appmesh/user/{name}", body={"key": f"Secret-of-{name}-1", "roles": ["view"]})
    user = small.client("old", "Secret-of-old-1")
    admin.ok("POST", "/appmesh/user/locked/lock")
    eventually(lambda: all(admin.apps()[name].get("pid") for name in ("runs", "many", "job")), "all run")
    eventually(lambda: all(run.get("pid") for run in admin.app("many")["runs"]), "all instances too")
    return admin, user


@pytest.mark.timeout(900)
def test_on_a_full_disk_every_change_is_refused_and_none_is_made(small):
    admin, user = make_room_for_nothing(small)
    admin.runs("runs")  # everything of before is written
    with small.full():
        before = picture(admin, user)
        for route, requests in REFUSED.items():
            for number, ask in enumerate(requests):
                answer = ask(admin, user)
                assert answer.status == 507, f"{route}, request {number}: {answer}"
                assert picture(admin, user) == before, f"{route}, request {number}"
        assert admin.request("GET", "/appmesh/app/runs/runs").status == 200, "reads go on"
        answer = admin.syncrun(command="true")
        assert answer.status == 507 or (answer.status == 200 and answer.headers["X-Exit-Code"] == "0"), answer
        small.restart()
        assert picture(admin, user) == before, "nor has the next daemon heard of it"
    small.restart()
    assert picture(admin, user) == before, "nor the one after, with room again"
    for route, requests in REFUSED.items():
        if route.startswith("PUT /appmesh/app"):
            assert requests[1](admin, user).status == 200, "with room again the same is done"
    assert admin.app("runs")["description"] == "another"


def codes(client, name):
    return [run.get("return_code") for run in client.runs(name)]


def test_an_exit_on_a_full_disk_keeps_its_code(small):
    admin = small.client()
    for number in range(5):
        admin.add(f"ends{number}", f"while [ ! -e {small.daemon.home}/gate ]; do sleep 0.05; done; exit {40 + number}", shell=True)
    eventually(lambda: all(app.get("pid") for app in admin.apps().values()), "all run")
    gate = small.root / "gate"
    gate.touch()
    gate.unlink()
    with small.full():
        for number in range(5):
            assert admin.request("POST", f"/appmesh/app/ends{number}/disable").status == 507
        # The last block is for the gate.
        with open(small.root / "filler", "r+b") as filler:
            filler.truncate(filler.seek(0, 2) - 4096)
        gate.touch()
        eventually(lambda: all(app.get("return_code") for app in admin.apps().values()), "all have ended")
    eventually(lambda: all(codes(admin, f"ends{n}") == [40 + n] for n in range(5)), "the history has each")
    small.restart()
    for number in range(5):
        assert admin.app(f"ends{number}")["return_code"] == 40 + number
        assert codes(admin, f"ends{number}") == [40 + number]


def test_an_exit_and_a_kill_of_the_daemon_on_a_full_disk_keep_the_code(small):
    admin = small.client()
    admin.add("ends", "trap 'exit 44' USR1; while :; do sleep 0.05; done", shell=True)
    pid = eventually(lambda: admin.app("ends").get("pid"), "it runs")
    time.sleep(0.2)
    with small.full():
        processes.kill_exactly(pid, lambda each: True, signal.SIGUSR1)
        eventually(lambda: admin.app("ends").get("return_code") == 44, "it has ended")
        small.restart()
        eventually(lambda: admin.app("ends").get("return_code") == 44, "the next daemon knows as well")
    eventually(lambda: codes(admin, "ends") == [44], "and so does the history, with room again")


def test_a_folder_that_became_read_only_refuses_and_changes_nothing(small):
    admin, user = make_room_for_nothing(small)
    apps = small.daemon.home / "work/apps"
    inside = ["nsenter", "--mount", "--target", str(small.holder.pid)]
    subprocess.run([*inside, "mount", "--bind", apps, apps], check=True)
    subprocess.run([*inside, "mount", "-o", "remount,bind,ro", apps], check=True)
    before = picture(admin, user)
    for route in ("PUT /appmesh/app/{name}", "POST /appmesh/app/{name}/disable", "POST /appmesh/app/{name}/enable"):
        for ask in REFUSED[route]:
            answer = ask(admin, user)
            assert answer.status == 500 and "request" in answer.message.lower(), answer
    assert admin.request("DELETE", "/appmesh/app/runs").status == 500
    assert picture(admin, user) == before
    small.restart()
    assert picture(admin, user) == before, "what cannot be written can be read"
    subprocess.run([*inside, "umount", apps], check=True)
    assert put(admin, "new").status == 200
