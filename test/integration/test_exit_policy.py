"""What happens after a natural exit: behavior.exit, behavior.control, and the back-off."""
import pytest
from harness.waiting import eventually, stays


def finished(admin, name, code):
    return eventually(lambda: (app := admin.app(name)).get("return_code") == code and "pid" not in app and app,
                      f"{name} has exited with {code}")


@pytest.mark.parametrize("command,code", [("true", 0), ("exit 41", 41), ("kill -9 $$", -9), ("kill -TERM $$", -15)])
def test_standby_stays_stopped_and_knows_the_code(command, code, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, command, shell=True)
    app = finished(admin, name, code)
    assert app["starts"] == 1 and app["health"] == 1 and "next_start_time" not in app
    assert f"exited with return code: {code}" in app["last_error"]
    stays(lambda: admin.app(name)["starts"] == 1, "no second start")


@pytest.mark.parametrize("policy", ["restart", "keepalive"])
def test_restart_policies_start_again_with_a_visible_back_off(policy, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "exit 3", shell=True, behavior={"exit": policy})
    eventually(lambda: admin.app(name)["starts"] >= 3, "three starts")
    waiting = eventually(lambda: (app := admin.app(name)).get("next_start_time") and app, "a planned start")
    assert waiting["return_code"] == 3
    history = admin.runs(name)
    assert len(history) >= 3
    starts = [run["start_time"] for run in history]
    assert starts == sorted(starts, reverse=True), "newest first"
    assert {run["return_code"] for run in history if run.get("end_time")} == {3}
    assert len({run["process_uuid"] for run in history}) == len(history)


def test_remove_deletes_the_app_after_its_exit(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "true", behavior={"exit": "remove"})
    eventually(lambda: not admin.exists(name), "the app is gone")


ENDS = {0: "true", 41: "exit 41", -9: "kill -9 $$"}


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("policy", ["standby", "restart", "keepalive", "remove"])
def test_every_policy_holds_for_every_kind_of_end(policy, code, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, ENDS[code], shell=True, behavior={"exit": policy})
    if policy == "remove":
        eventually(lambda: not admin.exists(name), "the app is gone")
    elif policy == "standby":
        assert finished(admin, name, code)["starts"] == 1
        stays(lambda: admin.app(name)["starts"] == 1, "no second start", seconds=0.3)
    else:
        eventually(lambda: admin.app(name)["starts"] >= 2, "it is started again")
        assert admin.app(name)["return_code"] == code
        ended = [run for run in admin.runs(name) if "end_time" in run]
        assert {run["return_code"] for run in ended} == {code}
        assert {run["reason"] for run in ended} == {"exited" if code >= 0 else "killed by a signal"}


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("policy", ["standby", "restart", "keepalive", "remove"])
def test_every_policy_may_be_that_of_one_code_alone(policy, code, admin, name, cleaned):
    cleaned.append(name)
    other = "keepalive" if policy == "standby" else "standby"
    admin.add(name, ENDS[code], shell=True, behavior={"exit": other, "control": {str(code): policy}})
    if policy == "remove":
        eventually(lambda: not admin.exists(name), "the app is gone")
    elif policy == "standby":
        finished(admin, name, code)
        stays(lambda: admin.app(name)["starts"] == 1, "no second start", seconds=0.3)
    else:
        eventually(lambda: admin.app(name)["starts"] >= 2, "it is started again")


def test_removal_waits_for_the_retention(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "exit 41", shell=True, behavior={"exit": "remove"}, retention=2)
    ended = finished(admin, name, 41)
    assert ended["starts"] == 1, "its end can be looked at for a while"
    eventually(lambda: not admin.exists(name), "then the app is gone")


def test_control_decides_by_exit_code(admin, name, cleaned):
    cleaned += [name, name + "-2"]
    admin.add(name, "exit 7", shell=True, behavior={"exit": "standby", "control": {"7": "keepalive"}})
    admin.add(name + "-2", "exit 8", shell=True, behavior={"exit": "keepalive", "control": {"8": "standby"}})
    eventually(lambda: admin.app(name)["starts"] >= 2, "7 starts again")
    finished(admin, name + "-2", 8)
    stays(lambda: admin.app(name + "-2")["starts"] == 1, "8 stays stopped")


def test_a_policy_is_not_asked_when_a_user_stopped_it(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000", behavior={"exit": "keepalive"})
    eventually(lambda: admin.app(name).get("pid"), "it runs")
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "it is stopped")
    stays(lambda: "pid" not in admin.app(name) and admin.app(name)["starts"] == 1, "it stays stopped")


@pytest.mark.parametrize("what,app,words", [
    ("no such command", {"command": "/no/such/program"}, ["exec", "No such file or directory"]),
    ("no such directory", {"command": "true", "working_dir": "/no/such/folder"}, ["/no/such/folder|chdir", "No such file"]),
    ("not a program", {"command": "/etc/passwd"}, ["exec", "Permission denied"]),
])
def test_a_failed_start_names_its_step_and_its_reason(what, app, words, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, **app)
    failed = eventually(lambda: (app := admin.app(name)).get("last_error") and app, "the failure is told")
    assert all(any(word in failed["last_error"] for word in choice.split("|")) for choice in words), failed["last_error"]
    assert "pid" not in failed and failed["starts"] == 0 and failed["health"] == 1 and "return_code" not in failed
