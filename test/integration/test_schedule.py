"""Scheduled apps on a real daemon: starts on the grid, handover within the retention, and neither lost over a restart."""
import time

from harness import processes
from harness.waiting import eventually


def runs(admin, name):
    return admin.ok("GET", f"/appmesh/app/{name}/runs").json


def test_an_interval_starts_the_app_again_and_again_and_says_when_next(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("tick", "true", start_interval_seconds=1)
    assert admin.app("tick")["start_interval_seconds"] == "1"
    eventually(lambda: admin.app("tick")["starts"] >= 3, "it was started three times")
    app = admin.app("tick")
    assert app["next_start_time"] >= int(time.time())
    starts = sorted(run["start_time"] for run in runs(admin, "tick"))
    anchor = app["register_time"] + 1
    assert all(0 <= start - anchor - round(start - anchor) + 0.5 < 1 for start in starts), starts


def test_an_occurrence_without_retention_replaces_the_run_that_still_lives(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("long", "sleep 1000", start_interval_seconds=2)
    first = eventually(lambda: admin.app("long").get("pid"), "it runs")
    second = eventually(lambda: (pid := admin.app("long").get("pid")) not in (None, first) and pid, "another run")
    assert not processes.alive(first) and processes.alive(second)


def test_a_run_with_retention_ends_beside_the_new_one_and_survives_a_killed_daemon(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    notes = tmp_path / "notes"
    admin.add("slow", f"sleep 5; echo $$ >> {notes}", shell=True, start_interval_seconds=3, retention=60)
    first = eventually(lambda: admin.app("slow").get("pid"), "the first run")
    second = eventually(lambda: (pid := admin.app("slow").get("pid")) not in (None, first) and pid, "the second run")
    assert processes.alive(first) and processes.alive(second)
    fresh_daemon.kill()
    fresh_daemon.start()
    assert processes.alive(first) and processes.alive(second)
    assert admin.app("slow")["pid"] == second
    eventually(lambda: not processes.alive(first), "the handed-over run has ended by itself")
    assert str(first) in notes.read_text().split()
    ended = eventually(lambda: [run for run in runs(admin, "slow") if run["pid"] == first], "its end is in the history")
    assert ended[0]["return_code"] == 0 and ended[0]["reason"] == "exited", ended
    third = eventually(lambda: (pid := admin.app("slow").get("pid")) not in (None, first, second) and pid, "the schedule goes on")
    admin.ok("POST", "/appmesh/app/slow/disable")
    eventually(lambda: not any(map(processes.alive, (first, second, third))), "disable stops both runs")


def test_a_window_that_closes_stops_the_run(fresh_daemon):
    admin = fresh_daemon.client()
    now = int(time.time())
    admin.add("windowed", "sleep 1000", start_time=now - 10, end_time=now + 3)
    pid = eventually(lambda: admin.app("windowed").get("pid"), "it runs")
    eventually(lambda: not processes.alive(pid), "it was stopped")
    app = eventually(lambda: (app := admin.app("windowed")) and "outside valid time range" in app.get("last_error", "") and app,
                     "the app says why")
    assert "pid" not in app and "next_start_time" not in app


def test_a_start_time_in_the_future_is_waited_for(fresh_daemon):
    admin = fresh_daemon.client()
    due = int(time.time()) + 3
    app = admin.add("later", "sleep 1000", start_time=due)
    assert "pid" not in admin.app("later") and admin.app("later")["next_start_time"] == due, app
    eventually(lambda: admin.app("later").get("pid"), "it runs")
    assert admin.app("later")["last_start_time"] >= due


def test_cron_with_seconds_starts_the_app(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("croned", "true", start_interval_seconds="*/2 * * * * *", cron=True)
    eventually(lambda: admin.app("croned")["starts"] >= 2, "it was started twice")
    assert admin.app("croned")["next_start_time"] % 2 == 0
