"""`instances` (docs/wire.md#own-fields): several processes of one definition, scaled, restarted one after the other, found again."""
import json
import threading

import pytest
from harness import processes
from harness.waiting import eventually, stays

# Ready a moment after its start, by its own word; ends by TERM like any other.
WORKER = ("echo i am $APP_MESH_INSTANCE of $APP_MESH_APPLICATION_NAME $VERSION; "
          "sleep 0.3; echo ready now; exec sleep 100000")
READY = {"by": "log", "pattern": "^ready now$", "timeout_seconds": 60}


def add(client, name, instances, **fields):
    fields = {"command": WORKER, "shell": True, "readiness": READY, "env": {"VERSION": "1"},
              "behavior": {"exit": "keepalive"}, **fields}
    return client.add(name, instances=instances, **fields)


def lines(client, name):
    return client.app(name)["runs"]


def ready(client, name):
    return [run["instance"] for run in lines(client, name) if run.get("pid") and run["ready"]]


def pids(client, name):
    return {run["instance"]: run.get("pid") for run in lines(client, name)}


@pytest.fixture
def quick(new_daemon):
    return new_daemon(BaseConfig_StopGraceSeconds=1, BaseConfig_BackoffLimitSeconds=1).start()


def test_each_instance_has_its_own_run_output_key_and_number(fresh_daemon):
    admin = fresh_daemon.client()
    add(admin, "web", 4)
    eventually(lambda: ready(admin, "web") == [0, 1, 2, 3], "all are ready")
    shown = admin.app("web")
    runs = shown["runs"]
    assert len({run["pid"] for run in runs}) == len({run["process_uuid"] for run in runs}) == 4
    assert shown["pid"] == runs[0]["pid"] and shown["process_uuid"] == runs[0]["process_uuid"]
    keys = set()
    for k in range(4):
        assert admin.output("web", instance=k).text == f"i am {k} of web 1\nready now\n"
        environment = processes.environment(runs[k]["pid"])
        assert environment["APP_MESH_INSTANCE"] == str(k) and environment["APP_MESH_RUN_ID"] == runs[k]["process_uuid"]
        keys.add(environment["APP_MESH_PROCESS_KEY"])
    assert len(keys) == 4
    assert admin.output("web").body == admin.output("web", instance=0).body
    assert admin.output("web", instance=4).status == 417
    assert [name for name in admin.apps()] == ["web"], "instances are no apps of their own"
    assert admin.request("GET", "/appmesh/app/web%231").status == 404
    assert {run["instance"] for run in admin.runs("web")} == {0, 1, 2, 3}

    admin.add("single", "sleep 100000")
    assert "runs" not in admin.app("single") and "instances" not in admin.app("single")


def test_an_instance_that_ends_is_restarted_alone_and_the_history_says_which(quick):
    admin = quick.client()
    add(admin, "web", 3)
    eventually(lambda: ready(admin, "web") == [0, 1, 2], "all are ready")
    before = pids(admin, "web")
    processes.kill_exactly(before[1], lambda pid: "sleep" in processes.command_line(pid))
    eventually(lambda: pids(admin, "web").get(1) not in (None, 0, before[1]), "the second is back")
    eventually(lambda: ready(admin, "web") == [0, 1, 2], "and ready")
    after = pids(admin, "web")
    assert after[0] == before[0] and after[2] == before[2]
    assert [run["starts"] for run in lines(admin, "web")] == [1, 2, 1]
    ended = eventually(lambda: [run for run in admin.runs("web") if run.get("return_code") == -9], "the history has it")
    assert [run["instance"] for run in ended] == [1]


def test_scaling_touches_no_other_instance(quick):
    admin = quick.client()
    add(admin, "web", 1)
    eventually(lambda: admin.app("web").get("ready"), "it is ready")
    first = admin.app("web")["pid"]
    add(admin, "web", 4)
    eventually(lambda: ready(admin, "web") == [0, 1, 2, 3], "four are ready")
    four = pids(admin, "web")
    assert four[0] == first
    add(admin, "web", 2)
    eventually(lambda: not processes.alive(four[2]) and not processes.alive(four[3]), "the surplus ends")
    assert pids(admin, "web") == {0: four[0], 1: four[1]}
    add(admin, "web", 1)
    eventually(lambda: not processes.alive(four[1]), "the second ends")
    assert admin.app("web")["pid"] == first and "runs" not in admin.app("web")
    add(admin, "web", 3)
    eventually(lambda: ready(admin, "web") == [0, 1, 2], "and back")
    assert admin.output("web", instance=1).text.startswith("i am 1 of web"), "no old output"
    assert len(quick.processes_of("web")) == 3


