"""What the figures were measured on."""
import os
import platform
import subprocess
import time


def _first(path, key):
    try:
        with open(path) as file:
            for line in file:
                if line.startswith(key):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def version_of(command):
    """The first line that a program says about its version, or None when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return None
    text = (done.stdout + done.stderr).strip()
    return text.splitlines()[0] if text else None


def busy_share(seconds=1.0):
    """Share of the processors that somebody else uses now, 0..1: figures taken beside other work are not figures."""
    def ticks():
        with open("/proc/stat") as file:
            return [int(word) for word in file.readline().split()[1:9]]
    before = ticks()
    time.sleep(seconds)
    passed = [after - earlier for after, earlier in zip(ticks(), before)]
    idle = passed[3] + passed[4]
    return 1 - idle / max(1, sum(passed))


def describe(peers):
    """`peers`: name -> command that prints a version."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "load_average": os.getloadavg(),
        "versions": {name: version_of(command) for name, command in peers.items()},
    }
