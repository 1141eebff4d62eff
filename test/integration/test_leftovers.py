"""What a run leaves behind when its main process ends: stopped, or left alone when the app says so; also when nobody was there."""
import pytest
from harness import processes
from harness.waiting import eventually, stays


def leave_one(pid_file, ignore_term=False):
    """A command whose main process ends and leaves one behind, in a session of its own."""
    trap = "trap '' TERM; " if ignore_term else ""
    return f"setsid sh -c \"{trap}echo \\$\\$ > {pid_file}; while :; do sleep 1; done\" & until [ -s {pid_file} ]; do sleep 0.01; done"


def left(pid_file):
    return int(eventually(lambda: pid_file.exists() and pid_file.read_text().strip(), "something is left behind"))


@pytest.fixture
def pid_file(tmp_path):
    """Where the one that is left behind notes itself; it is ended afterwards whatever happens."""
    file = tmp_path / "left"
    yield file
    if file.exists() and file.read_text().strip() and processes.alive(pid := int(file.read_text())):
        processes.kill_exactly(pid, lambda found: str(file) in processes.command_line(found))


def test_what_is_left_behind_is_stopped_before_the_next_start(admin, name, cleaned, pid_file):
    cleaned.append(name)
    admin.add(name, leave_one(pid_file), shell=True)
    pid = left(pid_file)
    eventually(lambda: not processes.alive(pid), "it is stopped")


def test_what_may_stay_is_nobodys_from_then_on(admin, name, cleaned, pid_file):
    cleaned.append(name)
    admin.add(name, leave_one(pid_file), shell=True, behavior={"exit": "standby", "leftovers": "leave"})
    pid = left(pid_file)
    eventually(lambda: admin.app(name).get("return_code") == 0, "the main process has ended")
    admin.disable(name)
    admin.enable(name)
    admin.disable(name)
    admin.delete(name)
    stays(lambda: processes.alive(pid), "no stop and no delete reaches it", seconds=0.5)


def test_a_run_that_is_stopped_leaves_nothing_even_then(admin, name, cleaned, pid_file):
    cleaned.append(name)
    admin.add(name, leave_one(pid_file) + "; sleep 1000", shell=True, behavior={"exit": "standby", "leftovers": "leave"})
    pid = left(pid_file)
    admin.disable(name)
    eventually(lambda: not processes.alive(pid), "it is stopped with its run")


@pytest.mark.parametrize("keeper_dies_too", [False, True])
def test_what_is_left_when_the_daemon_dies_is_stopped_by_the_next_one(keeper_dies_too, new_daemon, pid_file):
    """The keeper has forgotten the run by then: its exit is on record."""
    house = new_daemon(BaseConfig_StopGraceSeconds=2).start()
    admin = house.client()
    admin.add("app", leave_one(pid_file, ignore_term=True), shell=True, behavior={"exit": "restart"})
    pid = left(pid_file)
    eventually(lambda: admin.runs("app"), "its exit is on record")
    house.kill()
    if keeper_dies_too:
        house.kill_keeper()
    assert processes.alive(pid), "the grace is not over"
    pid_file.write_text("")
    house.start()
    eventually(lambda: not processes.alive(pid), "what was left is ended")
    eventually(lambda: admin.app("app")["starts"] >= 2, "and the app goes on")
