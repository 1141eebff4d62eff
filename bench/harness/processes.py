"""Processes as /proc shows them, and an end to everything that a benchmark started."""
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """Orphans come to us, so that a daemon's own children are found and ended whatever becomes of the daemon."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            pass  # the thread ended
    return found


def descendants(pid):
    found = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def name(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def thread_name(thread):
    """Works for a thread id too, though /proc does not list it."""
    return f"{name(thread)}/{thread}"


def cpu_seconds(pids):
    """User and system time of the processes so far."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def memory(pid):
    """Resident and proportional bytes."""
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in ("Rss", "Pss"):
            sizes[key.lower()] = int(rest.split()[0]) * 1024
    return sizes


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def voluntary_switches(pid):
    """Thread -> how often it has gone to sleep: each wake-up ends in one more."""
    counts = {}
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    counts[int(status.parent.name)] = int(line.split()[1])
        except OSError:
            pass
    return counts


def end(process, seconds=10):
    """Asks our child to end, and makes it when it does not in that time."""
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_orphans(known=(), seconds=20):
    """Kills and reaps every child of ours that is not `known`, and what is below it. They are our children until reaped, so no
    pid can have been recycled."""
    limit = time.monotonic() + seconds
    while True:
        left = [pid for pid in children(os.getpid()) if pid not in known]
        if not left:
            return
        if time.monotonic() > limit:
            raise TimeoutError(f"{len(left)} processes did not end")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


_leftovers = []


def delete_later(folder):
    """At the end of the run: ext4 looks at every inode that was deleted within the last minutes before it gives out a new one, so
    a deletion between two measurements slows the files that the second one creates."""
    _leftovers.append(folder)


def delete_leftovers():
    while _leftovers:
        shutil.rmtree(_leftovers.pop(), ignore_errors=True)


def wait_until(condition, what, seconds=60, pause=0.02):
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise TimeoutError(f"{what} did not happen within {seconds} s")
        time.sleep(pause)
