"""The list of all apps, and the metrics page, with 4,000 and with 8,000 running `sleep` apps. Each is asked for later than samples
of processes are kept, so that every answer reads /proc anew; the last column of pairs shows that twice the apps cost twice the time."""
import time

from harness import processes
from harness.figures import Figure

SAMPLE_SECONDS = 1.2  # longer than a sample of a process serves
KINDS = {"list": "/appmesh/applications", "metrics": "/metrics", "GET": "/appmesh/app/bench-17"}


def timed(daemon, path):
    before = time.perf_counter()
    body = daemon.call("GET", path)
    return (time.perf_counter() - before) * 1000, len(body)


def run(context):
    counts = (400, 800) if context.quick else (4000, 8000)
    times = {(kind, count): [] for kind in KINDS for count in counts}
    cpu = {(kind, count): [] for kind in KINDS for count in counts}
    sizes = {}
    if context.has_daemon:
        with context.daemon() as daemon:
            for prefix, count in zip(("bench-", "more-"), counts):
                more = count - (0 if prefix == "bench-" else counts[0])
                daemon.load("bench_register", "--apps", more, "--callers", 8, "--prefix", prefix, "--timeout", 600)
                for kind, path in KINDS.items():
                    for _ in range(context.repeats):
                        time.sleep(SAMPLE_SECONDS)
                        before = processes.cpu_seconds(daemon.pids)
                        took, sizes[kind, count] = timed(daemon, path)
                        times[kind, count].append(took)
                        cpu[kind, count].append((processes.cpu_seconds(daemon.pids) - before) * 1000)

    few, many = counts
    figures = []
    for kind, target in (("list", 400), ("metrics", 300), ("GET", None)):
        name = "GET of one app" if kind == "GET" else f"{kind} of all apps"
        for count in counts:
            figures.append(Figure(f"{name}, {count:,} apps", "ms", times[kind, count],
                                  target=("<", target) if target and count == many else (),
                                  note=f"{sizes.get((kind, count), 0):,} bytes"))
        if kind != "GET":
            figures.append(Figure(f"{name}, CPU of the daemon at {many:,}", "ms", cpu[kind, many], f"{few:,} apps", cpu[kind, few],
                                  target=("<=", 2.5), judged="ratio"))
    return figures
