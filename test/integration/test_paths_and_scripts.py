"""Where an app starts and by what it is run, as its user means it; and what a start that fails says."""
import fcntl
import os
import signal
import threading

import pytest
from harness import processes
from harness.waiting import eventually


def script(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("given,expected", [(None, ""), (".", ""), ("./", ""), ("sub", "/sub"), ("sub/deeper/..", "/sub"), ("/usr/lib", None)])
def test_a_relative_directory_starts_where_apps_without_one_do(given, expected, fresh_daemon):
    base = fresh_daemon.home / "work/tmp"
    (base / "sub/deeper").mkdir(parents=True)
    fields = {} if given is None else {"working_dir": given}
    ran = fresh_daemon.client().syncrun(timeout=30, command="pwd -P", shell=True, **fields)
    assert ran.text.strip() == (given if expected is None else os.path.realpath(base) + expected), ran


@pytest.mark.parametrize("given,reason", [("~/web", "~ is not expanded"), ("..", "must stay below"), ("a/../../b", "must stay below")])
def test_a_directory_that_cannot_be_meant_is_refused(given, reason, admin, name):
    refused = admin.request("PUT", f"/appmesh/app/{name}", body={"command": "true", "working_dir": given})
    assert refused.status == 400 and "working_dir" in refused.message and reason in refused.message
    assert not admin.exists(name)


def test_a_text_without_interpreter_line_is_run_by_the_shell(admin, tmp_path):
    tmp_path.chmod(0o755)
    path = script(tmp_path / "job", 'echo "$0 ran with $1"\nexit 7\n')
    ran = admin.syncrun(timeout=30, command=f"{path} care")
    assert ran.text == f"{path} ran with care\n" and ran.headers["X-Exit-Code"] == "7"


def failed_start(admin, name, **fields):
    admin.add(name, **fields)
    return eventually(lambda: admin.app(name).get("last_error"), "it says why")


def test_a_failed_start_names_its_step_and_its_file(admin, name, cleaned, tmp_path):
    cleaned.append(name)
    no_interpreter = script(tmp_path / "job.py", "#!/opt/none/python3 -u\n")
    no_program = script(tmp_path / "noise", "\0\1\2")
    closed = script(tmp_path / "closed", "#!/bin/sh\n", mode=0o644)
    for command, told in [
            (str(no_interpreter), f"exec: {no_interpreter}: its interpreter /opt/none/python3: No such file or directory"),
            (str(no_program), f"exec: {no_program}: Exec format error"),
            (str(closed), f"exec: {closed}: Permission denied"),
            ("/no/such/program -x", "exec: /no/such/program: No such file or directory"),
            ("no-such-command", "exec: no-such-command: No such file or directory in any directory of PATH"),
            (str(tmp_path), f"exec: {tmp_path}: Permission denied")]:
        assert told in failed_start(admin, name, command=command)
        admin.delete(name)
    assert "chdir: /no/such/folder: No such file or directory" in failed_start(admin, name, command="true", working_dir="/no/such/folder")


def test_a_start_that_hangs_holds_up_no_other_and_is_told_when_its_time_is_over(fresh_daemon, tmp_path):
    program = tmp_path / "leased"
    program.write_bytes(open("/bin/true", "rb").read())
    program.chmod(0o755)
    admin = fresh_daemon.client()
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with open(program) as held:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        adds = threading.Thread(target=lambda: fresh_daemon.client().add("hangs", str(program)))
        adds.start()
        eventually(lambda: fcntl.fcntl(held, fcntl.F_GETLEASE) != fcntl.F_WRLCK, "its start waits for the lease")
        # The registration is answered when the start has its outcome.
        done = []
        while adds.is_alive():
            done.append(admin.syncrun(timeout=30, command="true").status)
        adds.join()
        assert len(done) > 1 and set(done) == {200}
        assert f"exec: {program} did not answer within 3 s" in admin.app("hangs")["last_error"]
        admin.disable("hangs")


def test_a_burst_of_starts_of_one_user_is_started_whole(fresh_daemon):
    """More than may be under way at once: they wait, and none is refused."""
    admin = fresh_daemon.client()
    answers = []

    def call(number):
        client = fresh_daemon.client()
        for _ in range(4):
            answers.append(client.syncrun(timeout=60, command="sh -c 'exit 3'").headers.get("X-Exit-Code"))
    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for number in range(60):
        admin.add(f"burst{number}", "sleep 100000")
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == ["3"] * 32
    fresh_daemon.kill()
    fresh_daemon.start()
    admin = fresh_daemon.client()
    eventually(lambda: all(app.get("pid") for name, app in admin.apps().items() if name.startswith("burst")), "all run")
    assert all(app["starts"] == 1 for name, app in admin.apps().items() if name.startswith("burst"))


def test_a_log_that_was_moved_away_is_made_anew_on_sighup(fresh_daemon):
    log = fresh_daemon.home / "work/server.log"
    old = log.with_suffix(".old")
    log.rename(old)
    fresh_daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: log.exists() and "read again" in log.read_text(), "the next line is in the new one")
    before = old.read_text()
    fresh_daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: log.read_text().count("read again") == 2, "and so it goes on")
    assert old.read_text() == before


def test_an_app_without_limits_starts_though_its_cgroup_was_removed(fresh_daemon):
    """By somebody who tidies up: what waits in the pool for the next run is empty, and looks forgotten."""
    admin = fresh_daemon.client()
    for _ in range(3):
        assert admin.syncrun(timeout=30, command="true").status == 200
    pooled = [target for target in processes.descriptors(fresh_daemon.pid) if target.startswith("/sys/fs/cgroup/") and "/appmesh-" in target]
    if not pooled:
        pytest.fail("no cgroup waits for the next run: a host without cgroups?")
    for directory in pooled:
        os.rmdir(directory)
    for _ in range(2 * len(pooled)):
        assert admin.syncrun(timeout=30, command="true").status == 200


def test_memory_and_descriptors_of_an_app_are_those_of_all_its_processes(admin, name, cleaned):
    cleaned.append(name)
    large = "python3 -c 'import os, time; x = bytearray(120 << 20); [os.open(\"/dev/null\", 0) for _ in range(50)]; time.sleep(100000)'"
    admin.add(name, f"setsid {large} & exec sleep 100000", shell=True)

    def shown():
        app = admin.app(name)
        return app if app.get("memory", 0) > 120 << 20 and app.get("fd", 0) > 50 else None
    app = eventually(shown, "the child that left the session counts")
    listed = eventually(lambda: (each := admin.apps()[name]).get("memory", 0) > 120 << 20 and each, "in the list too")
    assert listed["fd"] == app["fd"]
