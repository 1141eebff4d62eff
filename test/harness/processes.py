"""Looking at processes through /proc, and ending the ones that a test started, by pid and never by name."""
import os
import signal

TOKEN_VARIABLE = "MESH_TEST_TOKEN"


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def all_pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def environment(pid):
    """The environment that a process was started with, or {} when it is gone or not ours to see."""
    pairs = (item.split(b"=", 1) for item in _read(f"/proc/{pid}/environ").split(b"\0") if b"=" in item)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in pairs}


def stat_fields(pid):
    """Fields of /proc/pid/stat from the third on (state first), or [] when it is gone."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].decode().split()


def alive(pid):
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def program(pid):
    """Name of the program as it was started; /proc/pid/exe changes its name when a linker replaces the file."""
    return _read(f"/proc/{pid}/comm").decode(errors="replace").strip()


def command_line(pid):
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def descriptors(pid):
    """What the open descriptors of a process lead to."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            pass
    return found


def descriptor_count(pid):
    """Open descriptors but for those of cgroups, of which the daemon keeps a bounded number for the next runs."""
    return sum(not target.startswith("/sys/fs/cgroup/") for target in descriptors(pid))


def cgroup_descriptor_count(pid):
    return sum(target.startswith("/sys/fs/cgroup/") for target in descriptors(pid))


def thread_count(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def marked(token):
    """Every living process that inherited the mark of one test daemon: {pid: app name or ''}."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    found = {}
    for pid in all_pids():
        if mark in _read(f"/proc/{pid}/environ") and alive(pid):
            found[pid] = environment(pid).get("APP_MESH_APPLICATION_NAME", "")
    return found


def descendants(root):
    """Every living process below root. Finds those too that overwrote their environment, as nginx does."""
    children = {}
    for pid in all_pids():
        fields = stat_fields(pid)
        if fields and fields[0] not in ("Z", "X"):
            children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def start_ticks(pid):
    fields = stat_fields(pid)
    return fields[19] if fields else None


def of_app(token, name):
    return [pid for pid, app in marked(token).items() if app == name]


def keeper_of(home):
    """Pid of the appkeeper that serves this home, or None."""
    home = os.path.realpath(home)
    for pid in all_pids():
        if program(pid) != "appkeeper" or not alive(pid):
            continue
        if home in command_line(pid):
            return pid
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            links.append(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            continue
        if any(link == home or link.startswith(home + "/") for link in links):
            return pid
    return None


def kill_exactly(pid, still_ours, number=signal.SIGKILL):
    """Signals pid through a pidfd if still_ours(pid) holds then, so that a recycled pid is never hit."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if still_ours(pid):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
