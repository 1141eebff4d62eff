"""`syncrun` of /bin/true: the latency of one caller, and the throughput of 8 callers beside a bare posix_spawn and wait loop
with as many threads."""
import json
import subprocess

from harness import processes
from harness.figures import Figure


def spawn_loop(context, threads, count):
    done = subprocess.run([context.bin / "bench_spawn", "--threads", str(threads), "--count", str(count)],
                          capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


def run(context):
    one_call_count = 100 if context.quick else 300
    each = 50 if context.quick else 150
    one, eight, bare_one, bare_eight, cpu = [], [], [], [], []

    def measure(daemon):
        for _ in range(context.repeats):
            if daemon:
                one.append(daemon.load("bench_syncrun", "--callers", 1, "--count", one_call_count))
            bare_one.append(spawn_loop(context, 1, one_call_count))
            if daemon:
                before = processes.cpu_seconds(daemon.pids)
                eight.append(daemon.load("bench_syncrun", "--callers", 8, "--count", each, "--warm-up", 0))
                cpu.append((processes.cpu_seconds(daemon.pids) - before) / eight[-1]["calls"] * 1e6)
            bare_eight.append(spawn_loop(context, 8, each))

    if context.has_daemon:
        with context.daemon() as daemon:
            measure(daemon)
    else:
        measure(None)

    def of(results, key, scale=1.0):
        return [result[key] * scale for result in results]

    return [
        Figure("latency p50, 1 caller", "ms", of(one, "p50_us", 1e-3), "posix_spawn", of(bare_one, "p50_us", 1e-3),
               target=("<", 2)),
        Figure("latency p99, 1 caller", "ms", of(one, "p99_us", 1e-3), "posix_spawn", of(bare_one, "p99_us", 1e-3)),
        Figure("throughput, 1 caller", "runs/s", of(one, "per_second"), "posix_spawn", of(bare_one, "per_second")),
        Figure("throughput, 8 callers", "runs/s", of(eight, "per_second"), "posix_spawn x8", of(bare_eight, "per_second"),
               target=(">=", 0.55), judged="ratio"),
        Figure("latency p99, 8 callers", "ms", of(eight, "p99_us", 1e-3)),
        Figure("daemon + keeper CPU a run, 8 callers", "us", cpu),
    ]
