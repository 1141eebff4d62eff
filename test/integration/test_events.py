"""Events over TCP: who is told, in which order, and what of the output: docs/wire.md#events."""
import json
import socket
import threading

import msgpack
import pytest
from harness.daemon import ADMIN_PASSWORD
from harness.tcp import TcpClient
from harness.waiting import eventually


class Subscriber(TcpClient):
    """Its subscriptions' events, one after another."""

    def subscribe(self, app=None, events="", **options):
        path = f"/appmesh/app/{app}/subscribe" if app else "/appmesh/subscribe"
        return self.request("POST", path, query={"events": events} if events else {}, **options)

    def next(self, kind=None):
        """The next event; with `kind`, the next of that kind."""
        while True:
            while not self.pushed:
                self.pump()
            event = self.check(self.pushed.pop(0))
            if kind is None or event["event_type"] == kind:
                return event

    def pump(self):
        message = msgpack.unpackb(self.receive_message(), raw=False)
        assert message["request_uri"] == "/appmesh/event", message
        self.pushed.append(message)

    @staticmethod
    def check(message):
        event = json.loads(message["body"])
        assert message["http_status"] == 200 and message["body_msg_type"] == "application/json" and message["uuid"]
        assert message["headers"] == {"X-Subscription-Id": event["subscription_id"], "X-Event-Type": event["event_type"],
                                      "X-App-Name": event["app_name"]}
        assert isinstance(event["timestamp"], int) and isinstance(event["sequence"], int)
        return event

    def run_events(self):
        """Every event up to an EXIT, with the output put together and its positions checked."""
        events, output = [], b""
        while not events or events[-1]["event_type"] != "EXIT":
            event = self.next()
            events.append(event)
            if event["event_type"] == "STDOUT":
                assert event["data"]["position"] == len(output), "positions go on in bytes"
                output += event["data"]["output"].encode()
        return events, output


@pytest.fixture
def connect(daemon):
    made = []

    def make(user="admin", password=ADMIN_PASSWORD):
        client = Subscriber(daemon)
        made.append(client)
        client.login(user, password)
        return client
    yield make
    for client in made:
        client.close()


@pytest.fixture
def subscriber(connect):
    return connect()


def kinds(events):
    return [event["event_type"] for event in events]


def test_a_run_is_told_from_start_to_exit_in_order(admin, subscriber, name, cleaned):
    cleaned.append(name)
    admin.add(name, "echo one; sleep 0.4; echo two; exit 3", shell=True, status=0)
    answer = subscriber.subscribe(name)
    assert answer.status == 200
    assert answer.json == {"subscription_id": answer.json["subscription_id"], "app_name": name,
                           "events": ["START", "EXIT", "STDOUT", "HEALTH", "STATUS", "REMOVED"]}
    admin.enable(name)
    events, output = subscriber.run_events()
    assert output == b"one\ntwo\n"
    order = [kind for kind in kinds(events) if kind in ("START", "STDOUT", "EXIT")]
    assert order[0] == "START" and order[-1] == "EXIT" and set(order[1:-1]) == {"STDOUT"}
    outputs = [event["data"] for event in events if event["event_type"] == "STDOUT"]
    assert [data["finished"] for data in outputs] == [False] * (len(outputs) - 1) + [True]
    start = next(event for event in events if event["event_type"] == "START")["data"]
    assert set(start) == {"pid", "process_uuid"} and len(start["process_uuid"]) == 32
    exit_data = events[-1]["data"]
    assert exit_data["exit_code"] == 3 and exit_data["pid"] == start["pid"] and "3" in exit_data["last_error"]
    sequences = [event["sequence"] for event in events]
    assert sequences == sorted(set(sequences))
    assert "STATUS" in kinds(events) and "HEALTH" in kinds(events)


def test_status_and_removal_are_told_and_end_the_subscription(admin, subscriber, name):
    admin.add(name, "sleep 600")
    subscription = subscriber.subscribe(name, "STATUS,REMOVED,EXIT").json
    assert subscription["events"] == ["EXIT", "STATUS", "REMOVED"]
    admin.disable(name)
    assert subscriber.next()["data"] == {"status": "disabled", "previous_status": "enabled"}
    gone = subscriber.next()
    assert gone["event_type"] == "EXIT" and gone["data"]["exit_code"] == -15
    admin.enable(name)
    assert subscriber.next()["data"] == {"status": "enabled", "previous_status": "disabled"}
    admin.delete(name)
    removed = subscriber.next()
    assert removed["event_type"] == "REMOVED" and not removed["data"]
    ended = subscriber.request("DELETE", f"/appmesh/app/{name}/subscribe",
                               query={"subscription_id": subscription["subscription_id"]})
    assert ended.status == 404
    admin.add(name, "sleep 600")  # another app of that name is another app
    admin.delete(name)
    assert subscriber.request("GET", "/appmesh/user/self").status == 200 and not subscriber.pushed


