"""kill -9 of appsvc at random instants while many apps run, exit, restart and write.

Afterwards no app was started twice, every exit has its code in the history, every output holds every line once. The apps
keep their own account of what they did in files (harness/programs/probe.py). The seed is printed and
APPMESH_TEST_SEED replays it.
"""
import http.client
import os
import random
import ssl
import sys
import threading
import time

import pytest
from harness import processes
from harness.daemon import PROGRAMS
from harness.waiting import eventually

GONE = (OSError, http.client.HTTPException, ssl.SSLError)


def probe(*arguments):
    return " ".join([sys.executable, "-S", "-E", str(PROGRAMS / "probe.py"), *map(str, arguments)])


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


class Runner(threading.Thread):
    """Keeps asking for short on-demand runs while the daemon comes and goes; remembers those that were accepted."""

    def __init__(self, daemon, token, folder, seed):
        super().__init__()
        self.daemon, self.token, self.folder = daemon, token, folder
        self.random = random.Random(seed)
        self.accepted = {}  # name -> (exit code, run)
        self.end = threading.Event()

    def run(self):
        number = 0
        while not self.end.wait(self.random.uniform(0.02, 0.15)):
            number += 1
            code = self.random.choice([0, 1, 9, 77, -9])
            name = f"once{number}"
            client = self.daemon.client(login=False, timeout=20)
            client.token = self.token
            try:
                answer = client.run(name=name, command=probe("exiter", self.folder, name, 0.0, 0.5, code))
                assert answer.status == 200, answer
                self.accepted[name] = (code, answer.json)
            except GONE:
                pass
            finally:
                client.close()


