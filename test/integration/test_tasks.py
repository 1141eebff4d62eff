"""Tasks over HTTPS with real worker processes: every row of docs/wire.md#tasks."""
import concurrent.futures
import http.client
import pathlib
import ssl
import sys
import threading

import pytest
from harness.daemon import PROGRAMS
from harness.tcp import TcpClient
from harness.waiting import eventually

PYTHON = sys.executable


def worker(daemon, mode="echo"):
    return f"{PYTHON} {PROGRAMS / 'worker.py'} {daemon.port} {daemon.ca_file} {mode}"


def task(client, name, payload=b"", **query):
    return client.request("POST", f"/appmesh/app/{name}/task", query=query or None, body=payload)


def cancel(client, name):
    return client.request("DELETE", f"/appmesh/app/{name}/task").status


def fetch(client, name, key, **query):
    return client.request("GET", f"/appmesh/app/{name}/task", query={"process_key": key, **query}, token=None)


def answer(client, name, key, body=b"", **query):
    return client.request("PUT", f"/appmesh/app/{name}/task", query={"process_key": key, **query}, body=body, token=None)


def is_waiting(client, name, workers=1):
    return client.app(name).get("tasks", {}).get("waiting_workers", 0) >= workers


@pytest.fixture
def echo(admin, daemon, name, cleaned):
    """An app with a worker that waits for tasks."""
    cleaned.append(name)
    admin.add(name, worker(daemon))
    eventually(lambda: is_waiting(admin, name), "the worker asks for a task")
    return name


@pytest.fixture
def keyed(admin, daemon, name, cleaned, tmp_path):
    """An app whose process does nothing but tell its key: the test is the worker. (name, key)"""
    cleaned.append(name)
    told = tmp_path / "key"
    admin.add(name, f'printf "%s" "$APP_MESH_PROCESS_KEY" > {told}.part; mv {told}.part {told}; exec sleep 3600', shell=True)
    eventually(told.exists, "the process tells its key")
    return name, told.read_text()


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        yield pool


def queued(client, name, count):
    tasks = client.app(name).get("tasks", {})
    return tasks.get("queued", 0) + tasks.get("active", 0) == count


def test_a_task_goes_to_the_worker_and_its_answer_back(admin, echo):
    reply = task(admin, echo, b"\x00\xffbytes")
    assert (reply.status, reply.body) == (200, b"re:\x00\xffbytes")
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert task(admin, echo, b"").body == b"re:", "an empty payload is a payload"
    app = admin.app(echo)
    assert app["task_id"] == 2 and app["task_status"] in ("idle", "busy")
    assert app["tasks"]["answered"] == 2 and app["tasks"]["queued"] == 0


def test_large_payloads_come_through_whole(admin, echo):
    payload = bytes(range(256)) * (4 * 1024 * 16)  # 16 MiB
    assert task(admin, echo, payload).body == b"re:" + payload
    too_large = task(admin, echo, b"x" * (64 * 1024 * 1024 + 1))
    assert too_large.status == 413
    assert task(admin, echo, b"still").body == b"re:still"


def test_callers_get_their_own_answers(admin, echo, pool):
    replies = pool.map(lambda i: task(admin, echo, f"payload {i}".encode()).body, range(60))
    assert list(replies) == [f"re:payload {i}".encode() for i in range(60)]


def test_without_a_process_a_task_is_refused_at_once(admin, name, cleaned):
    assert task(admin, name).status == 404
    cleaned.append(name)
    admin.add(name, "/bin/sleep 1", status=0)
    refused = task(admin, name)
    assert (refused.status, refused.message) == (400, "No process running")


def test_a_time_out_says_whether_a_process_ever_fetched(admin, keyed, pool):
    name, key = keyed
    never = task(admin, name, b"x", timeout=1)
    assert never.status == 408 and "never fetched" in never.message
    caller = pool.submit(task, admin, name, b"y", timeout=1)
    assert fetch(admin, name, key).body == b"y"
    late = caller.result()
    assert late.status == 408 and "never" not in late.message
    assert answer(admin, name, key).status == 417, "nobody waits any more"
    assert task(admin, name, b"x", timeout="nonsense").status == 400


