"""Whatever state the daemon is started in, it starts and works alike, and what it starts sees the same: no descriptor but
its three, default signals and none blocked, umask 022, the directory it is told. Limits, nice and processors are as they were,
for they are how an administrator bounds a service."""
import os
import signal
import subprocess
import sys

import pytest
from harness import processes
from harness.daemon import Daemon, binaries
from harness.waiting import eventually

PREAMBLE = """
import fcntl, os, pty, resource, signal, sys, tempfile, termios
def soft(which, value):
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))
{state}
os.execve(sys.argv[1], sys.argv[1:], os.environ)
"""

EVERY_SIGNAL = "set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}"

STATES = {
    "children ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "every signal ignored": f"[signal.signal(s, signal.SIG_IGN) for s in {EVERY_SIGNAL}]",
    "every signal blocked": f"signal.pthread_sigmask(signal.SIG_BLOCK, {EVERY_SIGNAL})",
    "no standard descriptors": "os.closerange(0, 3)",
    "descriptors of others": "[os.set_inheritable(os.dup(0), True) for _ in range(40)]",
    "environment of 1.5 MB": "os.environ.update({f'LARGE_{i}': 'x' * 100_000 for i in range(15)})",
    "a variable that is no text": "os.environb[b'NO_TEXT'] = b'\\xff\\xfe'",
    "umask 077": "os.umask(0o077)",
    "directory gone": "d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "few descriptors": "soft(resource.RLIMIT_NOFILE, 48)",
    "small files": "soft(resource.RLIMIT_FSIZE, 4096)",
    "small stack": "soft(resource.RLIMIT_STACK, 160 * 1024)",
    "no core, no locked memory": "soft(resource.RLIMIT_CORE, 0); soft(resource.RLIMIT_MEMLOCK, 0)",
    "little memory": "soft(resource.RLIMIT_AS, 300 << 20)",
    "short of processor time": "soft(resource.RLIMIT_CPU, 1)",
    "nice, one processor, first to be killed":
        "os.nice(5); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); open('/proc/self/oom_score_adj', 'w').write('300')",
    "a terminal that goes away":
        "m, s = pty.openpty(); os.setsid() if os.getpid() != os.getsid(0) else 0; fcntl.ioctl(s, termios.TIOCSCTTY, 0);"
        "os.set_inheritable(m, True)",
}

REPORT = r"""
umask
grep -E '^Sig(Blk|Ign|Cgt)|^NoNewPrivs' /proc/$$/status
ls /proc/$$/fd | tr '\n' ' '
pwd
echo "HOME=$HOME PATH=$PATH LARGE=${#LARGE_1}"
"""


def state_of(client):
    ran = client.syncrun(timeout=30, command=REPORT, shell=True)
    assert ran.status == 200, ran
    return ran.text


def without_home(text, daemon):
    return text.replace(str(daemon.home), "HOME")


@pytest.fixture(scope="module")
def usual(homes):
    daemon = Daemon(homes / "usual")
    try:
        daemon.start()
        yield without_home(state_of(daemon.client()), daemon)
    finally:
        daemon.close()


@pytest.mark.parametrize("state", STATES)
def test_a_daemon_started_in_any_state_works_and_so_do_its_apps(state, new_daemon, usual):
    daemon = new_daemon()
    daemon.launcher = [sys.executable, "-c", PREAMBLE.format(state=STATES[state])]
    daemon.start()
    admin = daemon.client()
    assert without_home(state_of(admin), daemon) == usual
    # More than the low limits would let it do.
    admin.add("writer", "head -c 3000 /dev/zero; sleep 100000", shell=True)
    assert eventually(lambda: admin.app("writer").get("pid"), "it runs")
    for _ in range(30):
        assert admin.syncrun(timeout=30, command="true").status == 200
    assert admin.request("GET", "/appmesh/applications").status == 200
    keeper = daemon.keeper_pid()
    for pid in (daemon.pid, keeper):
        assert not [target for target in processes.descriptors(pid) if "/dev/pts" in target or target == "/dev/ptmx"]
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
    # A next daemon and a next keeper start as well.
    daemon.kill_keeper()
    assert eventually(lambda: daemon.keeper_pid() not in (None, 0, keeper), "a next keeper")
    eventually(lambda: admin.syncrun(timeout=30, command="true").status == 200, "it starts")
    daemon.kill()
    daemon.start()
    assert daemon.client().app("writer")["pid"]


def test_limits_of_the_start_are_those_of_apps_and_not_of_daemon_and_keeper(new_daemon):
    daemon = new_daemon()
    daemon.launcher = [sys.executable, "-c", PREAMBLE.format(
        state="soft(resource.RLIMIT_NOFILE, 77); soft(resource.RLIMIT_FSIZE, 8192 * 512); soft(resource.RLIMIT_CORE, 0)")]
    daemon.start()
    limits = daemon.client().syncrun(timeout=30, command="ulimit -Sn; ulimit -Sc; cat /proc/$$/limits", shell=True).text
    assert limits.startswith("77\n0\n") and f"Max file size             {8192 * 512}" in limits
    for pid in (daemon.pid, daemon.keeper_pid()):
        own = processes._read(f"/proc/{pid}/limits").decode()
        assert "Max file size             unlimited" in own and "Max open files            77 " not in own


def test_a_relative_home_below_a_directory_that_is_gone_is_refused_with_the_reason(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(["sh", "-c", 'cd "$1"; rmdir "$1"; exec "$2" --home here', "sh", gone, binaries() / "appsvc"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "the present directory is gone: give a whole path" in done.stderr


def test_a_restart_within_milliseconds_of_a_kill_always_succeeds(fresh_daemon, long_run):
    """A supervisor does not wait until the last thread of what it killed is gone."""
    for _ in range(100 if long_run else 8):
        before = fresh_daemon.process
        os.kill(before.pid, signal.SIGKILL)
        fresh_daemon.process = None
        fresh_daemon.start(wait=False)
        before.wait()
        fresh_daemon.wait_ready()


def test_a_living_holder_of_the_home_is_named_at_once(fresh_daemon):
    done = subprocess.run([binaries() / "appsvc", "--home", fresh_daemon.home], env=fresh_daemon.environment,
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and f"appmesh.pid is held by process {fresh_daemon.pid}" in done.stderr


def test_a_stopped_holder_lives(fresh_daemon):
    os.kill(fresh_daemon.pid, signal.SIGSTOP)
    try:
        test_a_living_holder_of_the_home_is_named_at_once(fresh_daemon)
    finally:
        os.kill(fresh_daemon.pid, signal.SIGCONT)
