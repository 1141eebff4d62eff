"""Readiness (docs/wire.md#own-fields): each way to be ready, its time limit, who may speak, and what a dead daemon does not miss."""
import os
import socket

import pytest
from harness import processes
from harness.notifier import Notifier
from harness.waiting import eventually, stays


@pytest.fixture
def quick(new_daemon):
    return new_daemon(BaseConfig_HealthCheckSeconds=1).start()


def is_ready(client, name):
    app = client.app(name)
    return app.get("pid") is not None and app["ready"]


def test_a_started_process_is_ready_and_nothing_is_said_when_none_runs(daemon, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000")
    assert is_ready(admin, name)
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "it has stopped")
    assert "ready" not in admin.app(name)


def test_by_notify_the_app_says_when_and_what_it_does(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, readiness={"by": "notify"})
    app.started()
    app.say("send STATUS=reading 1 of 9")
    eventually(lambda: admin.app(name).get("status_text") == "reading 1 of 9", "the status is shown")
    assert not is_ready(admin, name)
    app.say("send STATUS=open for business\\nREADY=1")
    eventually(lambda: is_ready(admin, name), "it is ready")
    assert admin.app(name)["status_text"] == "open for business"
    app.say("send STOPPING=1")
    eventually(lambda: not is_ready(admin, name), "it is about to end")
    app.say("exit 0", wait=False)
    ended = eventually(lambda: "pid" not in (now := admin.app(name)) and now, "it has ended")
    assert "status_text" not in ended and "ready" not in ended


def test_a_child_of_the_run_may_speak_and_a_barrier_passes_after_what_was_said_before(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, readiness={"by": "notify"})
    app.started()
    app.say("child STATUS=from a child")
    app.say("barrier")
    assert admin.app(name)["status_text"] == "from a child"
    assert app.done("barrier passed") == 1


def test_strangers_and_nonsense_are_not_heard(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, readiness={"by": "notify"})
    address = app.started()["NOTIFY_SOCKET"]
    assert os.stat(address).st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect(address)
        stranger.send(b"READY=1\nSTATUS=mine")
        for nonsense in (b"", b"\0" * 4096, b"=", b"READY", b"\xff" * 100, b"x" * 9000 + b"\nREADY=1"):
            stranger.send(nonsense)
    app.say("send " + "x" * 5000 + "\\nREADY=1")
    app.say("send STATUS=é\\x01 and more")
    app.say("barrier")
    shown = admin.app(name)
    assert not shown["ready"] and "mine" not in shown["status_text"]
    app.say("send READY=1")
    eventually(lambda: is_ready(admin, name), "the app itself is heard")
    admin.disable(name)
    eventually(lambda: not os.path.exists(address), "the socket goes with the run")


def test_by_log_a_whole_line_that_matches_makes_it_ready(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, readiness={"by": "log", "pattern": r"^listening on \d+$"})
    app.started()
    app.say("print not listening on 80")
    app.say("part listening on 80")
    app.say("print 80 and more")
    for _ in range(40):
        app.say("print " + "noise " * 500)
    stays(lambda: not is_ready(admin, name), "nothing matches yet", seconds=0.5)
    app.say("print listening on 443")
    eventually(lambda: is_ready(admin, name), "the line makes it ready")


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "((a{100}){100}){100}", "[z-a]", r"(a)\1"])
def test_a_pattern_that_is_none_is_refused(pattern, daemon, admin, name):
    answer = admin.request("PUT", f"/appmesh/app/{name}",
                           body={"name": name, "command": "true", "readiness": {"by": "log", "pattern": pattern}})
    assert answer.status == 400 and "readiness.pattern" in answer.message


def test_by_health_the_first_check_that_passes_makes_it_ready(quick, tmp_path):
    admin = quick.client()
    admin.add("web", "sleep 100000", health_check_cmd=f"test -e {tmp_path}/well", readiness={"by": "health"})
    stays(lambda: not is_ready(admin, "web"), "no check has passed")
    (tmp_path / "well").touch()
    eventually(lambda: is_ready(admin, "web"), "a check has passed")
    (tmp_path / "well").unlink()
    eventually(lambda: admin.app("web")["health"] == 1, "ill")
    assert is_ready(admin, "web"), "what was ready stays ready"