def test_wrong_and_stale_keys_are_refused(admin, keyed):
    name, key = keyed
    for wrong in ("", "0" * 32, key[:-1], key + "0"):
        for reply in (fetch(admin, name, wrong), answer(admin, name, wrong)):
            assert (reply.status, reply.message) == (412, "Process key mismatch"), wrong
    assert answer(admin, name, key).status == 417, "the right one, with nothing to answer"
    assert fetch(admin, "no-such-app", key).status == 404
    assert answer(admin, "no-such-app", key).status == 404
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "its run has ended")
    assert fetch(admin, name, key).status == 412


def test_an_unanswered_task_is_given_again_and_answered_once(admin, keyed, pool):
    name, key = keyed
    caller = pool.submit(task, admin, name, b"x")
    for _ in range(3):
        assert fetch(admin, name, key).body == b"x"
    assert answer(admin, name, key, b"y").status == 200
    assert caller.result().body == b"y"
    assert answer(admin, name, key, b"z").status == 417


def test_tasks_are_taken_in_the_order_they_came(admin, keyed, pool):
    name, key = keyed
    callers = []
    for number in range(5):
        callers.append(pool.submit(task, admin, name, str(number).encode()))
        eventually(lambda: queued(admin, name, number + 1), "it is in the queue")
    for number in range(5):
        assert fetch(admin, name, key).body == str(number).encode()
        assert answer(admin, name, key, b"re:%d" % number).status == 200
    assert [caller.result().body for caller in callers] == [b"re:%d" % number for number in range(5)]


def test_a_newer_fetch_replaces_an_older_one(admin, keyed, pool):
    name, key = keyed
    older = pool.submit(fetch, admin, name, key)
    eventually(lambda: is_waiting(admin, name), "it waits")
    newer = pool.submit(fetch, admin, name, key)
    assert older.result().status == 503
    caller = pool.submit(task, admin, name, b"x")
    assert newer.result().body == b"x"
    answer(admin, name, key, b"y")
    assert caller.result().body == b"y"


def abandoned(client, method, path, body=b""):
    """A request whose sender hangs up before its answer: the connection that it was sent on."""
    connection = client.connect()
    connection.request(method, path, body=body, headers={"Authorization": f"Bearer {client.token}"})
    return connection


def test_a_worker_with_slots_has_several_tasks_in_hand(admin, keyed, pool):
    name, key = keyed
    callers = {}
    for text in (b"a", b"b", b"c"):
        callers[text] = pool.submit(task, admin, name, text)
        eventually(lambda: queued(admin, name, len(callers)), "the task waits")
    in_hand = {slot: fetch(admin, name, key, slot=slot).body for slot in (0, 7, 63)}
    assert list(in_hand.values()) == [b"a", b"b", b"c"]
    assert fetch(admin, name, key, slot=7).body == b"b", "given again to its slot"
    for slot in (63, 0, 7):  # answers in another order
        assert answer(admin, name, key, b"re:" + in_hand[slot], slot=slot).status == 200
    for text, caller in callers.items():
        assert caller.result().body == b"re:" + text
    assert answer(admin, name, key, b"late", slot=7).status == 417


@pytest.mark.parametrize("slot", ["64", "-1", "x", "", "1x", "99999999999999999999"])
def test_a_slot_that_there_is_not_is_refused(admin, keyed, slot):
    name, key = keyed
    for reply in (fetch(admin, name, key, slot=slot), answer(admin, name, key, slot=slot)):
        assert reply.status == 400 and b"slot" in reply.body


