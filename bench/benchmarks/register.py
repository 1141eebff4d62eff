"""1,000 `sleep` apps registered by 8 callers until every one runs. supervisord has them in its configuration and is measured
from its start."""
import time

from harness.figures import Figure
from harness.peers import Supervisord


def run(context):
    apps = 1000
    running, registered, rate, latency, theirs = [], [], [], [], []
    for _ in range(context.repeats):
        if context.has_daemon:
            with context.daemon() as daemon:
                result = daemon.load("bench_register", "--apps", apps, "--callers", 8)
                running.append(result["running_seconds"])
                registered.append(result["registered_seconds"])
                rate.append(apps / result["registered_seconds"])
                latency.append(result["p99_us"] / 1000)
        if context.supervisord:
            programs = {f"bench-{number}": "/bin/sleep 1000000" for number in range(apps)}
            start = time.monotonic()
            with Supervisord(context.supervisord, context.work, programs) as supervisord:
                supervisord.wait_all_running()
                theirs.append(time.monotonic() - start)
    return [
        Figure("1,000 apps all running", "s", running, "supervisord", theirs, target=("<", 3)),
        Figure("1,000 apps answered", "s", registered),
        Figure("registrations answered", "1/s", rate),
        Figure("one registration p99", "ms", latency),
    ]
