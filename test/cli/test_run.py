"""run, exec and following output, with real processes behind the server."""

import json
import os
import signal
import subprocess

from appc_program import APPC, wait_until
from fake_daemon import FakeDaemon, Run


def test_exec_streams_output_and_exits_as_the_command_did(appc):
    result = appc("exec", "echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout) == (7, "out\nerr\n")
    assert appc.daemon.apps == {}


def test_exec_of_a_killed_command_is_128_plus_the_signal(appc):
    assert appc("exec", "kill -9 $$").returncode == 137


def test_exec_keeps_words_as_words_and_hands_on_the_environment(appc):
    result = appc("exec", "-e", "A=x y", "printf", "%s|", "a b", "$A", "-t")
    assert (result.returncode, result.stdout) == (0, "a b|$A|-t|")
    assert appc("exec", "-e", "A=x y", "echo $A").stdout == "x y\n"
    body = json.loads(appc.daemon.asked("POST", "/appmesh/app/run")[0][3])
    assert body["shell"] is True and body["behavior"] == {"exit": "remove"}


def test_exec_retries_until_it_succeeds(appc):
    marker = appc.folder / "marker"
    result = appc("exec", "-r", f"test -e {marker} || {{ touch {marker}; exit 3; }}")
    assert result.returncode == 0
    assert len(appc.daemon.asked("POST", "/appmesh/app/run")) == 2


def test_run_with_a_negative_timeout_is_one_request(appc):
    result = appc("run", "-c", "echo hi; exit 3", "-t", "-30", "-T", "PT10M")
    assert (result.returncode, result.stdout) == (3, "hi\n")
    request = appc.daemon.asked("POST", "/appmesh/app/syncrun")[0]
    assert "timeout=30" in request[1] and "lifecycle=600" in request[1]
    assert not appc.daemon.asked("POST", "/appmesh/app/run")


def test_run_of_a_registered_app_runs_a_copy(appc):
    appc("add", "-a", "job", "-c", "echo $WHO")
    result = appc("run", "-a", "job", "-e", "WHO=me")
    assert (result.returncode, result.stdout) == (0, "me\n")
    assert list(appc.daemon.apps) == ["job"]


def test_binary_and_large_output_arrives_whole(appc):
    result = subprocess.run([APPC, "-H", appc.daemon.url, "exec", "head -c 7000000 /dev/zero; printf '\\377'"],
                            env=appc.env, capture_output=True, timeout=60)
    assert result.stdout == b"\0" * 7_000_000 + b"\xff"


def test_ctrl_c_stops_the_remote_run(appc):
    for words in (["exec", "echo begun; sleep 1000"], ["run", "-c", "echo begun; sleep 1000", "-t", "-1000"]):
        process = appc.popen(*words)
        run = wait_until(lambda: next((runs[0] for runs in appc.daemon.runs.values() if runs), None))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert run.code() == -9
        wait_until(lambda: not appc.daemon.apps)
        appc.daemon.runs.clear()


def test_ctrl_c_stops_the_copy_of_a_registered_app(appc):
    appc("add", "-a", "job", "-c", "sleep 1000")
    process = appc.popen("run", "-a", "job", "-t", "-1000")
    wait_until(lambda: "job_1" in appc.daemon.apps)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped job_1" in err
    assert list(appc.daemon.apps) == ["job"]


def test_a_reader_that_goes_away_stops_the_remote_run(appc):
    process = appc.popen("exec", "while :; do echo line; sleep 0.01; done")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    process.wait(timeout=60)
    process.stdout = None
    assert process.returncode == 128 + signal.SIGPIPE
    assert not appc.daemon.apps


def test_a_run_outlives_a_restart_of_the_daemon(appc, ssl_home):
    go = appc.folder / "go"
    process = appc.popen("exec", f"echo before; while ! test -e {go}; do sleep 0.02; done; echo after; exit 5")
    assert process.stdout.readline() == "before\n"
    old = appc.daemon
    old.stop(keep_runs=True)
    assert "waiting for the daemon" in process.stderr.readline()
    go.touch()
    new = FakeDaemon(ssl_home / "ssl", port=old.port)
    new.apps, new.runs, new.tokens = old.apps, old.runs, old.tokens
    try:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (5, "after\n")
    finally:
        new.stop()


def test_output_of_current_and_older_runs(appc):
    appc("add", "-a", "web", "-c", "x")
    appc.daemon.start_run("web", "echo one").process.wait()
    appc.daemon.start_run("web", "echo two").process.wait()
    assert appc("ls", "-o", "-a", "web").stdout == "two\n"
    assert appc("ls", "-o", "-i", "1", "-a", "web").stdout == "one\n"
    result = appc("ls", "-o", "-i", "5", "-a", "web")
    assert result.returncode == 1 and "index 5" in result.stderr


def test_following_goes_on_through_restarts_and_loses_nothing(appc):
    appc("add", "-a", "web", "-c", "x")
    go = appc.folder / "go"
    appc.daemon.start_run("web", f"echo one; while ! test -e {go}; do sleep 0.02; done; echo last; exit 3")
    process = appc.popen("ls", "-f", "-a", "web")
    assert process.stdout.readline() == "one\n"
    go.touch()
    assert process.stdout.readline() == "last\n"
    assert "return code 3" in process.stderr.readline()
    appc.daemon.start_run("web", "echo two; sleep 1000")
    assert process.stdout.readline() == "two\n"
    appc.daemon.apps.pop("web")
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_following_reads_the_end_of_a_run_that_was_replaced_at_once(appc):
    appc("add", "-a", "web", "-c", "x")
    first = appc.daemon.start_run("web", "echo one; sleep 1000")
    process = appc.popen("view", "-o", "-f", "-a", "web")
    assert process.stdout.readline() == "one\n"
    # The client waits on the first run; its end and the next start happen before the client can look again.
    with appc.daemon.lock:
        os.pwrite(first.output.fileno(), b"tail\n", 4)
        first.stop()
        appc.daemon.runs["web"].insert(0, Run("echo two; sleep 1000", {}))
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines == ["tail\n", "two\n"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_following_an_app_that_is_not_there_fails(appc):
    assert appc("ls", "-f", "-a", "nothing").returncode == 1
