"""The wall clock is set an hour ahead and an hour back under a running daemon: no start is lost and none comes twice.

Only the daemon sees its clock set (harness/programs/stepped_clock.c, preloaded): the machine's own clock is not ours.
"""
import datetime
import struct
import subprocess
import time

import pytest
from harness import processes
from harness.daemon import PROGRAMS
from harness.waiting import eventually, stays

HOUR = 3600


class Clock:
    """The daemon's wall clock."""

    def __init__(self, folder):
        self.file = folder / "shift"
        self.library = folder / "stepped_clock.so"
        subprocess.run(["clang-19", "-O1", "-shared", "-fPIC", "-o", self.library, PROGRAMS / "stepped_clock.c", "-lpthread"], check=True)
        self.shift = 0
        self.file.write_bytes(struct.pack("=q", 0))

    def under(self, daemon):
        daemon.environment.update(LD_PRELOAD=str(self.library), STEPPED_CLOCK=str(self.file), ASAN_OPTIONS="verify_asan_link_order=0")
        return daemon

    def step(self, seconds):
        self.shift += seconds
        with open(self.file, "r+b") as file:  # in place: it is mapped
            file.write(struct.pack("=q", self.shift * 1_000_000))

    def now(self):
        return time.time() + self.shift


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.fixture
def stepped(clock, new_daemon):
    return clock.under(new_daemon(BaseConfig_PosixTimezone="+00")).start()


def accounted(app):
    """Occurrences of a grid of 4 s before the next one, and those that were started or counted as missed."""
    anchor = app["register_time"] + 1
    return (app["next_start_time"] - anchor) // 4, app["starts"] + app.get("missed_starts", 0)


def test_the_daemon_sees_its_clock_set(clock, stepped):
    admin = stepped.client()
    for step in (HOUR, -2 * HOUR):
        clock.step(step)
        at = admin.ok("GET", "/appmesh/resources", token=stepped.client().token).json["collected_at_unix_seconds"]
        assert abs(at - clock.now()) < 60


@pytest.mark.parametrize("steps", [(HOUR,), (-HOUR, HOUR), (HOUR, -HOUR)])
def test_every_occurrence_of_a_grid_is_started_or_counted_once(steps, clock, stepped):
    admin = stepped.client()
    admin.add("grid", "true", start_interval_seconds=4)
    eventually(lambda: admin.app("grid")["starts"] >= 2, "it is started on its grid")
    for step in steps:
        clock.step(step)
        admin = stepped.client()
        starts = admin.app("grid")["starts"]
        if step < 0:
            stays(lambda: admin.app("grid")["starts"] <= starts + 1, "what has run comes no second time", seconds=6)
        else:
            eventually(lambda: admin.app("grid")["starts"] >= starts + 2, "it goes on")

    def balanced():
        due, told = accounted(admin.app("grid"))
        assert due == told
        return True
    eventually(balanced, "every occurrence is accounted for")
    # The keeper's clock is not stepped. After a jump ahead the occurrence of that very moment is started, though the one
    # of an hour before has just been.
    seconds = [round(run["start_time"]) for run in admin.runs("grid")]
    assert len(seconds) - len(set(seconds)) <= sum(step > 0 for step in steps), "none comes twice"
    if steps[0] > 0:
        assert admin.app("grid")["missed_starts"] >= HOUR // 4 - 2


def test_a_daily_run_that_the_clock_jumped_over_is_missed_or_made_up_once(clock, stepped):
    admin = stepped.client()
    due = datetime.datetime.fromtimestamp(clock.now() + HOUR / 2, datetime.timezone.utc)
    cron = f"{due.minute} {due.hour} * * *"
    admin.add("missed", "true", start_interval_seconds=cron, cron=True)
    admin.add("made-up", "true", start_interval_seconds=cron, cron=True, start_missed=True)
    planned = admin.app("missed")["next_start_time"]
    clock.step(HOUR)
    admin = stepped.client()
    eventually(lambda: admin.app("made-up")["starts"] == 1, "it is made up for")
    missed = eventually(lambda: (app := admin.app("missed")).get("missed_starts") and app, "the other is told")
    assert missed["missed_starts"] == 1 and missed["starts"] == 0
    assert missed["next_start_time"] == planned + 24 * HOUR
    clock.step(-HOUR)  # that time of day comes once more
    admin = stepped.client()
    clock.step(planned - int(clock.now()))
    admin = stepped.client()
    stays(lambda: admin.app("made-up")["starts"] == 1 and admin.app("missed")["starts"] == 0, "it has been", seconds=2)
    assert admin.app("made-up")["next_start_time"] == planned + 24 * HOUR


def test_what_runs_and_what_waits_is_not_disturbed(clock, stepped):
    admin = stepped.client()
    admin.add("steady", "sleep 100000", behavior={"exit": "keepalive"})
    admin.add("loop", "exit 1", shell=True, behavior={"exit": "restart"})
    pid = eventually(lambda: admin.app("steady").get("pid"), "it runs")
    run = admin.run(timeout=1000, command="sleep 100000").json
    on_demand = eventually(lambda: admin.app(run["name"]).get("pid"), "the on-demand run")
    eventually(lambda: "restart in 4 s" in admin.app("loop").get("last_error", ""), "it backs off")
    for step in (HOUR, -2 * HOUR, HOUR):
        clock.step(step)
        starts = stepped.client().app("loop")["starts"]
        admin = stepped.client()
        stays(lambda: admin.app("steady").get("pid") == pid and processes.alive(on_demand), "they go on", seconds=0.5)
        assert admin.app("loop")["starts"] <= starts + 1, "a back-off is not cut short"
    starts = admin.app("loop")["starts"]
    eventually(lambda: admin.app("loop")["starts"] > starts, "a back-off is not stretched either", timeout=60)
    assert admin.app("steady")["starts"] == 1


def test_a_window_follows_the_clock(clock, stepped):
    admin = stepped.client()
    now = int(clock.now())
    admin.add("closing", "sleep 100000", end_time=now + HOUR // 2)
    admin.add("opening", "sleep 100000", start_time=now + HOUR // 2)
    pid = eventually(lambda: admin.app("closing").get("pid"), "it runs")
    assert "pid" not in admin.app("opening")
    clock.step(HOUR)
    admin = stepped.client()
    eventually(lambda: not processes.alive(pid), "its window has closed")
    opened = eventually(lambda: admin.app("opening").get("pid"), "its window has opened")
    clock.step(-HOUR)
    admin = stepped.client()
    eventually(lambda: admin.app("closing").get("pid"), "it is open again")
    eventually(lambda: not processes.alive(opened), "it is closed again")


def test_a_step_while_the_daemon_is_away_is_noticed_at_its_start(clock, stepped):
    admin = stepped.client()
    admin.add("grid", "true", start_interval_seconds=4)
    admin.add("steady", "sleep 100000")
    eventually(lambda: admin.app("grid")["starts"] >= 2, "it is started on its grid")
    pid = admin.app("steady")["pid"]
    stepped.kill()
    clock.step(HOUR)
    stepped.start()
    admin = stepped.client()
    starts = admin.app("grid")["starts"]
    eventually(lambda: admin.app("grid")["starts"] >= starts + 2, "it goes on")
    due, told = accounted(admin.app("grid"))
    assert abs(due - told) <= 1 and admin.app("grid")["missed_starts"] >= HOUR // 4 - 2
    assert admin.app("steady")["pid"] == pid and admin.app("steady")["starts"] == 1
