"""Workers as SDK 1.5 wrote them: the key comes from APP_MESH_PROCESS_ID and is sent as `process_uuid`, in messages under `querys`.
And the mark by which a run's processes are found, under its present and its older name."""
import os
import subprocess
import threading

import msgpack
import pytest

from harness.tcp import TcpClient, request_map
from harness.waiting import eventually

WORKER = "env | grep ^APP_MESH_; sleep 1000"


def environment(admin, name):
    def complete():
        text = admin.output(name).text
        return "APP_MESH_LAUNCH_TIME" in text and "APP_MESH_RUN_ID" in text and dict(line.split("=", 1) for line in text.splitlines())
    return eventually(complete, "the environment of the run")


def over_https(daemon, admin, name, key):
    path = f"/appmesh/app/{name}/task"
    payload = admin.ok("GET", path, query={"process_uuid": key}, token=None).body
    admin.ok("PUT", path, query={"process_uuid": key}, body=payload.upper(), token=None)


def over_tcp(daemon, admin, name, key):
    with TcpClient(daemon) as client:
        def ask(method, body=b""):
            message = request_map(method, f"/appmesh/app/{name}/task", body=body)
            del message["query"]
            message["querys"] = {"process_uuid": key}
            client.send_message(msgpack.packb(message, use_bin_type=True))
            reply = client.receive(message["uuid"])
            assert reply.status == 200, reply
            return reply.body
        ask("PUT", ask("GET").upper())


@pytest.mark.parametrize("speak", [over_https, over_tcp])
def test_a_worker_of_sdk_1_5_gets_its_task(speak, daemon, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, WORKER, shell=True)
    seen = environment(admin, name)
    assert seen["APP_MESH_PROCESS_ID"] == seen["APP_MESH_PROCESS_KEY"], "what it sends must be what a fetch accepts"
    assert seen["APP_MESH_RUN_ID"] == admin.app(name)["process_uuid"] != seen["APP_MESH_PROCESS_ID"]
    problems = []

    def work():
        try:
            speak(daemon, admin, name, seen["APP_MESH_PROCESS_ID"])
        except BaseException as problem:
            problems.append(problem)
    worker = threading.Thread(target=work)
    worker.start()
    answer = admin.request("POST", f"/appmesh/app/{name}/task", query={"timeout": 30}, body="task")
    worker.join(60)
    assert not problems, problems
    assert (answer.status, answer.body) == (200, b"TASK")


@pytest.mark.parametrize("mark", ["APP_MESH_RUN_ID", "APP_MESH_PROCESS_ID"])
def test_a_process_is_known_by_the_mark_of_its_run(mark, daemon, admin, name, cleaned):
    cleaned.extend([name, f"{name}-2"])
    admin.add(name, "sleep 1000")
    run = eventually(lambda: admin.app(name).get("process_uuid"), "it runs")
    # Outside of its session and cgroup; runs of older daemons carry the second name.
    process = subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], mark: run}, start_new_session=True)
    try:
        answer = admin.request("PUT", f"/appmesh/app/{name}-2", body={"name": f"{name}-2", "command": "sleep 1000", "pid": process.pid})
        assert answer.status == 403, answer
    finally:
        process.kill()
        process.wait()