def test_disable_enable_and_delete_are_about_all(quick):
    admin = quick.client()
    add(admin, "web", 3)
    eventually(lambda: ready(admin, "web") == [0, 1, 2], "all are ready")
    admin.disable("web")
    eventually(lambda: not quick.processes_of("web"), "all have stopped")
    assert [run["status"] for run in lines(admin, "web")] == [0, 0, 0]
    admin.enable("web")
    eventually(lambda: ready(admin, "web") == [0, 1, 2], "all are back")
    admin.delete("web")
    eventually(lambda: not quick.processes_of("web"), "all have ended")
    eventually(lambda: not list((quick.home / "work/stdout").glob("web*")), "their output is gone")


class Watch(threading.Thread):
    """Notes the fewest instances that were ready at a time."""

    def __init__(self, daemon, name):
        super().__init__()
        self.client, self.name, self.fewest, self.looks = daemon.client(), name, 1000, 0
        self.end = threading.Event()

    def run(self):
        while not self.end.is_set():
            self.fewest = min(self.fewest, len(ready(self.client, self.name)))
            self.looks += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.join()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("by", ["put", "restart"])
def test_a_rolling_restart_never_has_fewer_than_three_of_four_ready(by, quick):
    admin = quick.client()
    add(admin, "web", 4)
    eventually(lambda: len(ready(admin, "web")) == 4, "all are ready")
    before = pids(admin, "web")
    with Watch(quick, "web") as watch:
        if by == "put":
            add(admin, "web", 4, env={"VERSION": "2"})
        else:
            assert admin.request("POST", "/appmesh/app/web/restart").status == 200
        eventually(lambda: len(ready(admin, "web")) == 4 and
                   all(pids(admin, "web")[k] not in (None, before[k]) for k in range(4)), "all are new and ready", timeout=90)
    assert watch.fewest >= 3 and watch.looks > 20, (watch.fewest, watch.looks)
    version = "2" if by == "put" else "1"
    for k in range(4):
        assert f"i am {k} of web {version}" in admin.output("web", instance=k).text
    assert [run["starts"] for run in lines(admin, "web")] == [2, 2, 2, 2]


@pytest.mark.timeout(120)
def test_a_rolling_restart_stops_at_the_first_that_fails_and_says_so(quick):
    admin = quick.client()
    add(admin, "web", 3, behavior={"exit": "standby"})
    eventually(lambda: len(ready(admin, "web")) == 3, "all are ready")
    before = pids(admin, "web")
    add(admin, "web", 3, behavior={"exit": "standby"}, command="echo no; exit 9")
    eventually(lambda: "rolling restart stopped: instance 0" in admin.app("web").get("last_error", ""), "it says so")
    stays(lambda: ready(admin, "web") == [1, 2], "the others are as they were")
    assert {k: pid for k, pid in pids(admin, "web").items() if k} == {1: before[1], 2: before[2]}
    # What is put right goes on.
    add(admin, "web", 3, behavior={"exit": "standby"}, env={"VERSION": "3"})
    eventually(lambda: len(ready(admin, "web")) == 3 and all("web 3" in admin.output("web", instance=k).text for k in (1, 2)),
               "all have the new one", timeout=60)


