"""What people change in the definition files while the daemon is down has the outcome of the same PUT."""
import re

import pytest
from harness import processes
from harness.waiting import eventually, stays

# A field, its line in the file afterwards, and whether what runs has to be started anew.
FIELDS = [
    ("command", "command: sleep 200000", True),
    ("working_dir", "working_dir: /", True),
    ("shell", "shell: true", True),
    ("env", "env:\n  COLOUR: blue", True),
    ("sec_env", "sec_env:\n  TOKEN: t0ken", True),
    ("metadata", "metadata: some text", True),
    ("watchdog_seconds", "watchdog_seconds: 1000", True),
    ("readiness", "readiness:\n  by: notify", True),
    ("session_login", "session_login: true", True),
    ("owner", "owner: admin", False),  # as it was
    ("description", "description: another", False),
    ("permission", "permission: 33", False),
    ("behavior", "behavior:\n  exit: restart", False),
    ("health_check_cmd", 'health_check_cmd: "true"', False),
    ("stdout_cache_num", "stdout_cache_num: 5", False),
    ("retention", 'retention: "5"', False),
    ("start_missed", "start_missed: true", False),
    ("start_time", "start_time: 1000", False),
    ("end_time", "end_time: 4000000000", False),
    ("daily_limitation", "daily_limitation:\n  daily_start: 0\n  daily_end: 0", False),
    ("version", "version: 7", False),
]


def edit(file, field, lines):
    text = re.sub(rf"^{field}:.*\n(?:[ -].*\n)*", "", file.read_text(), flags=re.M)
    file.write_text(text + lines + "\n")


@pytest.fixture(scope="module")
def machine(homes):
    from harness.daemon import Daemon
    daemon = Daemon(homes / "edited", BaseConfig_StopGraceSeconds=1)
    try:
        yield daemon.start()
    finally:
        daemon.close()


def test_every_field_takes_effect_once(machine):
    admin = machine.client()
    for field, _, _ in FIELDS:
        admin.add(f"of-{field}", "sleep 100000")
        admin.add(f"off-{field}", "sleep 100000", status=0)
    pids = eventually(lambda: (apps := admin.apps()) and all(apps[f"of-{f}"].get("pid") for f, _, _ in FIELDS) and
                      {f: apps[f"of-{f}"]["pid"] for f, _, _ in FIELDS}, "all run")
    machine.stop()
    for field, lines, _ in FIELDS:
        for prefix in ("of", "off"):
            edit(machine.home / f"work/apps/{prefix}-{field}.yaml", field, lines)
    machine.start()
    for field, _, anew in FIELDS:
        if anew:
            eventually(lambda field=field: admin.app(f"of-{field}").get("pid") not in (None, pids[field]), f"{field}: a new run")
        else:
            assert admin.app(f"of-{field}")["pid"] == pids[field], field
    apps = admin.apps()
    for field, _, anew in FIELDS:
        assert apps[f"of-{field}"]["starts"] == (2 if anew else 1), field
        assert "pid" not in apps[f"off-{field}"] and apps[f"off-{field}"]["status"] == 0, field
    command = processes.command_line(apps["of-command"]["pid"])
    assert command == "sleep 200000"
    assert processes.environment(apps["of-env"]["pid"])["COLOUR"] == "blue"
    # A second restart finds everything as it should be.
    now = {name: app.get("pid") for name, app in apps.items()}
    machine.stop()
    machine.start()
    assert {name: app.get("pid") for name, app in admin.apps().items()} == now
    for name in now:
        admin.delete(name)


def test_status_takes_effect(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("on", "sleep 100000")
    admin.add("off", "sleep 100000", status=0)
    pid = eventually(lambda: admin.app("on").get("pid"), "it runs")
    fresh_daemon.stop()
    edit(fresh_daemon.home / "work/apps/on.yaml", "status", "status: 0")
    edit(fresh_daemon.home / "work/apps/off.yaml", "status", "status: 1")
    fresh_daemon.start()
    eventually(lambda: not processes.alive(pid), "what was disabled is stopped")
    eventually(lambda: admin.app("off").get("pid"), "what was enabled is started")
    assert admin.app("on")["status"] == 0 and admin.app("off")["status"] == 1
    stays(lambda: not fresh_daemon.processes_of("on"), "and stays so", seconds=0.5)


def test_a_schedule_and_instances_take_effect(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("tick", "true", start_interval_seconds=3600)
    admin.add("many", "sleep 100000", instances=2)
    eventually(lambda: len(fresh_daemon.processes_of("many")) == 2, "both run")
    first = set(fresh_daemon.processes_of("many"))
    fresh_daemon.stop()
    edit(fresh_daemon.home / "work/apps/tick.yaml", "start_interval_seconds", 'start_interval_seconds: "1"')
    edit(fresh_daemon.home / "work/apps/many.yaml", "instances", "instances: 3")
    fresh_daemon.start()
    starts = admin.app("tick")["starts"]
    eventually(lambda: admin.app("tick")["starts"] > starts + 1, "the new interval holds")
    eventually(lambda: len(fresh_daemon.processes_of("many")) == 3, "one more runs")
    assert first < set(fresh_daemon.processes_of("many"))
    fresh_daemon.stop()
    edit(fresh_daemon.home / "work/apps/many.yaml", "command", "command: sleep 200000")
    fresh_daemon.start()
    eventually(lambda: sorted(map(processes.command_line, fresh_daemon.processes_of("many"))) == ["sleep 200000"] * 3,
               "one after the other gets the new command")


def test_what_has_ended_runs_again_with_another_command(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    admin.add("once", f"echo one >> {tmp_path}/said", shell=True)
    eventually(lambda: admin.app("once").get("return_code") == 0, "it has ended")
    fresh_daemon.stop()
    edit(fresh_daemon.home / "work/apps/once.yaml", "command", f"command: echo two >> {tmp_path}/said")
    fresh_daemon.start()
    eventually(lambda: (tmp_path / "said").read_text() == "one\ntwo\n", "the new command has run")
    fresh_daemon.stop()
    fresh_daemon.start()
    stays(lambda: (tmp_path / "said").read_text() == "one\ntwo\n", "once", seconds=0.5)
