"""GET /appmesh/events: the same events for browsers, as Server-Sent Events over HTTPS."""
import json

import pytest
from harness.waiting import eventually


class Stream:
    """One text/event-stream: status at once, then events."""

    def __init__(self, client, query="", headers=None):
        self.connection = client.connect()
        headers = {"Accept": "text/event-stream", **({"Authorization": f"Bearer {client.token}"} if headers is None else headers)}
        self.connection.request("GET", f"/appmesh/events{query}", headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def close(self):
        self.response.close()
        self.connection.close()

    def block(self):
        """The lines up to an empty one; None at the end."""
        lines = []
        while True:
            line = self.response.readline()
            if not line:
                return None
            line = line.decode().rstrip("\n")
            if not line:
                return lines
            lines.append(line)

    def next(self):
        """(type, id, data) of the next event, None at the end."""
        while True:
            lines = self.block()
            if lines is None:
                return None
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if fields:
                return fields["event"], fields.get("id"), json.loads(fields["data"])


@pytest.fixture
def stream(admin):
    made = []

    def make(query="", **options):
        made.append(Stream(admin, query, **options))
        return made[-1]
    yield make
    for each in made:
        each.close()


def test_a_run_is_streamed_from_start_to_exit(admin, stream, name, cleaned):
    cleaned.append(name)
    admin.add(name, "echo hello; exit 4", shell=True, status=0)
    events = stream(f"?app={name}&events=START,STDOUT,EXIT")
    assert events.status == 200
    assert events.response.headers["Content-Type"] == "text/event-stream"
    assert "no-store" in events.response.headers["Cache-Control"]
    admin.enable(name)
    told = [events.next()]
    while told[-1][0] != "EXIT":
        told.append(events.next())
    assert [kind for kind, _, _ in told][0] == "START"
    assert "".join(data["data"]["output"] for kind, _, data in told if kind == "STDOUT") == "hello\n"
    assert told[-1][2]["data"]["exit_code"] == 4
    for kind, number, data in told:
        assert data["event_type"] == kind and str(data["sequence"]) == number and data["app_name"] == name


def test_the_stream_ends_when_its_last_app_is_removed(admin, stream, name):
    for suffix in ("a", "b"):
        admin.add(f"{name}-{suffix}", "sleep 600", status=0)
    events = stream(f"?app={name}-a,{name}-b&events=REMOVED")
    admin.delete(f"{name}-a")
    assert events.next()[2]["app_name"] == f"{name}-a"
    admin.delete(f"{name}-b")
    assert events.next()[2]["app_name"] == f"{name}-b"
    kind, _, data = events.next()
    assert kind == "END" and "removed" in data["reason"]
    assert events.next() is None


def test_without_an_app_all_are_streamed(admin, stream, name, cleaned):
    events = stream("?events=STATUS,REMOVED")
    assert events.status == 200
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    admin.enable(name)
    while True:
        kind, _, data = events.next()
        if data["app_name"] == name:
            break
    assert kind == "STATUS"


def test_who_may_listen(admin, daemon, stream, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    assert stream("?app=no-such-app").status == 404
    assert stream(f"?app={name}&events=NONSENSE").status == 400
    assert stream(f"?app={name}", headers={}).status == 401
    assert stream(f"?app={name}", headers={"Cookie": f"appmesh_auth_token={admin.token}"}).status == 200, "as browsers do"
    admin.ok("PUT", "/appmesh/user/listener", body={"key": "Secret-of-user-1", "roles": ["manage"], "group": "x"})
    listener = daemon.client("listener", "Secret-of-user-1")
    token = {"Authorization": f"Bearer {listener.token}"}
    assert stream(f"?app={name}", headers=token).status == 200
    assert stream("", headers=token).status == 403
    admin.ok("PUT", "/appmesh/user/seer", body={"key": "Secret-of-user-1", "roles": ["view"], "group": "x"})
    seer = daemon.client("seer", "Secret-of-user-1")
    assert stream(f"?app={name}", headers={"Authorization": f"Bearer {seer.token}"}).status == 403


def test_a_reader_that_leaves_costs_nothing_more(admin, stream, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    for _ in range(20):
        stream(f"?app={name}").close()
    stays = stream(f"?app={name}&events=STATUS")
    admin.enable(name)
    assert stays.next()[0] == "STATUS"


def test_the_daemon_can_stop_while_streams_are_open(fresh_daemon):
    events = Stream(fresh_daemon.client(), "?events=STATUS")
    assert events.status == 200
    assert fresh_daemon.stop() == 0
    eventually(lambda: fresh_daemon.process.poll() is not None, "it has ended")
    events.close()