@pytest.mark.parametrize("policy", ["standby", "restart"])
def test_what_is_not_ready_in_time_is_stopped_and_its_exit_policy_applies(policy, new_daemon, tmp_path):
    daemon = new_daemon(BaseConfig_StopGraceSeconds=1).start()
    admin = daemon.client()
    app = Notifier(tmp_path, "late")
    admin.add("late", app.command + " --deaf", behavior={"exit": policy},
              readiness={"by": "notify", "timeout_seconds": 1})
    told = eventually(lambda: "not ready within 1 s" in (now := admin.app("late")).get("last_error", "") and now, "it says why")
    assert told["return_code"] == -9
    if policy == "standby":
        stays(lambda: "pid" not in admin.app("late"), "it stays stopped")
        assert admin.runs("late")[0]["reason"].startswith("stopped: not ready in time")
    else:
        app.started(times=2)
        app.say("send READY=1")
        eventually(lambda: is_ready(admin, "late"), "the second is in time")
        stays(lambda: is_ready(admin, "late"), "and stays", seconds=1.5)


@pytest.mark.parametrize("moment", ["before it spoke", "while it speaks"])
def test_what_is_said_while_the_daemon_is_dead_is_not_lost(moment, fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    app = Notifier(tmp_path, "app")
    admin.add("app", app.command, readiness={"by": "notify", "timeout_seconds": 600})
    app.started()
    pid = admin.app("app")["pid"]
    if moment == "while it speaks":
        app.say("send STATUS=first\\nREADY=1", wait=False)
        fresh_daemon.kill()
    else:
        fresh_daemon.kill()
        app.say("send STATUS=first")
        app.say("send READY=1")
    fresh_daemon.start()
    eventually(lambda: is_ready(admin, "app"), "it is heard")
    assert admin.app("app")["status_text"] == "first" and admin.app("app")["pid"] == pid
    fresh_daemon.kill()
    fresh_daemon.start()
    assert is_ready(admin, "app"), "and remembered"
    app.say("send STATUS=goes on")
    eventually(lambda: admin.app("app")["status_text"] == "goes on", "the socket still works")


@pytest.mark.parametrize("daemon_dies_too", [False, True])
def test_the_socket_works_on_after_the_death_of_the_keeper(daemon_dies_too, fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    app = Notifier(tmp_path, "app")
    admin.add("app", app.command, readiness={"by": "notify"})
    app.started()
    eventually(lambda: admin.app("app").get("pid"), "it runs")
    if daemon_dies_too:
        fresh_daemon.kill()
    old = fresh_daemon.kill_keeper()
    if daemon_dies_too:
        fresh_daemon.start()
    eventually(lambda: fresh_daemon.keeper_pid() not in (None, old), "a new keeper")
    # Whoever speaks while nobody has the socket is told so by the kernel, as with every service manager.
    eventually(lambda: os.path.exists(app.started()["NOTIFY_SOCKET"]), "there is a socket")
    eventually(lambda: admin.app("app").get("pid"), "the run is found")
    app.say("send READY=1")
    eventually(lambda: is_ready(admin, "app"), "it is ready")
    # And the new keeper holds it again: the next daemon reads what was said.
    fresh_daemon.kill()
    app.say("send STATUS=again")
    fresh_daemon.start()
    eventually(lambda: admin.app("app").get("status_text") == "again", "it is heard")


def test_another_process_may_stand_for_the_run(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    app = Notifier(tmp_path, name)
    admin.add(name, app.command, readiness={"by": "notify"})
    app.started()
    first = admin.app(name)["pid"]
    app.say("hand-over")
    second = eventually(lambda: (pid := admin.app(name)["pid"]) != first and pid, "the other one is shown")
    assert processes.alive(first) and processes.alive(second)
    processes.kill_exactly(first, lambda pid: "notifier.py" in processes.command_line(pid))
    eventually(lambda: not processes.alive(first), "the first is gone")
    stays(lambda: admin.app(name).get("pid") == second, "the run goes on", seconds=0.5)
    app.say("exit 7", wait=False)
    ended = eventually(lambda: "pid" not in (now := admin.app(name)) and now, "it has ended")
    assert ended["return_code"] == 7 and ended["starts"] == 1