@pytest.mark.timeout(1500)
def test_killing_the_daemon_at_any_instant_loses_and_doubles_nothing(new_daemon, tmp_path, long_run):
    kills, steady, exiters, writers = (100, 100, 50, 50) if long_run else (8, 10, 10, 10)
    seed = int(os.environ.get("APPMESH_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"APPMESH_TEST_SEED={seed}")
    chance = random.Random(seed)
    for folder in ("locks", "starts", "exits"):
        (tmp_path / folder).mkdir()
    daemon = new_daemon(BaseConfig_BackoffLimitSeconds=1).start()
    admin = daemon.client()

    codes = {}
    for number in range(steady):
        admin.add(f"steady{number}", probe("steady", tmp_path, f"steady{number}"), behavior={"exit": "keepalive"})
    for number in range(exiters):
        name = f"exiter{number}"
        codes[name] = chance.choice([0, 1, 3, 41, 255, -9, -15])
        admin.add(name, probe("exiter", tmp_path, name, 0.05, 1.5, codes[name]), behavior={"exit": "keepalive"})
    for number in range(writers):
        admin.add(f"writer{number}", probe("writer", tmp_path, f"writer{number}", 0.005), behavior={"exit": "keepalive"})
    always_on = [f"steady{n}" for n in range(steady)] + [f"writer{n}" for n in range(writers)]
    eventually(lambda: all((tmp_path / "starts" / name).exists() for name in always_on), "all have started")
    first_pids = {name: admin.app(name)["pid"] for name in always_on}

    runner = Runner(daemon, admin.token, tmp_path, chance.random())
    runner.start()
    try:
        for kill in range(kills):
            time.sleep(chance.choice([chance.uniform(0, 0.05), chance.uniform(0, 0.5), chance.uniform(0, 2)]))
            daemon.kill()
            time.sleep(chance.choice([0, 0, chance.uniform(0, 1)]))
            # Every other time the next kill may hit the start itself.
            daemon.start(wait=kill % 2 == 0 or kill == kills - 1)
    finally:
        runner.end.set()
        runner.join()

    # Quiet again: stop everything, so that the accounts can be compared.
    eventually(lambda: all(admin.app(name)["starts"] >= 2 for name in codes), "the exiting ones were restarted", timeout=60)
    for name in [*always_on, *codes]:
        app = admin.app(name)
        if name in first_pids:
            assert app.get("pid") == first_pids[name] and app["starts"] == 1, f"{name} was touched: {app}"
        admin.disable(name)
    eventually(lambda: not any(app for app in processes.marked(daemon.token).values()), "every app is stopped", timeout=60)
    eventually(lambda: not any(app.get("pid") for app in admin.apps().values()), "the daemon knows it", timeout=60)

    assert not lines(tmp_path / "doubles"), "two processes of one app lived at once"
    problems = []
    for name in [*always_on, *codes]:
        started = [line.split() for line in lines(tmp_path / "starts" / name)]
        runs = [run for run in all_runs(admin, name)]
        by_pid = {str(run["pid"]): run for run in runs}
        if len({run["process_uuid"] for run in runs}) != len(runs):
            problems.append(f"{name}: a run is twice in the history")
        for number, (pid, run_id) in enumerate(started, 1):
            if pid not in by_pid:
                problems.append(f"{name}: pid {pid} (run {run_id}, start {number} of {len(started)}) is not in the history")
        if len({run_id for _, run_id in started}) != len(started):
            problems.append(f"{name}: a run was started twice: {started}")
        for pid, code in (line.split() for line in lines(tmp_path / "exits" / name)):
            found = by_pid.get(pid, {}).get("return_code")
            if found != int(code):
                problems.append(f"{name}: pid {pid} exited with {code}, the history says {found}")
        for run in runs:
            if run.get("return_code") is None or not run.get("end_time"):
                problems.append(f"{name}: no end of {run}")
        if name in first_pids and len(started) != 1:
            problems.append(f"{name}: started {len(started)} times")
        # A process that was stopped before its first line of Python leaves a run without a note, never the other way.
        starts = admin.app(name)["starts"]
        if not len(started) <= starts == len(runs):
            problems.append(f"{name}: {len(started)} notes, {starts} starts, {len(runs)} runs in the history")
    for name, (code, run) in runner.accepted.items():
        started = lines(tmp_path / "starts" / name)
        if len(started) != 1:
            problems.append(f"{name}: accepted once, started {len(started)} times")
        exit_code, _ = admin.wait_exit(run, seconds=10)
        if exit_code != code:
            problems.append(f"{name}: exited with {code}, the daemon says {exit_code}")
    for file in (tmp_path / "starts").glob("once*"):
        if len(lines(file)) != 1:
            problems.append(f"{file.name}: started {len(lines(file))} times")
    for number in range(writers):
        written = admin.whole_output(f"writer{number}").decode().splitlines()
        count = len(written) - 1
        if count < 10 or written != [*(f"line {each}" for each in range(1, count + 1)), f"end {count}"]:
            problems.append(f"writer{number}: {len(written)} lines are not 1..N once each, then the end: {written[-2:]}")
    assert not problems, "\n".join(problems[:50])
    print(f"{kills} kills, {sum(len(lines(file)) for file in (tmp_path / 'starts').iterdir())} starts, "
          f"{len(runner.accepted)} on-demand runs")


def all_runs(admin, name):
    """The whole history of an app, page by page."""
    before = None
    while True:
        page = admin.runs(name, limit=200, **({"before": before} if before else {}))
        yield from page
        if len(page) < 200:
            return
        before = repr(page[-1]["start_time"])


@pytest.mark.timeout(300)
def test_a_client_that_reads_on_gets_every_byte_once_over_ten_kills(fresh_daemon, tmp_path):
    """Positions mean the same before and after a death of the daemon."""
    for folder in ("locks", "starts", "exits"):
        (tmp_path / folder).mkdir()
    admin = fresh_daemon.client()
    admin.add("writer", probe("writer", tmp_path, "writer", 0.002))
    data, position = b"", 0

    def read_on(answer):
        nonlocal data, position
        assert answer.status == 200, answer
        data += answer.body
        position = int(answer.headers.get("X-Output-Position", position))

    for _ in range(10):
        read_on(admin.output("writer", position, timeout=1))
        fresh_daemon.kill()
        fresh_daemon.start()
        read_on(admin.output("writer", position, timeout=1))
    admin.disable("writer")
    eventually(lambda: b"end" in admin.output("writer", position).body, "the writer has ended")
    read_on(admin.output("writer", position))
    written = data.decode().splitlines()
    count = len(written) - 1
    assert written == [*(f"line {each}" for each in range(1, count + 1)), f"end {count}"]
