"""appc events, task and logs against the real daemon."""
import json
import signal
import sys

from harness.daemon import PROGRAMS
from harness.waiting import eventually

from test_cli import appc, stranger  # noqa: F401: fixtures


def lines_until(process, last):
    lines = []
    while not lines or not last(lines[-1]):
        line = process.stdout.readline()
        assert line, f"it ended after {lines}"
        lines.append(line.rstrip("\n"))
    return lines


def ends_by(process, number):
    process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode


def test_events_are_shown_as_they_happen(appc, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "echo hello; exit 3", shell=True, status=0)
    process = appc.start("events", "-a", name, "-e", "START,STDOUT,EXIT", "--json")
    assert "connected" in process.stderr.readline()
    admin.enable(name)
    told = [json.loads(line) for line in lines_until(process, lambda line: '"EXIT"' in line)]
    assert told[0]["event_type"] == "START" and told[-1]["data"]["exit_code"] == 3
    assert "".join(event["data"]["output"] for event in told if event["event_type"] == "STDOUT") == "hello\n"
    assert ends_by(process, signal.SIGINT) == 130


def test_events_end_with_the_app_and_need_an_app_that_is_there(appc, admin, name):
    admin.add(name, "sleep 600", status=0)
    process = appc.start("events", "-a", name)
    assert "connected" in process.stderr.readline()
    admin.delete(name)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "REMOVED" in out and "removed" in err
    assert "No such application" in appc("events", "-a", name, code=1)[1]
    assert "names none of" in appc("events", "-e", "NONSENSE", code=1)[1]


def test_a_task_is_answered(appc, admin, daemon, name, cleaned, tmp_path):
    cleaned.append(name)
    admin.add(name, f"{sys.executable} {PROGRAMS / 'worker.py'} {daemon.port} {daemon.ca_file}")
    assert appc("task", "-a", name, "-d", "text")[0] == "re:text"
    (tmp_path / "payload").write_text("from a file")
    assert appc("task", "-a", name, "-d", f"@{tmp_path / 'payload'}")[0] == "re:from a file"
    assert appc("task", "-a", name, input="from stdin")[0] == "re:from stdin"
    assert "no task" in appc("task", "-a", name, "--cancel")[1]
    assert "cannot read" in appc("task", "-a", name, "-d", "@/no/such/file", code=2)[1]
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "it is gone")
    assert "No process running" in appc("task", "-a", name, "-d", "x", code=1)[1]


def test_logs_of_several_apps_are_prefixed_and_followed(appc, admin, name, cleaned, tmp_path):
    names = [f"{name}-a", f"{name}-bb"]
    gate = tmp_path / "gate"
    for each in names:
        cleaned.append(each)
        admin.add(each, f"seq 1 5; until [ -e {gate} ]; do sleep 0.02; done; echo later; sleep 600", shell=True)
        eventually(lambda: admin.output(each).body.endswith(b"5\n"), "it has written")
    out, _ = appc("logs", *names)
    assert sorted(out.splitlines()) == sorted(f"{each:<{len(names[1])}} | {line}" for each in names for line in range(1, 6))
    assert appc("logs", names[0], "--tail", "2")[0] == "4\n5\n"
    assert appc("logs", names[0], "--tail", "0")[0] == ""
    process = appc.start("logs", "-f", "--tail", "1", *names)
    assert sorted(lines_until(process, lambda _: True) + lines_until(process, lambda _: True)) == sorted(
        f"{each:<{len(names[1])}} | 5" for each in names)
    gate.touch()
    assert sorted(lines_until(process, lambda _: True) + lines_until(process, lambda _: True)) == sorted(
        f"{each:<{len(names[1])}} | later" for each in names)
    assert ends_by(process, signal.SIGINT) == 130
    assert "No such application" in appc("logs", "no-such-app", code=1)[1]


def test_logs_since_show_older_runs_too(appc, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    count = tmp_path / "count"
    admin.add(name, f"echo x >> {count}; wc -l < {count}; sleep 600", shell=True, stdout_cache_num=3)
    for run in (1, 2):
        eventually(lambda: admin.output(name).body.strip() == str(run).encode(), "it has written")
        if run == 1:
            admin.ok("POST", f"/appmesh/app/{name}/restart")
    assert appc("logs", name)[0].split() == ["2"]
    assert appc("logs", name, "--since", "1h")[0].split() == ["1", "2"]
    assert "no duration" in appc("logs", name, "--since", "yesterday", code=2)[1]