def test_a_fetch_that_was_abandoned_swallows_no_task(admin, keyed):
    name, key = keyed
    gone = abandoned(admin, "GET", f"/appmesh/app/{name}/task?process_key={key}")
    eventually(lambda: is_waiting(admin, name), "it waits")
    gone.close()
    eventually(lambda: admin.app(name)["tasks"]["waiting_workers"] == 0 if "tasks" in admin.app(name) else True,
               "the hang-up is noticed")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        caller = pool.submit(task, admin, name, b"x")
        assert fetch(admin, name, key).body == b"x"
        answer(admin, name, key, b"y")
        assert caller.result().body == b"y"


def test_a_caller_that_hangs_up_frees_its_place(admin, keyed, pool):
    name, key = keyed
    gone = [abandoned(admin, "POST", f"/appmesh/app/{name}/task", b"gone %d" % i) for i in range(3)]
    eventually(lambda: queued(admin, name, 3), "three wait")
    for connection in gone:
        connection.close()
    eventually(lambda: queued(admin, name, 0), "their places are free")
    caller = pool.submit(task, admin, name, b"stays")
    assert fetch(admin, name, key).body == b"stays"
    answer(admin, name, key, b"y")
    assert caller.result().body == b"y"
    assert admin.app(name)["tasks"]["abandoned"] == 3


def test_callers_and_workers_over_tcp_that_hang_up_leave_nothing_behind(admin, daemon, keyed):
    name, key = keyed
    path = f"/appmesh/app/{name}/task"
    with TcpClient(daemon) as gone:
        gone.token = admin.token
        for number in range(3):
            gone.send("POST", path, body=b"%d" % number)
        eventually(lambda: queued(admin, name, 3), "three wait")
    eventually(lambda: queued(admin, name, 0), "their places are free")
    with TcpClient(daemon) as gone:
        gone.send("GET", path, token=None, query={"process_key": key})
        eventually(lambda: is_waiting(admin, name), "it waits")
    eventually(lambda: admin.app(name)["tasks"]["waiting_workers"] == 0, "the fetch has gone")
    with TcpClient(daemon) as caller, TcpClient(daemon) as worker_side:
        caller.token = admin.token
        fetched = worker_side.send("GET", path, token=None, query={"process_key": key})
        asked = caller.send("POST", path, body=b"x")
        assert worker_side.receive(fetched).body == b"x"
        # The answer and the next fetch leave together, as a worker in a hurry does it.
        answered = worker_side.send("PUT", path, token=None, query={"process_key": key}, body=b"y")
        fetched = worker_side.send("GET", path, token=None, query={"process_key": key})
        assert worker_side.receive(answered).status == 200
        assert caller.receive(asked).body == b"y"
        again = caller.send("POST", path, body=b"z")
        assert worker_side.receive(fetched).body == b"z"
        worker_side.request("PUT", path, token=None, query={"process_key": key}, body=b"end")
        assert caller.receive(again).body == b"end"


def test_the_queue_is_bounded(admin, keyed):
    name, _ = keyed
    held = []
    try:
        for i in range(512):
            held.append(abandoned(admin, "POST", f"/appmesh/app/{name}/task", b"%d" % i))
        eventually(lambda: queued(admin, name, 512), "the queue is full")
        refused = task(admin, name, b"one more")
        assert refused.status == 503 and "full" in refused.message
    finally:
        for connection in held:
            connection.close()
    eventually(lambda: queued(admin, name, 0), "it is empty again")


def test_delete_cancels_the_active_task(admin, keyed, pool):
    name, key = keyed
    assert cancel(admin, name) == 208
    first = pool.submit(task, admin, name, b"first")
    eventually(lambda: queued(admin, name, 1), "it waits")
    assert fetch(admin, name, key).body == b"first"
    second = pool.submit(task, admin, name, b"second")
    eventually(lambda: queued(admin, name, 2), "it waits")
    assert admin.app(name)["task_status"] == "busy"
    assert cancel(admin, name) == 200
    assert first.result().status == 417
    assert answer(admin, name, key, b"late").status == 417
    assert fetch(admin, name, key).body == b"second"
    answer(admin, name, key, b"y")
    assert second.result().body == b"y"