def test_a_subscription_at_registration_misses_nothing(subscriber, admin, name, cleaned):
    cleaned.append(name)
    body = {"name": name, "command": "echo first words"}
    made = subscriber.ok("PUT", f"/appmesh/app/{name}", body=body, query={"subscribe_events": "START,STDOUT,EXIT"})
    subscription = made.json["subscription_id"]
    events, output = subscriber.run_events()
    assert kinds(events)[0] == "START" and output == b"first words\n"
    assert {event["subscription_id"] for event in events} == {subscription}
    again = subscriber.ok("PUT", f"/appmesh/app/{name}", body=body, query={"subscribe_events": "ALL"})
    assert again.json["subscription_id"] != subscription, "an unchanged definition is subscribed to as well"
    wrong = subscriber.request("PUT", f"/appmesh/app/{name}", body=body, query={"subscribe_events": "NOTHING,LIKE,IT"})
    assert wrong.status == 400
    over_http = admin.ok("PUT", f"/appmesh/app/{name}", query={"subscribe_events": "NOTHING"}, body=body)
    assert "subscription_id" not in over_http.json
    refused = subscriber.request("PUT", f"/appmesh/app/{name}", body={**body, "command": ""},
                                 query={"subscribe_events": "ALL"})
    assert refused.status == 400 and "subscription_id" not in refused.json


