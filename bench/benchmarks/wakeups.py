"""Wake-ups of daemon and keeper while 1,000 apps sleep: how often any of their threads went back to sleep, from /proc, and
which system calls they made, from strace where it may trace."""
import collections
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from harness import processes
from harness.figures import Figure


def switches(pids):
    counts = {}
    for pid in pids:
        counts |= processes.voluntary_switches(pid)
    return counts


def traced_calls(context, pids, seconds):
    """(system calls ended in the window, those that timed out), or None when tracing is not possible."""
    if not shutil.which("strace"):
        return None
    with tempfile.TemporaryDirectory(dir=context.work) as folder:
        file = pathlib.Path(folder) / "trace"
        arguments = [word for pid in pids for word in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-f", "-tt", "-o", file, *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2.0)  # attaching itself interrupts every call once
            if tracer.poll() is not None:
                return None
            start = file.stat().st_size
            time.sleep(seconds)
            with file.open() as trace:
                trace.seek(start)
                lines = [line for line in trace.read().splitlines() if re.search(r"\) += |resumed>", line)]
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(timeout=10)
    return len(lines), sum(1 for line in lines if "Timeout" in line or "ETIMEDOUT" in line)


def run(context):
    seconds = 3 if context.quick else 10
    wakes, calls, timed = [], [], []
    awake = collections.Counter()  # thread name -> wake-ups over all windows
    if context.has_daemon:
        with context.daemon() as daemon:
            daemon.load("bench_register", "--apps", 1000, "--callers", 8)
            pids = daemon.pids
            # Connections of the callers are closed and the last writes are on disk by then.
            daemon.connection.close()
            time.sleep(5)
            for _ in range(context.repeats):
                before = switches(pids)
                time.sleep(seconds)
                after = switches(pids)
                more = {thread: count - before.get(thread, 0) for thread, count in after.items()}
                wakes.append(sum(more.values()))
                awake.update({processes.thread_name(thread): count for thread, count in more.items() if count})
            traced = traced_calls(context, pids, seconds)
            if traced:
                calls.append(traced[0])
                timed.append(traced[1])
    window = f"in {seconds} s"
    return [
        Figure(f"wake-ups of all threads {window}", "wake-ups", wakes, target=("==", 0), note=", ".join(f"{k}: {v}" for k, v in awake.items())),
        Figure(f"timed-out waits under strace {window}", "calls", timed, target=("==", 0)),
        Figure(f"system calls under strace {window}", "calls", calls),
    ]
