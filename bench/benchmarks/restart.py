"""From `kill -9` of an app to the first instruction of its successor. Each sample is a fresh app, so no back-off is due. The
clock is read just before kill() and by the new process itself, so the figure errs against us."""
import os
import pathlib
import signal
import tempfile
import time

from harness import processes
from harness.figures import Figure, percentile
from harness.peers import Supervisord


def read_stamps(file):
    """[(pid, ns)] of the complete lines."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return []
    return [tuple(map(int, line.split())) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def kill_each(files):
    """Milliseconds from kill to life of each app."""
    for file in files:
        processes.wait_until(lambda file=file: read_stamps(file), "the first start")
    time.sleep(1.0)  # let the starts settle
    samples = []
    for file in files:
        victim = read_stamps(file)[0][0]
        before = time.monotonic_ns()
        os.kill(victim, signal.SIGKILL)
        stamps = processes.wait_until(lambda file=file: read_stamps(file)[1:], "the restart", pause=0.005)
        samples.append((stamps[0][1] - before) / 1e6)
        time.sleep(0.01)
    return samples


def run(context):
    apps = 10 if context.quick else 25
    ours, theirs = [], []
    for _ in range(context.repeats):
        if context.has_daemon:
            with context.daemon() as daemon, tempfile.TemporaryDirectory(dir=context.work) as folder:
                files = [pathlib.Path(folder) / str(number) for number in range(apps)]
                for number, file in enumerate(files):
                    daemon.add_app(f"victim-{number}", f"{context.bin}/bench_stamp {file}", behavior={"exit": "restart"})
                ours.append(kill_each(files))
        if context.supervisord:
            with tempfile.TemporaryDirectory(dir=context.work) as folder:
                files = [pathlib.Path(folder) / str(number) for number in range(apps)]
                programs = {f"victim-{number}": f"{context.bin}/bench_stamp {file}" for number, file in enumerate(files)}
                with Supervisord(context.supervisord, context.work, programs):
                    theirs.append(kill_each(files))

    def pooled(batches, share):
        samples = [sample for batch in batches for sample in batch]
        return [percentile(samples, share)] if samples else []

    note = f"{sum(map(len, ours))} kills"
    return [
        Figure("restart p50", "ms", pooled(ours, 0.5), "supervisord", pooled(theirs, 0.5), note=note),
        Figure("restart p99", "ms", pooled(ours, 0.99), "supervisord", pooled(theirs, 0.99), target=("<", 10), note=note),
    ]
