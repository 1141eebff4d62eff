"""The apps of the kill tests: each says in files what it did, so that nobody has to trust the daemon's account.

  probe.py steady DIR NAME                   notes its start and waits
  probe.py exiter DIR NAME MIN MAX CODE      notes its start, lives MIN..MAX seconds, notes its end, exits with CODE (< 0: by signal)
  probe.py writer DIR NAME INTERVAL          notes its start and writes "line 1", "line 2" … until TERM; then "end N"

Notes are single appended lines: starts/NAME "pid run", exits/NAME "pid code". A second living process of the same app
would find the lock taken and say so in doubles.
"""
import fcntl
import os
import random
import signal
import sys
import time

kind, folder, name = sys.argv[1:4]


def note(file, text):
    descriptor = os.open(os.path.join(folder, file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


lock = os.open(os.path.join(folder, "locks", name), os.O_RDWR | os.O_CREAT, 0o644)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("doubles", f"{name} {os.getpid()}")
note(f"starts/{name}", f"{os.getpid()} {os.environ.get('APP_MESH_RUN_ID', '-')}")

if kind == "steady":
    while True:
        signal.pause()
elif kind == "exiter":
    shortest, longest, code = float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
    time.sleep(random.uniform(shortest, longest))
    note(f"exits/{name}", f"{os.getpid()} {code}")
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)
elif kind == "writer":
    interval = float(sys.argv[4])
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    count = 0
    while not stopped:
        count += 1
        os.write(1, f"line {count}\n".encode())
        time.sleep(interval)
    os.write(1, f"end {count}\n".encode())
