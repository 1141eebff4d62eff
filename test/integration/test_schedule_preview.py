"""When would this run? The answer before anything is registered, over the API and as `appc schedule` prints it."""
import datetime
import json
import subprocess
import time

import pytest
from harness.daemon import ADMIN_PASSWORD, binaries
from harness.waiting import eventually


def preview(client, **fields):
    return client.request("POST", "/appmesh/schedule/preview", body=fields)


def starts(client, **fields):
    answer = preview(client, **fields)
    assert answer.status == 200, answer
    return answer.json["next"]


def appc(daemon, *words, code=0):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(daemon.home), "APPMESH_USER": "admin",
                   "APPMESH_PASSWORD": ADMIN_PASSWORD, "TZ": "UTC"}
    done = subprocess.run([binaries() / "appc", "-H", daemon.url, "--ca", daemon.ca_file, *words], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_a_grid_is_anchored_at_its_start_and_ends_at_its_end(admin):
    begin = int(time.time()) + 1000
    assert starts(admin, start_interval_seconds=60, start_time=begin, count=3) == [begin, begin + 60, begin + 120]
    assert starts(admin, start_interval_seconds="PT1M", start_time=begin, end_time=begin + 61) == [begin, begin + 60]
    assert len(starts(admin, start_interval_seconds=60)) == 5, "5 unless told otherwise"
    assert len(starts(admin, start_interval_seconds=60, count=1000)) == 1000


def test_cron_is_read_in_the_daemons_zone(new_daemon):
    client = new_daemon(BaseConfig_PosixTimezone="America/New_York").start().client()
    first = starts(client, start_interval_seconds="0 12 4 7 *", cron=True, count=1)[0]
    assert datetime.datetime.fromtimestamp(first, datetime.timezone.utc).strftime("%m-%d %H:%M") == "07-04 16:00"


def test_windows_move_and_end_what_is_planned(admin):
    day = 86400
    midnight = (int(time.time()) // day + 1) * day
    window = {"daily_start": 3600, "daily_end": 7200}
    assert starts(admin, start_time=midnight, daily_limitation=window, count=2) == [midnight + 3600, midnight + day + 3600]
    assert starts(admin, start_interval_seconds=day, start_time=midnight, daily_limitation=window, count=1) == [midnight + 3600]
    assert starts(admin, start_time=1, end_time=2) == []


@pytest.mark.parametrize("field,fields", [
    ("count", {"count": 0}), ("count", {"count": 1001}), ("count", {"count": "5"}), ("count", {"count": 2**63}),
    ("count", {"count": 1.5}), ("start_interval_seconds", {"start_interval_seconds": "PT1X"}),
    ("start_interval_seconds", {"start_interval_seconds": "61 * * * *", "cron": True}),
    ("start_interval_seconds", {"cron": True}), ("cron", {"start_interval_seconds": "1", "cron": "yes"}),
    ("daily_limitation.daily_end", {"daily_limitation": {"daily_start": 1}}), ("start_time", {"start_time": 5, "end_time": 4}),
    ("end_time", {"end_time": -1}),
])
def test_a_wrong_field_is_400_and_named(field, fields, admin):
    answer = preview(admin, **fields)
    assert answer.status == 400 and f"'{field}'" in answer.message, answer


def test_it_needs_the_permission_to_view(daemon, admin):
    assert preview(daemon.client(login=False)).status == 401
    admin.ok("PUT", "/appmesh/user/blind", body={"key": "Blind-for-tests-1", "roles": ["shell"]})
    try:
        assert preview(daemon.client("blind", "Blind-for-tests-1")).status == 403
    finally:
        admin.ok("DELETE", "/appmesh/user/blind")


def test_what_is_shown_is_what_happens(admin, name, cleaned):
    cleaned.append(name)
    begin = int(time.time()) + 2
    shown = starts(admin, start_interval_seconds=1, start_time=begin, count=3)
    admin.add(name, "true", start_interval_seconds=1, start_time=begin)
    eventually(lambda: len(admin.runs(name)) >= 3, "three runs")
    began = sorted(run["start_time"] for run in admin.runs(name))[:3]
    assert [int(start) for start in began] == shown


def test_the_command_line_prints_local_times_and_epochs(daemon):
    told = json.loads(appc(daemon, "schedule", "-i", "0 3 * * *", "-Y", "-n", "2", "-j").stdout)["next"]
    lines = [line.split() for line in appc(daemon, "schedule", "-i", "0 3 * * *", "-Y", "-n", "2").stdout.splitlines()]
    assert lines[0] == ["NEXT", "EPOCH", "IN"]
    assert [int(line[1]) for line in lines[1:]] == told and told[1] - told[0] == 86400
    assert [datetime.datetime.fromisoformat(line[0]).timestamp() for line in lines[1:]] == told
    windows = json.loads(appc(daemon, "schedule", "-b", "2040-01-01T00:00:00", "-x", "2040-01-02T12:00:00", "-S", "08:00",
                              "-E", "09:00", "-j").stdout)["next"]
    assert windows == [2208988800 + 8 * 3600, 2208988800 + 86400 + 8 * 3600]
    assert "never" in appc(daemon, "schedule", "-x", "2001-01-01").stderr
    assert "cron" in appc(daemon, "schedule", "-i", "61 * * * *", "-Y", code=1).stderr
    appc(daemon, "schedule", "-n", "0", code=2)