@pytest.mark.timeout(240)
def test_killing_the_daemon_in_the_middle_doubles_nothing_and_the_restart_goes_on(quick):
    admin = quick.client()
    add(admin, "web", 4)
    eventually(lambda: len(ready(admin, "web")) == 4, "all are ready")
    before = pids(admin, "web")
    add(admin, "web", 4, env={"VERSION": "2"})
    for turn in range(3):
        eventually(lambda: sum(pids(admin, "web").get(k) not in (None, before[k]) for k in range(4)) > turn, f"turn {turn}", timeout=60)
        quick.kill()
        assert len([pid for pid in before.values() if processes.alive(pid)]) >= 1
        quick.start()
    eventually(lambda: len(ready(admin, "web")) == 4 and
               all("web 2" in admin.output("web", instance=k).text for k in range(4)), "all have the new one", timeout=90)
    eventually(lambda: len(quick.processes_of("web")) == 4, "four processes")
    assert [run["starts"] for run in lines(admin, "web")] == [2, 2, 2, 2], "each was restarted once"


@pytest.mark.parametrize("who", ["daemon", "keeper", "both"])
def test_every_instance_is_found_again(who, fresh_daemon):
    admin = fresh_daemon.client()
    add(admin, "web", 4)
    eventually(lambda: len(ready(admin, "web")) == 4, "all are ready")
    before = lines(admin, "web")
    if who in ("daemon", "both"):
        fresh_daemon.kill()
    if who in ("keeper", "both"):
        old = fresh_daemon.kill_keeper()
    if who in ("daemon", "both"):
        fresh_daemon.start()
    if who in ("keeper", "both"):
        eventually(lambda: fresh_daemon.keeper_pid() not in (None, old), "a new keeper")

    def same():
        return [(run.get("pid"), run["process_uuid"], run["starts"], run["ready"]) for run in lines(admin, "web")] == \
            [(run["pid"], run["process_uuid"], run["starts"], True) for run in before]
    eventually(same, "all are as they were")
    assert len(fresh_daemon.processes_of("web")) == 4
    assert admin.output("web", instance=3).text.startswith("i am 3 of web")


def test_an_app_that_needs_all_instances_of_another_waits_for_the_last(quick, tmp_path):
    admin = quick.client()
    gate = tmp_path / "gate"
    add(admin, "web", 3, command=f'[ $APP_MESH_INSTANCE != 2 ] || until [ -e {gate} ]; do sleep 0.05; done; echo ready now; exec sleep 100000')
    admin.add("front", "sleep 100000", depends_on={"web": "ready"})
    eventually(lambda: ready(admin, "web") == [0, 1], "two are ready")
    stays(lambda: admin.app("front").get("waiting_for") == {"web": "ready"}, "it waits", seconds=0.5)
    gate.touch()
    eventually(lambda: admin.app("front").get("pid"), "it starts")


def test_each_instance_has_its_own_health(new_daemon, tmp_path):
    admin = new_daemon(BaseConfig_HealthCheckSeconds=1).start().client()
    admin.add("web", "sleep 100000", instances=2, health_check_cmd=f"test ! -e {tmp_path}/ill-$APP_MESH_INSTANCE")
    eventually(lambda: [run["health"] for run in lines(admin, "web")] == [0, 0], "both are well")
    (tmp_path / "ill-1").touch()
    eventually(lambda: [run["health"] for run in lines(admin, "web")] == [0, 1], "the second is ill")
    assert admin.app("web")["health"] == 0


def test_events_of_all_instances_are_told_under_the_name_of_the_app(quick):
    admin = quick.client()
    add(admin, "web", 3, status=0)
    seen = []
    connection = admin.connect()
    connection.request("GET", "/appmesh/events?app=web&events=START,STDOUT,EXIT", headers={"Authorization": f"Bearer {admin.token}"})
    stream = connection.getresponse()
    assert stream.status == 200

    def read():
        for line in stream:
            if line.startswith(b"data:"):
                seen.append(json.loads(line[5:]))
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    admin.enable("web")

    def told(kind):
        return sorted(event["data"]["instance"] for event in seen if event["event_type"] == kind)
    eventually(lambda: told("START") == [0, 1, 2], "every start")
    eventually(lambda: all(any(event["event_type"] == "STDOUT" and event["data"]["instance"] == k and "ready now" in json.dumps(event["data"])
                               for event in seen) for k in range(3)), "every output")
    admin.disable("web")
    eventually(lambda: told("EXIT") == [0, 1, 2], "every end")
    assert {event["app_name"] for event in seen} == {"web"}
