"""Windows of every shape: when they are open the app runs, when they close it is stopped, and the next opening is told."""
import time

import pytest
from harness import processes
from harness.waiting import eventually, stays

DAY = 86400


def daily(start, end):
    """A window of the UTC day around now: both ends in seconds from now."""
    now = int(time.time())
    return {"daily_start": (now + start) % DAY, "daily_end": (now + end) % DAY}


def next_instant(second_of_day):
    now = int(time.time())
    return now + (second_of_day - now) % DAY


@pytest.mark.parametrize("shape,window", [
    ("before its end", (-1000, 1000)), ("before its start of the next round", (2000, 1000)), ("after its start, until tomorrow", (-1000, -2000)),
    ("equal ends, the whole day", (500, 500)),
])
def test_an_open_daily_window_runs_the_app(shape, window, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", daily_limitation=daily(*window))
    eventually(lambda: admin.app(name).get("pid"), "it runs")


@pytest.mark.parametrize("shape,window", [("later today", (1000, 2000)), ("over, again tomorrow", (-2000, -1000)), ("a gap of the day", (1000, -1000))])
def test_a_closed_daily_window_is_waited_for(shape, window, admin, name, cleaned):
    cleaned.append(name)
    limitation = daily(*window)
    opening = next_instant(limitation["daily_start"])
    app = admin.add(name, "sleep 100000", daily_limitation=limitation)
    assert app["next_start_time"] == opening and "pid" not in app
    stays(lambda: "pid" not in admin.app(name), "closed", seconds=0.3)


def test_daily_ends_may_be_instants(admin, name, cleaned):
    cleaned.append(name)
    now = int(time.time())
    app = admin.add(name, "sleep 100000", daily_limitation={"daily_start": now + 1000, "daily_end": now + 2000})
    assert app["next_start_time"] == now + 1000
    assert app["daily_limitation"]["daily_start"] == (now + 1000) % DAY
    assert app["daily_limitation"]["daily_end"] == (now + 2000) % DAY


def test_a_daily_window_that_closes_stops_the_app_and_tells_the_next_opening(admin, name, cleaned):
    cleaned.append(name)
    limitation = daily(-100, 3)
    admin.add(name, "sleep 100000", daily_limitation=limitation, behavior={"exit": "keepalive"})
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs")
    eventually(lambda: not processes.alive(pid), "it is stopped")
    app = eventually(lambda: (app := admin.app(name)).get("next_start_time") and app, "the next opening")
    assert app["last_error"].endswith("outside valid time range") and app["next_start_time"] == next_instant(limitation["daily_start"])
    assert admin.runs(name)[0]["reason"] == "stopped: outside valid time range" and app["starts"] == 1, "its policy was not asked"


def test_a_daily_window_that_opens_starts_the_app(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", daily_limitation=daily(2, 1000))
    assert "pid" not in admin.app(name)
    eventually(lambda: admin.app(name).get("pid"), "it runs")


def test_both_windows_must_be_open(admin, name, cleaned):
    cleaned += [name, name + "-2", name + "-3"]
    now = int(time.time())
    app = admin.add(name, "sleep 100000", start_time=now + 3000, daily_limitation=daily(-1000, 2000))
    assert app["next_start_time"] == next_instant(app["daily_limitation"]["daily_start"]), "tomorrow, when both are"
    app = admin.add(name + "-2", "sleep 100000", start_time=now - 1000, end_time=now + 500, daily_limitation=daily(1000, 2000))
    assert "next_start_time" not in app and "pid" not in app and app["last_error"].endswith("outside valid time range")
    app = admin.add(name + "-3", "sleep 100000", end_time=now - 1)
    assert "next_start_time" not in app and "pid" not in app


def test_an_occurrence_outside_the_daily_window_moves_to_its_opening(admin, name, cleaned):
    cleaned.append(name)
    limitation = daily(1000, 2000)
    app = admin.add(name, "true", start_interval_seconds=10, daily_limitation=limitation)
    assert app["next_start_time"] == next_instant(limitation["daily_start"])


def test_a_run_of_a_recurring_app_ends_with_the_window(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", start_interval_seconds=3600, start_time=int(time.time()) + 1, daily_limitation=daily(-100, 4))
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs")
    eventually(lambda: not processes.alive(pid), "it is stopped")
    eventually(lambda: "outside valid time range" in admin.app(name).get("last_error", ""), "it says why")
