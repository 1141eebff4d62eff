"""What appc says: every message names the word, the flag or the app it is about, and the next step; nothing is dropped in silence."""
import datetime
import json
import re
import signal

import pytest
import yaml
from harness.waiting import eventually

from test_cli import Cli, appc, stranger  # noqa: F401: fixtures
from test_cli_events import ends_by


def logged_on(house, folder):
    own = Cli(house, folder)
    own("-H", house.url, "logon", "-U", "admin", environment={"APPMESH_PASSWORD": "Admin-for-tests-1"})
    return own


def test_a_run_of_an_app_that_is_not_there_says_so(appc):
    out, err = appc("run", "-a", "nosuch", code=1)
    assert "there is no app nosuch" in err and "appc ls" in err and "-c COMMAND" in err


def test_the_apps_of_logs_are_completed(appc, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "true", status=0)
    for words in (["logs", name[:-1]], ["logs", "other", name[:-1]], ["ls", "-a", name[:-1]]):
        assert name in appc("__complete", *words)[0].split(), words
    assert "--tail" in appc("__complete", "logs", "--t")[0].split()


def test_all_times_of_a_row_are_of_one_zone(new_daemon, tmp_path):
    house = new_daemon(BaseConfig_PosixTimezone="+08").start()
    own = logged_on(house, tmp_path)
    house.client().add("tick", "exit 3", shell=True, start_interval_seconds=3600)
    eventually(lambda: "exited" in house.client().app("tick").get("last_error", ""), "it has run")
    assert "+08 exited" in house.client().app("tick")["last_error"]
    row = own("ls", "-l", environment={"TZ": "America/New_York"})[0].splitlines()[1]
    times = re.findall(r"\d{4}-\d\d-\d\dT[\d:]+[+-]\d\d:\d\d", row)
    assert len(times) == 2 and len({time[-6:] for time in times}) == 1, row
    assert all(datetime.datetime.fromisoformat(time).utcoffset() < datetime.timedelta(0) for time in times)


def test_the_whole_list_can_be_followed(appc, admin, name, cleaned):
    cleaned.append(name)
    process = appc.start("ls", "-f", "--format", "name")
    admin.add(name, "true", status=0)
    while process.stdout.readline().strip() != name:
        pass
    assert ends_by(process, signal.SIGINT) == 130


def test_events_go_on_when_the_daemon_comes_back(fresh_daemon, tmp_path):
    own = logged_on(fresh_daemon, tmp_path)
    process = own.start("events", "-e", "STATUS", "-j")
    assert "connected" in process.stderr.readline()
    fresh_daemon.stop()
    assert "the connection was lost; waiting for the daemon" in process.stderr.readline()
    fresh_daemon.start()
    assert "connected again" in process.stderr.readline()
    admin = fresh_daemon.client()
    admin.add("app", "true")
    admin.disable("app")
    assert json.loads(process.stdout.readline())["data"]["status"] == "disabled"
    assert ends_by(process, signal.SIGINT) == 130


def test_a_daemon_that_was_never_there_ends_events_at_once(stranger):
    assert "is the daemon running?" in stranger("-H", "https://127.0.0.1:1", "--insecure", "-U", "a", "-X", "b", "events", code=1)[1]


@pytest.mark.timeout(120)
def test_a_rolling_restart_is_waited_for_and_told_when_it_stops(new_daemon, tmp_path):
    house = new_daemon(BaseConfig_StopGraceSeconds=1).start()
    admin, own, gate = house.client(), logged_on(house, tmp_path), tmp_path / "gate"
    admin.add("web", f"[ -e {gate} ] && exit 9; echo up; exec sleep 1000", shell=True, instances=3,
              readiness={"by": "log", "pattern": "up", "timeout_seconds": 20})

    def pids():
        return [run.get("pid") for run in admin.app("web")["runs"]]
    before = eventually(lambda: all(run.get("ready") for run in admin.app("web")["runs"]) and pids(), "all are ready")
    out, err = own("restart", "-a", "web")
    assert "Every instance of web was restarted" in err and not set(before) & set(pids())
    gate.touch()
    out, err = own("restart", "-a", "web", code=1)
    assert "the rolling restart of web stopped: instance 0" in err and "exited with return code: 9" in err and "appc restart -a web" in err
    assert admin.app("web")["rolling_restart"]["state"] == "stopped"
    gate.unlink()
    own("restart", "-a", "web")
    assert "rolling_restart" not in admin.app("web")


def test_a_password_that_was_not_changed_is_told(appc, admin, daemon):
    try:
        assert "Added user" in appc("user", "-j", json.dumps({"name": "bob", "key": "Bob-for-tests-1", "roles": ["view"]}))[1]
        out, err = appc("user", "-j", json.dumps({"name": "bob", "key": "Bob-for-tests-2", "roles": ["view", "shell"]}), code=1)
        assert "changed roles" in err and "the password of bob was not changed" in err and "appc passwd -t bob" in err
        assert daemon.client("bob", "Bob-for-tests-1")
        assert "nothing was other" in appc("user", "-j", json.dumps({"name": "bob", "roles": ["view", "shell"]}))[1]
    finally:
        admin.ok("DELETE", "/appmesh/user/bob")


def test_keys_that_would_be_dropped_are_refused_by_name(appc, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    for key in ("user", "owner", "register_time", "comand"):
        text = yaml.safe_dump({"name": name, "command": "true", key: 1})
        assert f"'{key}'" in (err := appc("add", "-D", "std", input=text, code=1)[1]) or f"unknown key: {key}" in err
        assert name not in admin.apps()
    # What a listing has can be put back.
    admin.add(name, "true", status=0)
    appc("add", "-f", "-D", "std", input=appc("ls", "-a", name, "--format", "yaml")[0])


def test_a_shell_ends_with_its_input_and_takes_variables_and_a_time_limit(appc):
    assert "seen=1 2" in appc("shell", "-e", "A=1 2", "-c", "echo seen=$A", input="")[0]
    appc("shell", input="")
    appc("shell", "-t", "1", "-c", "sleep 1000", code=124)
    assert "is neither seconds" in appc("shell", "-t", "soon", code=2)[1]
    assert "letters, digits" in appc("shell", "-e", "a.b=1", code=2)[1]


def test_the_first_password_of_admin_is_shown_to_root(new_daemon, tmp_path):
    house = new_daemon(ADMIN_PASSWORD=None)
    own = Cli(house, tmp_path)
    assert "has not been started yet" in own("appmginit")[1]
    house.start()
    file = house.home / "work/config/initial-admin-password"
    assert own("appmginit")[0].strip() == file.read_text().splitlines()[0].strip()
    file.unlink()
    assert "has a password already" in own("appmginit", code=1)[1]
