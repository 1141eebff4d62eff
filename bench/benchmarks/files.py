"""A large file down and up over HTTPS, beside nginx with the same certificate (upload: WebDAV PUT) and beside scp, and over TCP
beside our own HTTPS; on tmpfs, where no disk is in the figures, and on the disk of the checkout. The client is curl for both
sides. We answer an upload when the file is on the disk and nginx does not wait for that, so on a disk nginx is also measured
with an fsync of the file behind its answer."""
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from harness import peers, processes
from harness.figures import Figure

MIB = 1 << 20


def curl(url, *arguments, token=None, ca=None):
    """Seconds from the start of curl to its end."""
    headers = []
    if token:  # not in the process list
        headers = ["-H", "@-"]
    start = time.monotonic()
    done = subprocess.run(["curl", "-sS", "--fail", "-o", "/dev/null", "--cacert", ca, *headers, *map(str, arguments), url],
                          input=f"Authorization: Bearer {token}\n" if token else "", capture_output=True, text=True,
                          timeout=600, check=False)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise RuntimeError(f"curl: {done.stderr.strip()[-500:]}")
    return seconds


def sync_file(path):
    start = time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return time.monotonic() - start


CLONE_NEWNS = 0x00020000


def mount_tmpfs(folder, size):
    """Whether there is a tmpfs on the folder now, in a mount namespace of this process and what it starts: nothing of it outlives
    them. (Our daemon refuses /dev, so /dev/shm is none that it would serve.)"""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return False
    mounted = subprocess.run(["mount", "--make-rprivate", "/"], check=False).returncode == 0
    return mounted and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode == 0