def test_what_is_wrong_with_a_subscription_is_said(admin, subscriber, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    assert subscriber.subscribe("no-such-app").status == 404
    assert subscriber.subscribe(name, "START,NONSENSE").json["events"] == ["START"]
    assert subscriber.subscribe(name, "NONSENSE").status == 400
    assert subscriber.subscribe(name, "EXIT,ALL").json["events"][0] == "START"
    for path in (f"/appmesh/app/{name}/subscribe", "/appmesh/subscribe"):
        refused = admin.request("POST", path)
        assert refused.status == 405
        assert refused.message == "Subscribe requires a persistent connection (TCP or WebSocket)"
        assert subscriber.request("DELETE", path).status == 400
        assert subscriber.request("DELETE", path, query={"subscription_id": "0" * 32}).status == 404


def test_unsubscribe_ends_it_and_only_for_its_owner(admin, connect, subscriber, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    mine = subscriber.subscribe(name, "STATUS").json["subscription_id"]
    stays = subscriber.subscribe(name, "STATUS").json["subscription_id"]
    admin.ok("PUT", "/appmesh/user/other", body={"key": "Secret-of-user-1", "roles": ["manage", "view"], "group": "x"})
    path, query = "/appmesh/app/path-name-is-ignored/subscribe", {"subscription_id": mine}
    assert connect("other", "Secret-of-user-1").request("DELETE", path, query=query).status == 404
    ended = subscriber.request("DELETE", path, query=query)
    assert ended.status == 200 and "unsubscribed" in ended.text
    assert subscriber.request("DELETE", path, query=query).status == 404
    admin.enable(name)
    admin.disable(name)
    told = [subscriber.next() for _ in range(2)]
    assert {event["subscription_id"] for event in told} == {stays}


def test_permissions(admin, connect, name, cleaned):
    cleaned += [name, f"{name}-open"]
    for user, role in (("subscriber", "manage"), ("seer", "view")):
        admin.ok("PUT", f"/appmesh/user/{user}", body={"key": "Secret-of-user-1", "roles": [role], "group": "strangers"})
    admin.add(name, "sleep 600", status=0, permission=11)
    admin.add(f"{name}-open", "sleep 600", status=0)
    seer, listener = connect("seer", "Secret-of-user-1"), connect("subscriber", "Secret-of-user-1")
    assert seer.subscribe(f"{name}-open").status == 403
    assert listener.subscribe(name).status == 403
    assert listener.subscribe().status == 403, "all apps need app-view-all"
    assert listener.subscribe(f"{name}-open", "STATUS").status == 200
    assert listener.request("POST", f"/appmesh/app/{name}-open/subscribe", token=None).status == 401
    # Of all apps only those that the user may read, as it is now.
    admin.ok("PUT", "/appmesh/user/watcher", body={"key": "Secret-of-user-1", "roles": ["manage", "view"], "group": "strangers"})
    watcher = connect("watcher", "Secret-of-user-1")
    assert watcher.subscribe(events="STATUS").json["app_name"] == "*"
    admin.enable(name)
    admin.enable(f"{name}-open")
    assert watcher.next()["app_name"] == f"{name}-open"
    admin.ok("PUT", f"/appmesh/app/{name}", body={**admin.app(name), "permission": 22})
    admin.disable(name)
    assert watcher.next()["app_name"] == name
    admin.ok("POST", "/appmesh/user/watcher/lock")
    admin.disable(f"{name}-open")
    admin.enable(f"{name}-open")
    assert [listener.next()["data"]["status"] for _ in range(3)] == ["enabled", "disabled", "enabled"]
    assert watcher.request("GET", "/appmesh/app/nobody/health").status == 404
    assert [push["headers"]["X-Event-Type"] for push in watcher.pushed] == ["END"], "a locked user is told nothing more"


def test_a_wildcard_sees_apps_come_and_go_and_survives(admin, subscriber, name):
    assert subscriber.subscribe(events="START,EXIT,STDOUT,REMOVED").status == 200
    for number in range(2):
        admin.add(f"{name}-{number}", f"echo {number}")
        eventually(lambda: "return_code" in admin.app(f"{name}-{number}"), "it ended")
        admin.delete(f"{name}-{number}")
        mine = []
        while not mine or mine[-1]["event_type"] != "REMOVED":
            event = subscriber.next()
            if event["app_name"] == f"{name}-{number}":
                mine.append(event)
        assert kinds(mine)[0] == "START" and kinds(mine)[-2:] == ["EXIT", "REMOVED"]
        assert "".join(event["data"]["output"] for event in mine if event["event_type"] == "STDOUT") == f"{number}\n"


def test_old_output_is_not_replayed_and_positions_go_on(admin, subscriber, tmp_path):
    gate = tmp_path / "gate"
    run = admin.run(command=f"echo old; until [ -e {gate} ]; do sleep 0.02; done; echo new", shell=True).json
    eventually(lambda: admin.output(run["name"]).body == b"old\n", "it has written")
    assert subscriber.subscribe(run["name"], "STDOUT,EXIT").status == 200
    gate.touch()
    events, output = [], ""
    while not events or events[-1]["event_type"] != "EXIT":
        event = subscriber.next()
        if event["event_type"] == "STDOUT":
            assert event["data"]["position"] == 4 + len(output)
            output += event["data"]["output"]
        events.append(event)
    assert output == "new\n"
    again = subscriber.subscribe(run["name"], "STDOUT,EXIT,REMOVED")
    assert again.status == 200, "a finished run can be subscribed to"
    admin.delete(run["name"])
    assert subscriber.next()["event_type"] == "REMOVED"


def test_characters_are_never_cut_and_bad_bytes_are_replaced(admin, subscriber, name, cleaned, tmp_path):
    cleaned.append(name)
    program = tmp_path / "program.py"
    program.write_text("import os, time\n"
                       "for byte in 'a\u20ac\U0001F600z'.encode():\n    os.write(1, bytes([byte]))\n    time.sleep(0.05)\n"
                       "os.write(1, b'\\xff|\\xe2\\x82|\\xc0\\x80|\\xf0\\x9f')\n")
    admin.add(name, f"python3 {program}", status=0)
    subscriber.subscribe(name, "STDOUT,EXIT")
    admin.enable(name)
    raw = "a\u20ac\U0001F600z".encode() + b"\xff|\xe2\x82|\xc0\x80|\xf0\x9f"
    text, end = "", 0
    while True:
        event = subscriber.next()
        if event["event_type"] == "EXIT":
            break
        assert event["data"]["position"] >= end
        end = event["data"]["position"]
        text += event["data"]["output"]
    assert text == raw.decode(errors="replace"), text


def test_large_output_comes_whole_before_the_exit_even_when_the_app_is_removed_by_it(admin, subscriber, name):
    size = 20_000_000
    body = {"name": name, "command": f"head -c {size} /dev/zero | tr '\\0' 'x'", "shell": True, "behavior": {"exit": "remove"}}
    subscriber.ok("PUT", f"/appmesh/app/{name}", body=body, query={"subscribe_events": "START,STDOUT,EXIT,REMOVED"})
    received, order = 0, []
    while not order or order[-1] != "REMOVED":
        event = subscriber.next()
        order.append(event["event_type"])
        if event["event_type"] == "STDOUT":
            assert event["data"]["position"] == received
            assert len(event["data"]["output"]) <= 256 * 1024
            received += len(event["data"]["output"])
    assert received == size
    assert order[0] == "START" and order[-2:] == ["EXIT", "REMOVED"]


def test_a_closed_connection_ends_its_subscriptions(daemon, admin, connect, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 600", status=0)
    for _ in range(3):
        client = connect()
        for _ in range(5):
            assert client.subscribe(name).status == 200
        client.close()
    stays = connect()
    assert stays.subscribe(name, "STATUS").status == 200
    admin.enable(name)
    assert stays.next()["data"]["status"] == "enabled"


def test_a_subscriber_that_never_reads_is_cut_off_and_holds_up_nobody(admin, daemon, connect, name, cleaned, tmp_path):
    cleaned.append(name)
    size = 150_000_000  # more than sockets and its queue may hold
    admin.add(name, f"head -c {size} /dev/zero | tr '\\0' 'y'", shell=True, status=0)
    stuck, reader = connect(), connect()
    stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for client in (stuck, reader):
        assert client.subscribe(name, "STDOUT,EXIT").status == 200
    admin.enable(name)
    received = 0
    while True:
        event = reader.next()
        if event["event_type"] == "EXIT":
            break
        received += len(event["data"]["output"])
    assert received > 0 and event["data"]["exit_code"] == 0

    def cut_off():
        return "reads more slowly" in (daemon.home / "work/server.log").read_text(errors="replace")
    eventually(cut_off, "the slow one is cut off, and the log says why")


def test_adopted_runs_are_told_after_a_restart_of_the_daemon(fresh_daemon, name, tmp_path):
    gate = tmp_path / "gate"
    fresh_daemon.client().add(name, f"echo before; until [ -e {gate} ]; do sleep 0.02; done; echo after; exit 5", shell=True)
    fresh_daemon.kill()
    fresh_daemon.start()
    with Subscriber(fresh_daemon) as client:
        client.login("admin", ADMIN_PASSWORD)
        assert client.subscribe(name, "STDOUT,EXIT,START").status == 200
        gate.touch()
        events = [client.next()]
        while events[-1]["event_type"] != "EXIT":
            events.append(client.next())
        outputs = [event["data"] for event in events[:-1]]
        assert "".join(data["output"] for data in outputs) == "after\n"
        assert outputs[0]["position"] == len("before\n") and outputs[-1]["finished"]
        assert events[-1]["data"]["exit_code"] == 5


def test_a_thousand_subscribers_get_every_event_in_order(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    lines = 3000
    program = tmp_path / "program.py"
    program.write_text(f"import time\nfor number in range({lines}):\n    print(number, flush=True)\n"
                       "    if number % 300 == 0:\n        time.sleep(0.25)\n")
    admin.add(name, f"python3 {program}", status=0)
    expected = "".join(f"{number}\n" for number in range(lines))
    connections, each = 50, 20  # subscriptions are what is counted; every one gets its own copy over its connection
    clients, problems = [], []
    token = admin.token
    for _ in range(connections):
        client = Subscriber(daemon)
        client.token = token
        clients.append(client)
    texts = {}

    def listen(client):
        try:
            ids = [client.subscribe(name, "START,STDOUT,EXIT").json["subscription_id"] for _ in range(each)]
            state = {each_id: {"order": [], "text": "", "sequence": 0} for each_id in ids}
            ready.wait()
            left = set(ids)
            while left:
                event = client.next()
                mine = state[event["subscription_id"]]
                assert event["sequence"] > mine["sequence"]
                mine["sequence"] = event["sequence"]
                mine["order"].append(event["event_type"])
                if event["event_type"] == "STDOUT":
                    assert event["data"]["position"] == len(mine["text"])
                    mine["text"] += event["data"]["output"]
                if event["event_type"] == "EXIT":
                    left.discard(event["subscription_id"])
            texts.update(state)
        except Exception as problem:  # shown by the test
            problems.append(problem)
    ready = threading.Barrier(connections + 1)
    threads = [threading.Thread(target=listen, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    ready.wait()
    admin.enable(name)
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert not problems
    assert len(texts) == connections * each
    for state in texts.values():
        assert state["text"] == expected
        assert state["order"][0] == "START" and state["order"][-1] == "EXIT" and set(state["order"][1:-1]) == {"STDOUT"}
