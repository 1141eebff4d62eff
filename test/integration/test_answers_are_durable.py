"""What was answered holds: the daemon is killed within milliseconds after an answer, and the next one goes on from there.

Each round asks for one change, kills the daemon 0 to 20 ms after the answer, starts the next one and looks whether the
change is there. The seed is printed, APPMESH_TEST_SEED replays it. 1,000 rounds with APPMESH_TEST_LONG=1.
"""
import os
import random
import time

import pytest
from harness import processes
from harness.waiting import eventually, stays

ROUNDS = {False: 54, True: 1000}


class Machine:
    def __init__(self, daemon, chance, folder):
        self.daemon, self.chance, self.folder = daemon, chance, folder
        self.admin = daemon.client()
        self.number = 0

    def name(self):
        self.number += 1
        return f"app{self.number}"

    def kill(self):
        """Without a look at the clock: how soon after the answer is the seed's."""
        wait = self.chance.choice([0, 0, self.chance.uniform(0, 0.02)])
        if wait:
            time.sleep(wait)
        self.daemon.kill()
        self.admin.close()
        self.daemon.start()

    def running(self, name):
        return eventually(lambda: self.admin.app(name).get("pid"), f"{name} runs")

    def add_running(self, name, command="sleep 100000", **fields):
        self.admin.add(name, command, **fields)
        return self.running(name)


def disable(m, name):
    pid = m.add_running(name)
    m.admin.disable(name)
    m.kill()
    eventually(lambda: not processes.alive(pid), "the disabled app is stopped")
    assert m.admin.app(name)["status"] == 0
    assert not m.daemon.processes_of(name)


def enable(m, name):
    m.admin.add(name, "sleep 100000", status=0)
    m.admin.enable(name)
    m.kill()
    assert m.admin.app(name)["status"] == 1
    m.running(name)
    assert m.admin.app(name)["starts"] == 1


def disable_and_enable(m, name):
    pid = m.add_running(name)
    m.admin.disable(name)
    m.admin.enable(name)
    m.kill()
    eventually(lambda: m.admin.app(name).get("pid") not in (None, pid), "a new process runs")
    assert m.admin.app(name)["starts"] == 2


def restart(m, name):
    pid = m.add_running(name)
    m.admin.ok("POST", f"/appmesh/app/{name}/restart")
    m.kill()
    eventually(lambda: m.admin.app(name).get("pid") not in (None, pid), "it is restarted")
    assert not processes.alive(pid)
    stays(lambda: m.admin.app(name)["starts"] == 2, "exactly once", seconds=0.1)


def restart_of_what_rests(m, name):
    file = m.folder / name
    m.admin.add(name, f"echo run >> {file}", shell=True)
    eventually(lambda: m.admin.app(name).get("return_code") == 0, "it has ended")
    m.admin.ok("POST", f"/appmesh/app/{name}/restart")
    m.kill()
    eventually(lambda: file.read_text() == "run\nrun\n", "it has run again")
    stays(lambda: file.read_text() == "run\nrun\n", "exactly once", seconds=0.1)


def register(m, name):
    m.admin.add(name, "sleep 100000")
    m.kill()
    m.running(name)
    assert m.admin.app(name)["starts"] == 1


def change(m, name):
    pid = m.add_running(name)
    m.admin.add(name, "sleep 200000")
    m.kill()
    eventually(lambda: m.admin.app(name).get("pid") not in (None, pid), "a new process runs")
    assert processes.command_line(m.admin.app(name)["pid"]) == "sleep 200000"
    assert m.admin.app(name)["starts"] == 2 and not processes.alive(pid)


def change_and_change_back(m, name):
    pid = m.add_running(name)
    m.admin.add(name, "sleep 200000")
    m.admin.add(name, "sleep 100000")
    m.kill()
    eventually(lambda: m.admin.app(name).get("pid") not in (None, pid), "a new process runs")
    assert processes.command_line(m.admin.app(name)["pid"]) == "sleep 100000"


def remove(m, name):
    pid = m.add_running(name)
    m.admin.delete(name)
    m.kill()
    assert not m.admin.exists(name)
    eventually(lambda: not processes.alive(pid), "its process is stopped")


def on_demand(m, name):
    file = m.folder / name
    run = m.admin.run(name=name, command=f"echo run >> {file}; exit 7", shell=True)
    assert run.status == 200
    m.kill()
    assert m.admin.wait_exit(run.json)[0] == 7
    assert file.read_text() == "run\n"


