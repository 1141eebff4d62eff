"""A task to a warm worker and its answer, over TCP with TLS: one caller, then 32 callers on 4 workers; beside request and
reply over nats-server with TLS. Workers and callers of both sides are C++ programs on the same small TLS client; workers of
both sides answer everything that has come in one piece. NATS sends requests ahead to a worker that has not answered yet, as
many as there are; a worker of ours gets as many as it has slots, and a published client has one."""
import contextlib
import json
import os
import subprocess

from harness import peers, processes
from harness.figures import Figure

BYTES = 128
WORKERS = 4
SLOTS = 8  # of a worker: 32 callers on 4 workers


def ours(daemon, apps, callers, count):
    arguments = [daemon.bin / "bench_tasks", "--port", str(daemon.tcp_port), "--ca", daemon.ca, "--callers", str(callers),
                 "--count", str(count), "--bytes", str(BYTES)]
    for app in apps:
        arguments += ["--app", app]
    done = subprocess.run(arguments, env=os.environ | {"APPMESH_BENCH_TOKEN": daemon.token}, capture_output=True, text=True,
                          timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"bench_tasks: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def theirs(context, nats, ca, callers, count):
    done = subprocess.run([context.bin / "bench_nats", "--port", str(nats.port), "--ca", ca, "--callers", str(callers), "--count",
                           str(count), "--bytes", str(BYTES)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"bench_nats: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


@contextlib.contextmanager
def nats_workers(context, nats, ca, count):
    workers = [subprocess.Popen([context.bin / "bench_nats", "--worker", "--port", str(nats.port), "--ca", ca],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for worker in workers:
            worker.stdout.readline()  # "ready"
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdout.close()


def start_workers(daemon, name, count, slots=1):
    """One app with `count` processes on one queue."""
    command = f"{daemon.bin / 'bench_task_worker'} --port {daemon.tcp_port} --ca {daemon.ca} --slots {slots}"
    daemon.add_app(name, command, instances=count)

    def ready():
        app = json.loads(daemon.call("GET", f"/appmesh/app/{name}"))
        return app.get("tasks", {}).get("waiting_workers", 0) == count
    processes.wait_until(ready, f"{count} waiting workers", seconds=20)


def run(context):
    if not context.has_daemon:
        return []
    single = 2000 if context.quick else 10000
    each = 200 if context.quick else 1000
    one, few, plain, many, cpu = [], [], [], [], []
    peer_one, peer_few, peer_many, peer_cpu = [], [], [], []
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(context.daemon())
        start_workers(daemon, "single", 1)
        start_workers(daemon, "plain", WORKERS)
        start_workers(daemon, "pool", WORKERS, SLOTS)
        nats = None
        if context.nats:
            folder = daemon.home / "ssl"
            nats = stack.enter_context(peers.NatsServer(context.nats, context.work, folder / "server.pem", folder / "server-key.pem"))
        for _ in range(context.repeats):
            one.append(ours(daemon, ["single"], 1, single))
            if nats:
                with nats_workers(context, nats, daemon.ca, 1):
                    peer_one.append(theirs(context, nats, daemon.ca, 1, single))
            few.append(ours(daemon, ["plain"], WORKERS, each))
            plain.append(ours(daemon, ["plain"], 32, each))
            before = processes.cpu_seconds(daemon.pids)
            many.append(ours(daemon, ["pool"], 32, each))
            cpu.append((processes.cpu_seconds(daemon.pids) - before) / many[-1]["calls"] * 1e6)
            if nats:
                with nats_workers(context, nats, daemon.ca, WORKERS):
                    peer_few.append(theirs(context, nats, daemon.ca, WORKERS, each))
                    before = processes.cpu_seconds([nats.process.pid])
                    peer_many.append(theirs(context, nats, daemon.ca, 32, each))
                    peer_cpu.append((processes.cpu_seconds([nats.process.pid]) - before) / peer_many[-1]["calls"] * 1e6)

    def of(results, key):
        return [result[key] for result in results]

    return [
        Figure("round trip p50, 1 caller", "us", of(one, "p50_us"), target=("<", 200)),
        Figure("round trip p50 of NATS, 1 caller", "us", of(one, "p50_us"), "nats-server", of(peer_one, "p50_us"),
               target=("<=", 1.5), judged="ratio"),
        Figure("round trip p99, 1 caller", "us", of(one, "p99_us"), "nats-server", of(peer_one, "p99_us")),
        Figure("throughput, 32 callers on 4 workers", "tasks/s", of(many, "per_second"), "nats-server",
               of(peer_many, "per_second"), target=(">=", 1), judged="ratio"),
        Figure("latency p99, 32 callers", "us", of(many, "p99_us"), "nats-server", of(peer_many, "p99_us")),
        Figure("throughput, 32 callers, one task in hand a worker", "tasks/s", of(plain, "per_second"), "nats-server",
               of(peer_many, "per_second")),
        Figure("throughput, 4 callers on 4 workers", "tasks/s", of(few, "per_second"), "nats-server", of(peer_few, "per_second")),
        Figure("server CPU a task, 32 callers", "us", cpu, "nats-server", peer_cpu),
    ]
