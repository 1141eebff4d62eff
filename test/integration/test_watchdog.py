"""`watchdog_seconds`: a run that gives no sign of life for that long is killed with ABRT, and its exit policy applies."""
import pytest
from harness import processes
from harness.notifier import Notifier
from harness.waiting import eventually, stays


def test_the_run_is_told_its_deadline_and_lives_while_it_gives_signs(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, watchdog_seconds=2, behavior={"exit": "restart"})
    told = app.started()
    pid = admin.app(name)["pid"]
    assert told["WATCHDOG_USEC"] == "2000000" and told["WATCHDOG_PID"] == str(pid)
    app.say("feed 0.3")
    stays(lambda: admin.app(name).get("pid") == pid, "it is left alone", seconds=4.5)
    app.say("starve")
    killed = eventually(lambda: (now := admin.app(name)).get("return_code") == -6 and now, "it is killed with ABRT")
    assert "watchdog" in killed["last_error"]
    app.started(times=2)
    assert not processes.alive(pid)
    run = eventually(lambda: [each for each in admin.runs(name) if each["pid"] == pid][0].get("end_time") and
                     [each for each in admin.runs(name) if each["pid"] == pid][0], "it is in the history")
    assert run["return_code"] == -6 and run["reason"].startswith("stopped: watchdog")


def test_one_that_never_gave_a_sign_is_killed_and_stays_so_with_standby(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    admin.add(name, "sleep 100000", watchdog_seconds=1)
    killed = eventually(lambda: (now := admin.app(name)).get("return_code") == -6 and now, "it is killed")
    assert killed["starts"] == 1 and "no WATCHDOG=1 for 1 s" in killed["last_error"]
    stays(lambda: "pid" not in admin.app(name), "its exit policy is standby")


def test_a_run_may_call_the_watchdog_itself(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, watchdog_seconds=100)
    app.started()
    app.say("send WATCHDOG=trigger", wait=False)
    eventually(lambda: admin.app(name).get("return_code") == -6, "it is killed")


@pytest.mark.timeout(120)
def test_a_new_daemon_gives_the_whole_time_again_and_then_goes_on_watching(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    app = Notifier(tmp_path, "app")
    admin.add("app", app.command, watchdog_seconds=3)
    app.started()
    app.say("feed 0.5")
    pid = admin.app("app")["pid"]
    fresh_daemon.kill()
    fresh_daemon.start()
    stays(lambda: admin.app("app").get("pid") == pid, "it is fed", seconds=4)
    app.say("starve")
    eventually(lambda: admin.app("app").get("return_code") == -6, "it is killed")


def test_without_a_watchdog_or_notify_there_is_no_socket(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command)
    assert set(app.started().values()) == {"-"}