def remove_on_demand(m, name):
    assert m.admin.run(name=name, command="sleep 100000").status == 200
    pid = m.admin.app(name)["pid"]
    m.admin.delete(name)
    m.kill()
    assert not m.admin.exists(name)
    eventually(lambda: not processes.alive(pid), "its process is stopped")


def rolling_restart(m, name):
    m.admin.add(name, "sleep 100000", instances=2)
    # The daemon has to say so: a restart leaves alone what is only just being started, whose process may be there already.
    runs = lambda: [run["pid"] for run in m.admin.app(name)["runs"] if run.get("pid")]
    before = set(eventually(lambda: len(pids := runs()) == 2 and pids, "both run"))
    m.admin.ok("POST", f"/appmesh/app/{name}/restart")
    m.kill()
    eventually(lambda: len(now := set(m.daemon.processes_of(name))) == 2 and not now & before, "both are new")
    eventually(lambda: [run["starts"] for run in m.admin.app(name)["runs"]] == [2, 2], "each was restarted once")


def start_missed(m, name):
    file = m.folder / name
    anchor = int(time.time()) + 2
    m.admin.add(name, f"echo run >> {file}", shell=True, start_time=anchor, start_interval_seconds=3600, start_missed=True)
    m.daemon.kill()
    m.admin.close()
    eventually(lambda: time.time() > anchor + 11, "the occurrence is missed by more than ten seconds", interval=0.5)
    m.daemon.start()
    eventually(lambda: file.exists() and file.read_text() == "run\n", "what was missed is made up for")
    assert m.admin.app(name)["missed_starts"] == 1


def logoff(m, name):
    other = m.daemon.client()
    other.ok("POST", "/appmesh/self/logoff")
    m.kill()
    assert other.request("GET", "/appmesh/labels").status == 401
    other.close()


def label(m, name):
    m.admin.ok("PUT", f"/appmesh/label/{name}", query={"value": "v"})
    m.kill()
    assert m.admin.ok("GET", "/appmesh/labels").json[name] == "v"
    m.admin.ok("DELETE", f"/appmesh/label/{name}")
    m.kill()
    assert name not in m.admin.ok("GET", "/appmesh/labels").json


def user(m, name):
    m.admin.ok("PUT", f"/appmesh/user/{name}", body={"key": "Secret-of-user-1", "roles": ["view"]})
    m.kill()
    m.admin.ok("POST", f"/appmesh/user/{name}/lock")
    m.kill()
    assert m.admin.ok("GET", "/appmesh/users").json[name]["locked"] is True
    m.admin.ok("DELETE", f"/appmesh/user/{name}")
    m.kill()
    assert name not in m.admin.ok("GET", "/appmesh/users").json


STEPS = [disable, enable, disable_and_enable, restart, restart_of_what_rests, register, change, change_and_change_back,
         remove, on_demand, remove_on_demand, rolling_restart, logoff, label, user]


@pytest.fixture
def machine(new_daemon, tmp_path):
    seed = int(os.environ.get("APPMESH_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"APPMESH_TEST_SEED={seed}")
    return Machine(new_daemon(BaseConfig_StopGraceSeconds=1).start(), random.Random(seed), tmp_path)


@pytest.mark.timeout(7200)
def test_a_daemon_killed_after_an_answer_keeps_what_was_answered(machine, long_run):
    rounds = list(STEPS)
    while len(rounds) < ROUNDS[long_run]:
        rounds.append(machine.chance.choice(STEPS))
    for number, step in enumerate(rounds):
        name = machine.name()
        try:
            step(machine, name)
        except AssertionError as error:
            raise AssertionError(f"round {number}, {step.__name__} of {name}: {error}") from error
        machine.admin.request("DELETE", f"/appmesh/app/{name}")


@pytest.mark.timeout(300)
def test_an_occurrence_of_a_new_app_that_is_missed_is_known(machine):
    start_missed(machine, "missed")


def test_an_adoption_that_was_answered_is_carried_out(machine):
    machine.add_running("web", "trap '' TERM; while :; do sleep 0.1; done", shell=True, retention=2)
    import subprocess
    with subprocess.Popen(["sleep", "100000"], env=machine.daemon.environment) as foreign:
        try:
            machine.admin.add("web", "sleep 300000", pid=foreign.pid)
            machine.daemon.kill()
            machine.admin.close()
            machine.daemon.start()
            eventually(lambda: machine.admin.app("web").get("pid") == foreign.pid, "it is the app's process")
            assert foreign.poll() is None
        finally:
            foreign.kill()
