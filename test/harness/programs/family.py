"""An app whose descendants try to get away: children, grandchildren, one that left by setsid and a double fork, and one
that ignores SIGTERM. Each notes its pid in the file given; "exit" as second argument ends the main process at once.
"""
import os
import signal
import sys
import time

file = sys.argv[1]
leave = sys.argv[2:] == ["exit"]


def note(role):
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{role} {os.getpid()}\n".encode())
    os.close(descriptor)


def rest():
    while True:
        signal.pause()


def child(role, then=rest):
    if os.fork() == 0:
        note(role)
        then()
        os._exit(0)


def grandchild():
    child("grandchild")
    rest()


def runaway():
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    for descriptor in range(3):
        os.close(descriptor)
    os.chdir("/")
    note("runaway")
    rest()


def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    rest()


note("main")
child("child", grandchild)
if os.fork() == 0:
    runaway()
child("deaf", deaf)
while True:
    with open(file) as notes:
        if {line.split()[0] for line in notes} >= {"main", "child", "grandchild", "runaway", "deaf"}:
            break
    time.sleep(0.01)
print("all here", flush=True)
if leave:
    sys.exit(0)
try:
    os.wait()  # reap the one that double-forked
except ChildProcessError:
    pass
rest()
