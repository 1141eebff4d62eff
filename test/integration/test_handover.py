"""A recurring app with retention hands over: the old run may finish beside the new one, one at most, and not for ever."""
from harness import processes
from harness.waiting import eventually


def living(daemon, name):
    return [pid for pid in daemon.processes_of(name) if processes.program(pid) == "sleep"]


def test_there_are_never_more_than_two_runs(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("over", "sleep 100000", start_interval_seconds=1, retention=3600)
    most = 0

    def watch():
        nonlocal most
        most = max(most, len(living(fresh_daemon, "over")))
        assert most <= 2, "one old run at most"
        return admin.app("over")["starts"] >= 6
    eventually(watch, "six starts", timeout=60)
    assert most == 2
    stopped = [run for run in admin.runs("over") if "end_time" in run]
    assert stopped and {run["reason"] for run in stopped} == {"stopped: replaced"}


def test_the_old_run_is_stopped_when_its_retention_is_over(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("over", "sleep 100000", start_interval_seconds=6, retention=1)
    first = eventually(lambda: admin.app("over").get("pid"), "the first run")
    second = eventually(lambda: (pid := admin.app("over").get("pid")) not in (None, first) and pid, "the second beside it")
    eventually(lambda: not processes.alive(first), "the first is stopped")
    assert processes.alive(second) and admin.app("over")["pid"] == second and admin.app("over")["starts"] == 2


def test_the_end_of_the_old_run_is_told_and_does_not_touch_the_new_one(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    gate = tmp_path / "gate"
    admin.add("over", f"[ -e {gate} ] && exec sleep 100000; touch {gate}; while [ -e {gate} ]; do sleep 0.05; done; exit 7",
              shell=True, start_interval_seconds=4, retention=3600, behavior={"exit": "keepalive"})
    first = eventually(lambda: admin.app("over").get("pid"), "the first run")
    second = eventually(lambda: (pid := admin.app("over").get("pid")) not in (None, first) and pid, "the second beside it")
    gate.unlink()
    eventually(lambda: not processes.alive(first), "the first ends by itself")
    ended = eventually(lambda: [run for run in admin.runs("over") if run["pid"] == first and "end_time" in run], "its end")
    assert ended[0]["return_code"] == 7 and ended[0]["reason"] == "exited"
    assert processes.alive(second), "keepalive is asked for the newest run only"