def test_the_end_of_the_process_interrupts_its_caller(admin, echo):
    assert task(admin, echo, b"die").status == 417
    assert task(admin, echo).status == 400


def test_a_new_run_has_a_new_key_and_interrupts_the_old_ones_calls(admin, keyed, pool, tmp_path):
    name, key = keyed
    fetched = pool.submit(fetch, admin, name, key)
    eventually(lambda: is_waiting(admin, name), "it waits")
    (tmp_path / "key").unlink()
    admin.ok("POST", f"/appmesh/app/{name}/restart")
    assert fetched.result().status == 417
    eventually((tmp_path / "key").exists, "the new process tells its key")
    fresh = (tmp_path / "key").read_text()
    assert fresh != key and len(fresh) == 32
    assert fetch(admin, name, key).status == 412
    waiting = pool.submit(fetch, admin, name, fresh)
    eventually(lambda: is_waiting(admin, name), "the new one may fetch")
    admin.delete(name)
    assert waiting.result().status == 417


def test_a_removed_app_interrupts_its_callers(admin, keyed, pool):
    name, _ = keyed
    caller = pool.submit(task, admin, name, b"x")
    eventually(lambda: queued(admin, name, 1), "it waits")
    admin.delete(name)
    assert caller.result().status == 417


def test_only_those_who_may_write_the_app_may_send_it_tasks(admin, daemon, echo):
    for user, role in (("tasker", "shell"), ("viewer", "view")):
        admin.ok("PUT", f"/appmesh/user/{user}", body={"key": "Secret-of-user-1", "roles": [role], "group": "strangers"})
    admin.ok("PUT", f"/appmesh/app/{echo}", body={**admin.app(echo), "permission": 22})
    assert task(daemon.client("viewer", "Secret-of-user-1"), echo).status == 403
    refused = task(daemon.client("tasker", "Secret-of-user-1"), echo)
    assert refused.status == 403 and "EDIT" in refused.message
    assert admin.request("POST", f"/appmesh/app/{echo}/task", token=None).status == 401


def test_a_worker_goes_on_with_its_key_after_a_restart_of_the_daemon(fresh_daemon, name):
    admin = fresh_daemon.client()
    admin.add(name, worker(fresh_daemon))
    assert task(admin, name, b"before").body == b"re:before"
    pid = admin.app(name)["pid"]
    for end in (fresh_daemon.stop, fresh_daemon.kill):
        end()
        fresh_daemon.start()
        admin = fresh_daemon.client()
        assert task(admin, name, b"after").body == b"re:after"
        assert admin.app(name)["pid"] == pid


def test_a_killed_daemon_loses_no_worker_and_executes_no_answered_task_again(fresh_daemon, name, tmp_path, pool):
    log = tmp_path / "executions"
    admin = fresh_daemon.client()
    names = [f"{name}-{i}" for i in range(4)]
    for each in names:
        admin.add(each, worker(fresh_daemon, "slow"), env={"WORKER_LOG": str(log)})
    for each in names:
        assert task(admin, each, b"warm").status == 200

    answered, lost = set(), set()
    lock = threading.Lock()

    def call(number):
        payload = b"task %d" % number
        try:
            reply = task(admin, names[number % len(names)], payload, timeout=60)
            assert reply.status == 200 and reply.body == b"re:" + payload, reply
            with lock:
                answered.add(payload)
        except (OSError, http.client.HTTPException, ssl.SSLError):
            with lock:
                lost.add(payload)

    callers = [pool.submit(call, number) for number in range(100)]
    eventually(lambda: len(answered) >= 10, "some are answered")
    fresh_daemon.kill()
    for caller in callers:
        caller.result()
    assert len(answered) + len(lost) == 100 and lost, "it was killed too late"

    fresh_daemon.start()
    admin = fresh_daemon.client()
    for each in names:
        assert task(admin, each, b"alive").body == b"re:alive", "the workers go on"
    executed = pathlib.Path(log).read_bytes().split(b"\n")
    for payload in answered:
        assert executed.count(payload) == 1, payload
