"""Takes more than its share, within bounds that a machine without working limits survives.

  hog.py memory MEGABYTES [GATE]   waits for the file GATE, then touches that much memory, says so and waits
  hog.py child MEGABYTES CODE      lets a child do that, and exits with CODE when the child has died
  hog.py forks                     forks a tree that would have 364 processes, each trying again when refused
"""
import os
import sys
import time

kind = sys.argv[1]


def take(megabytes):
    held = []
    for _ in range(megabytes):
        held.append(bytearray(os.urandom(4096) * 256))
    return held


if kind == "memory":
    while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
        time.sleep(0.05)
    held = take(int(sys.argv[2]))
    print("has it all", flush=True)
    time.sleep(100000)
elif kind == "child":
    child = os.fork()
    if child == 0:
        held = take(int(sys.argv[2]))
        os._exit(0)
    os.waitpid(child, 0)
    sys.exit(int(sys.argv[3]))
elif kind == "forks":
    depth, born = 0, 0
    while depth < 5 and born < 3:
        try:
            if os.fork() == 0:
                depth, born = depth + 1, 0
            else:
                born += 1
        except BlockingIOError:
            os.write(1, b"refused\n")
            time.sleep(0.2)
    time.sleep(100000)
