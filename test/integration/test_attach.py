"""Attach: a process that nobody manages becomes the run of an app, and is watched and stopped like any other."""
import os
import pwd
import secrets
import signal
import subprocess

import pytest
from harness import processes
from harness.waiting import eventually, stays


@pytest.fixture
def stranger():
    """stranger(command) starts a shell that is no app; everything it started is ended at the end of the test."""
    started = []

    def start(command="sleep 100000", **options):
        process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, start_new_session=True, **options)
        started.append(process)
        return process
    yield start
    for process in started:
        for pid in [*processes.descendants(process.pid), process.pid]:
            if process.poll() is None or pid != process.pid:
                processes.kill_exactly(pid, processes.alive)
        process.wait()


def put(client, name, pid, **fields):
    body = {"name": name, "command": "sleep 100000", "pid": pid, **fields}
    return client.request("PUT", f"/appmesh/app/{name}", body=body)


def test_an_adopted_process_is_shown_watched_and_replaced_when_it_ends(admin, name, cleaned, stranger):
    cleaned.append(name)
    process = stranger()
    answer = put(admin, name, process.pid, behavior={"exit": "keepalive"})
    assert answer.status == 200, answer
    app = answer.json
    assert app["pid"] == process.pid and app["starts"] == 1 and app["health"] == 0 and app["process_uuid"]
    assert admin.output(name).body == b""

    process.send_signal(signal.SIGTERM)
    process.wait()
    again = eventually(lambda: (now := admin.app(name)).get("pid") not in (None, process.pid) and now, "it is started")
    assert again["starts"] == 2 and again["return_code"] == 0
    assert "exit status unknown" in again["last_error"]
    history = admin.runs(name)
    assert [run["pid"] for run in history] == [again["pid"], process.pid]
    assert history[1]["reason"] == "exit status unknown"


def test_disable_ends_an_adopted_process_with_all_of_its_descendants(admin, name, cleaned, stranger):
    cleaned.append(name)
    process = stranger("setsid sh -c 'trap \"\" TERM; sleep 4242 & wait' & sleep 4343")
    tree = eventually(lambda: len(found := processes.descendants(process.pid)) >= 3 and found, "its children run")
    assert put(admin, name, process.pid).status == 200
    admin.disable(name)
    eventually(lambda: process.poll() is not None, "it has ended")
    eventually(lambda: not any(map(processes.alive, tree)), "and so has every descendant")
    assert admin.app(name)["status"] == 0 and "pid" not in admin.app(name)


def test_an_app_that_runs_makes_way_for_the_adopted_process(admin, name, cleaned, stranger):
    cleaned.append(name)
    first = admin.add(name, "sleep 100000", behavior={"exit": "keepalive"})
    process = stranger()
    assert put(admin, name, process.pid, behavior={"exit": "keepalive"}).status == 200
    app = eventually(lambda: (now := admin.app(name)).get("pid") == process.pid and now, "the process is adopted")
    assert app["starts"] == 2 and not processes.alive(first["pid"])


def test_what_get_gave_is_no_request_to_adopt(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000")
    app = admin.app(name)
    assert admin.request("PUT", f"/appmesh/app/{name}", body=app).status == 200
    now = admin.app(name)
    assert now["pid"] == app["pid"] and now["starts"] == 1


def test_processes_that_are_not_to_be_had_are_refused_with_the_reason(admin, daemon, name, cleaned, stranger):
    cleaned.append(name)
    other = name + "-other"
    cleaned.append(other)
    managed = admin.add(other, "sh -c 'sleep 5151 & wait'", behavior={"exit": "keepalive"})["pid"]
    child = eventually(lambda: processes.descendants(managed), "the app's child runs")[0]
    ended = stranger("true")
    ended.wait()
    kernel_threads = [pid for pid in processes.all_pids() if processes.alive(pid) and not processes.command_line(pid)
                      and processes.stat_fields(pid)[1] == "2"][:1]
    refused = {1: 403, daemon.pid: 403, daemon.keeper_pid(): 403, os.getpid(): 403, managed: 403, child: 403,
               ended.pid: 400, 4194304 + 7: 400, **{pid: 403 for pid in kernel_threads}}
    for pid, status in refused.items():
        answer = put(admin, name, pid)
        assert answer.status == status and "pid" in answer.message, (pid, answer)
        assert not admin.exists(name), "nothing is registered"
    assert admin.app(other)["pid"] == managed and admin.app(other)["starts"] == 1

    process = stranger()
    assert put(admin, name, process.pid, status=0).status == 400
    assert put(admin, name, process.pid, end_time=1).status == 400
    assert put(admin, name, -5).status == 400
    stays(lambda: process.poll() is None and not admin.exists(name), "the process is left alone", seconds=0.3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_only_processes_of_the_apps_own_os_user_are_adopted(admin, daemon, name, cleaned, stranger):
    cleaned.append(name)
    nobody = pwd.getpwnam("nobody")
    user, password = f"user{secrets.token_hex(3)}", "Owner-for-tests-1"
    admin.ok("PUT", f"/appmesh/user/{user}",
             body={"key": password, "exec_user": nobody.pw_name, "roles": ["manage", "view"]})
    owner = daemon.client(user, password)
    answer = put(owner, name, stranger().pid)
    assert answer.status == 403 and "OS user" in answer.message, answer
    assert not admin.exists(name)

    theirs = stranger(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert put(owner, name, theirs.pid).status == 200
    assert owner.app(name)["pid"] == theirs.pid
    owner.disable(name)
    eventually(lambda: theirs.poll() is not None, "it can be stopped")
    admin.request("DELETE", f"/appmesh/user/{user}")


def test_two_apps_never_have_the_same_process(admin, name, cleaned, stranger):
    cleaned += [name, name + "-2"]
    process = stranger()
    assert put(admin, name, process.pid).status == 200
    assert put(admin, name + "-2", process.pid).status == 403
    admin.disable(name)
    eventually(lambda: process.poll() is not None, "its one app can stop it")


@pytest.mark.parametrize("who_dies", ["daemon", "keeper", "both"])
def test_an_adopted_process_stays_adopted_when_daemon_or_keeper_die(who_dies, fresh_daemon, stranger):
    admin = fresh_daemon.client()
    process = stranger("setsid sleep 6262 & sleep 6363")
    eventually(lambda: len(processes.descendants(process.pid)) >= 2, "its children run")
    tree = processes.descendants(process.pid)
    assert put(admin, "adopted", process.pid).status == 200

    if who_dies in ("daemon", "both"):
        fresh_daemon.kill()
    if who_dies in ("keeper", "both"):
        old = fresh_daemon.kill_keeper()
    if who_dies in ("daemon", "both"):
        fresh_daemon.start()
    if who_dies in ("keeper", "both"):
        eventually(lambda: fresh_daemon.keeper_pid() not in (None, old), "a new keeper")
    app = eventually(lambda: (now := admin.app("adopted")).get("pid") == process.pid and now, "it is shown as before")
    assert app["starts"] == 1 and process.poll() is None
    admin.disable("adopted")
    eventually(lambda: process.poll() is not None and not any(map(processes.alive, tree)), "it can be stopped")
