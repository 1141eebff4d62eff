"""Limits hold for all processes of an app together, change while it runs, and what cannot be limited does not start."""
import os
import pathlib
import sys

import pytest
from harness import processes
from harness.daemon import PROGRAMS, in_own_mounts
from harness.waiting import eventually, stays

HOG = f"{sys.executable} {PROGRAMS / 'hog.py'}"


def control_file(pid, controller, v1_file, v2_file):
    """Path of a control file of the cgroup that pid is in, in whichever hierarchy has the controller, or None."""
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        kind, file = ("cgroup", v1_file) if controllers else ("cgroup2", v2_file)
        if controllers and controller not in controllers.split(","):
            continue
        for mount in mounts:
            found = pathlib.Path(mount[1] + path) / file
            if mount[2] == kind and (not controllers or controller in mount[3].split(",")) and found.exists():
                return found
    return None


def memory_file(pid):
    return control_file(pid, "memory", "memory.limit_in_bytes", "memory.max")


def can_limit():
    return os.geteuid() == 0 and any(
        os.access(folder, os.W_OK) for folder in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/cgroup.subtree_control"))


pytestmark = pytest.mark.skipif(not can_limit(), reason="no cgroup controllers that may be used here")


def running(client, name):
    return eventually(lambda: client.app(name).get("pid"), f"{name} runs")


def test_a_memory_hog_dies_inside_its_limit_and_is_told_apart(admin, name, cleaned):
    cleaned += [name, name + "-2"]
    admin.add(name + "-2", f"{HOG} memory 10", resource_limit={"memory_mb": 100})
    neighbour = running(admin, name + "-2")
    admin.add(name, f"{HOG} memory 500", resource_limit={"memory_mb": 60, "memory_virt_mb": 60})
    ended = eventually(lambda: (app := admin.app(name)).get("return_code") is not None and app, "the hog is dead")
    assert ended["return_code"] == -9
    assert ended["last_error"].endswith("exited with return code: -9, msg: out of memory")
    assert "out of memory" in admin.runs(name)[0]["reason"]
    assert admin.app(name + "-2")["pid"] == neighbour and processes.alive(neighbour)


def test_any_other_kill_is_not_called_out_of_memory(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", resource_limit={"memory_mb": 60})
    processes.kill_exactly(running(admin, name), lambda pid: processes.program(pid) == "sleep")
    ended = eventually(lambda: (app := admin.app(name)).get("return_code") is not None and app, "it is dead")
    assert ended["return_code"] == -9 and "memory" not in ended["last_error"]


def test_memory_that_ran_out_in_a_child_is_told_with_the_code_of_the_app(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, f"{HOG} child 500 7", resource_limit={"memory_mb": 60, "memory_virt_mb": 60})
    ended = eventually(lambda: (app := admin.app(name)).get("return_code") is not None and app, "it has ended")
    assert ended["last_error"].endswith("exited with return code: 7, msg: out of memory")


def test_a_fork_bomb_is_held_by_the_pids_limit_and_stopped_whole(admin, name, cleaned, daemon):
    cleaned.append(name)
    admin.add(name, f"{HOG} forks", resource_limit={"pids": 20})
    running(admin, name)
    eventually(lambda: b"refused" in admin.output(name).body, "the kernel refuses a fork")
    stays(lambda: len(daemon.processes_of(name)) <= 20, "never more than its limit", seconds=1)
    assert admin.syncrun(command="true").headers["X-Exit-Code"] == "0"  # others start as ever
    admin.disable(name)
    eventually(lambda: not daemon.processes_of(name), "nothing is left")


def test_limits_are_written_and_the_group_goes_with_the_run(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", resource_limit={"memory_mb": 64, "cpu_shares": 512, "pids": 9})
    pid = running(admin, name)
    cpu = control_file(pid, "cpu", "cpu.shares", "cpu.weight")
    assert cpu.read_text().strip() == ("512" if cpu.name == "cpu.shares" else "20")
    assert memory_file(pid).read_text().strip() == str(64 << 20)
    assert control_file(pid, "pids", "pids.max", "pids.max").read_text().strip() == "9"
    admin.disable(name)
    eventually(lambda: not cpu.exists(), "its cgroup is removed")


@pytest.mark.parametrize("daemon_restarts", [False, True])
def test_limits_change_while_the_app_runs(daemon_restarts, fresh_daemon):
    admin = fresh_daemon.client()
    app = {"command": "sleep 100000", "behavior": {"exit": "keepalive"}}
    admin.add("app", **app, resource_limit={"memory_mb": 64, "pids": 9})
    pid = running(admin, "app")
    memory, pids = memory_file(pid), control_file(pid, "pids", "pids.max", "pids.max")
    if daemon_restarts:
        fresh_daemon.kill()
        fresh_daemon.start()
        assert running(admin, "app") == pid
    admin.add("app", **app, resource_limit={"memory_mb": 128, "pids": 11, "cpu_shares": 300})
    assert memory.read_text().strip() == str(128 << 20) and pids.read_text().strip() == "11"
    admin.add("app", **app, resource_limit={"pids": 11})
    assert memory.read_text().strip() not in (str(64 << 20), str(128 << 20)), "the limit is lifted"
    admin.add("app", **app)
    assert pids.read_text().strip() == "max"
    stays(lambda: admin.app("app").get("pid") == pid, "the same process all the time", seconds=0.5)
    assert admin.app("app")["starts"] == 1


def test_an_app_without_limits_gets_them_by_a_new_run(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000")
    first = running(admin, name)
    admin.add(name, "sleep 100000", resource_limit={"memory_mb": 64})
    second = eventually(lambda: (pid := admin.app(name).get("pid")) not in (None, first) and pid, "a new run")
    assert memory_file(second).read_text().strip() == str(64 << 20)


def test_out_of_memory_is_told_after_the_daemon_was_away(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    admin.add("hog", f"{HOG} memory 500 {tmp_path}/gate", resource_limit={"memory_mb": 60, "memory_virt_mb": 60})
    pid = running(admin, "hog")
    fresh_daemon.kill()
    (tmp_path / "gate").touch()
    eventually(lambda: not processes.alive(pid), "the hog is dead")
    fresh_daemon.start()
    ended = eventually(lambda: (app := admin.app("hog")).get("return_code") is not None and app, "its exit is known")
    assert ended["last_error"].endswith("exited with return code: -9, msg: out of memory")


@pytest.mark.parametrize("missing,limit,words", [
    ("pids", {"pids": 5}, 'cgroup: resource_limit.pids: this host gives no cgroup controller "pids"'),
    ("memory", {"memory_mb": 50}, 'cgroup: resource_limit.memory_mb: this host gives no cgroup controller "memory"'),
    (None, {"cpu_shares": 50}, "cgroup: resource_limit: no cgroup file system is mounted"),
])
def test_a_limit_that_cannot_be_made_fails_the_start_and_is_named(missing, limit, words, new_daemon):
    if missing and not os.path.isdir(f"/sys/fs/cgroup/{missing}"):
        pytest.skip("cgroup controllers cannot be taken away one by one here")
    daemon = new_daemon()
    daemon.launcher = in_own_mounts(f"umount --recursive --lazy /sys/fs/cgroup/{missing or ''}")
    admin = daemon.start().client()
    admin.add("limited", "sleep 100000", resource_limit=limit, behavior={"exit": "restart"})
    failed = eventually(lambda: (app := admin.app("limited")).get("last_error") and app, "the failure is told")
    assert words in failed["last_error"] and failed["starts"] == 0 and "pid" not in failed and failed["health"] == 1
    eventually(lambda: admin.app("limited").get("next_start_time"), "it is tried again")
    answer = admin.syncrun(command="true", resource_limit=limit)
    assert answer.status == 400 and words in answer.message
    assert admin.syncrun(command="true").headers["X-Exit-Code"] == "0"