class Place:
    """What was measured in one folder: name of the figure -> MiB a second, one a repeat."""

    def __init__(self, folder, size):
        self.folder = folder
        self.size = size
        self.source = folder / "source"
        self.target = folder / "target"
        self.rates = {}
        self.cpu = {}
        self.peak = None
        with open(self.source, "wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
        sync_file(self.source)

    def measure(self, name, transfer, pids=(), to_target=False):
        """`transfer` returns the seconds it took, or nothing: then it is timed here."""
        self.target.unlink(missing_ok=True)
        os.sync()  # what others wrote shall not be written at our cost
        before = processes.cpu_seconds(pids) if pids else 0
        start = time.monotonic()
        seconds = transfer()
        if seconds is None:
            seconds = time.monotonic() - start
        if pids:
            self.cpu.setdefault(name, []).append((processes.cpu_seconds(pids) - before) * 1024 * MIB / self.size)
        self.rates.setdefault(name, []).append(self.size / MIB / seconds)
        if to_target and self.target.stat().st_size != self.size:
            raise RuntimeError(f"{name}: {self.target.stat().st_size} bytes arrived of {self.size}")


def over_tcp(context, daemon, place, *arguments):
    done = subprocess.run([context.bin / "bench_files", "--port", str(daemon.tcp_port), "--ca", daemon.ca, *arguments],
                          env=os.environ | {"APPMESH_BENCH_TOKEN": daemon.token}, capture_output=True, text=True, timeout=600,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"bench_files: {done.stderr.strip()[-500:]}")
    answer = json.loads(done.stdout)
    if answer["bytes"] != place.size:
        raise RuntimeError(f"bench_files: {answer['bytes']} bytes of {place.size}")
    return answer["seconds"]


def measure_place(context, daemon, place):
    ca = daemon.ca
    pids = [daemon.process.pid]
    ours = ("-H", f"X-File-Path: {place.source}")
    to_ours = ("-H", f"X-File-Path: {place.target}", "-H", "Content-Type: application/octet-stream", "-X", "POST",
               "-T", place.source)
    certificate, key = daemon.home / "ssl/server.pem", daemon.home / "ssl/server-key.pem"
    sshd = peers.Sshd(context.sshd, context.work) if context.sshd else None
    with peers.NginxFiles(context.nginx, context.work, place.folder, certificate, key) as nginx:
        if sshd:
            sshd.__enter__()
        try:
            for _ in range(context.repeats):
                place.measure("down", lambda: curl(f"{daemon.url}/appmesh/file/download", *ours, token=daemon.token, ca=ca), pids)
                place.measure("nginx down", lambda: curl(f"{nginx.url}/source", ca=ca), nginx.pids)
                place.measure("tcp down", lambda: over_tcp(context, daemon, place, "--path", str(place.source)), pids)
                place.measure("up", lambda: curl(f"{daemon.url}/appmesh/file/upload", *to_ours, token=daemon.token, ca=ca), pids, True)
                place.measure("nginx up", lambda: curl(f"{nginx.url}/target", "-T", place.source, ca=ca), nginx.pids, True)
                place.measure("nginx up synced", lambda: curl(f"{nginx.url}/target", "-T", place.source, ca=ca)
                              + sync_file(place.target), (), True)
                place.measure("tcp up", lambda: over_tcp(context, daemon, place, "--path", str(place.target), "--upload", str(place.source)),
                              pids, True)
                if sshd:
                    place.measure("scp down", lambda: sshd.copy(sshd.remote(place.source), place.target), (), True)
                    place.measure("scp up", lambda: sshd.copy(place.source, sshd.remote(place.target)), (), True)
            place.peak = peak_memory(daemon.process.pid)
        finally:
            if sshd:
                sshd.__exit__()


def peak_memory(pid):
    """The most memory that the process ever had, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM")


def figures_of(where, place, size):
    rates, cpu = place.rates, place.cpu
    note = f"{size // MIB} MiB on {where}"
    synced = "nginx + fsync"
    found = [
        Figure(f"download, {where}", "MiB/s", rates["down"], "nginx", rates["nginx down"], target=(">=", 0.8), judged="ratio", note=note),
        Figure(f"upload, {where}", "MiB/s", rates["up"], "nginx", rates["nginx up"],
               target=(">=", 0.8) if where == "tmpfs" else (), judged="ratio", note=note),
        Figure(f"upload, {where}", "MiB/s", rates["up"], synced, rates["nginx up synced"],
               target=(">=", 0.8) if where != "tmpfs" else (), judged="ratio", note=f"{note}, stored on both sides"),
        # "Not slower", as far as the noise of a machine lets it be seen.
        Figure(f"download over TCP, {where}", "MiB/s", rates["tcp down"], "our HTTPS", rates["down"], target=(">=", 0.95),
               judged="ratio", note=note),
        Figure(f"upload over TCP, {where}", "MiB/s", rates["tcp up"], "our HTTPS", rates["up"], target=(">=", 0.95), judged="ratio",
               note=note),
        Figure(f"CPU of a GiB down, {where}", "s", cpu["down"], "nginx", cpu["nginx down"]),
        Figure(f"CPU of a GiB up, {where}", "s", cpu["up"], "nginx", cpu["nginx up"]),
    ]
    found.append(Figure(f"peak memory of the daemon, {where}", "MiB", [place.peak], target=("<", 64), note="after all transfers"))
    if "scp down" in rates:
        found += [Figure(f"download, {where}", "MiB/s", rates["down"], "scp", rates["scp down"], note=note),
                  Figure(f"upload, {where}", "MiB/s", rates["up"], "scp", rates["scp up"], note=note)]
    return found


def run(context):
    if not context.has_daemon or not context.nginx:
        return []
    size = (256 if context.quick else 1024) * MIB
    found = []
    folders = {where: pathlib.Path(tempfile.mkdtemp(prefix=f"files-{where}-", dir=context.work)) for where in ("tmpfs", "disk")}
    has_tmpfs = mount_tmpfs(folders["tmpfs"], 3 * size + 64 * MIB)
    try:
        for where, folder in folders.items():
            if where == "tmpfs" and not has_tmpfs:
                continue
            place = Place(folder, size)
            with context.daemon() as daemon:  # one a place: its peak of memory is that of this place
                measure_place(context, daemon, place)
                found += figures_of(where, place, size)
            for file in folder.iterdir():
                if file.is_file():
                    file.unlink()
    finally:
        if has_tmpfs:
            subprocess.run(["umount", "-l", folders["tmpfs"]], check=False)
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
    return found
