"""Memory of daemon and keeper together: fresh and idle, and what an app more costs at 1,000 and 1,500. Resident size is judged;
the proportional size (shared libraries counted by share) stands beside it. The daemon's descriptors must stay flat."""
import time

from harness import processes
from harness.figures import Figure
from harness.peers import Supervisord

MIB = 1024 * 1024
SETTLE_SECONDS = 3


def total(daemon, kind):
    return sum(processes.memory(pid)[kind] for pid in daemon.pids)


def run(context):
    idle, idle_pss, daemon_only, keeper_only = [], [], [], []
    per_app = {("rss", 1000): [], ("pss", 1000): [], ("rss", 1500): []}
    more_descriptors, peer_idle, peer_app = [], [], []
    for _ in range(context.repeats):
        if context.has_daemon:
            with context.daemon() as daemon:
                time.sleep(SETTLE_SECONDS)
                fresh = {kind: total(daemon, kind) for kind in ("rss", "pss")}
                fresh_descriptors = processes.descriptors(daemon.process.pid)
                idle.append(fresh["rss"] / MIB)
                idle_pss.append(fresh["pss"] / MIB)
                daemon_only.append(processes.memory(daemon.process.pid)["rss"] / MIB)
                keeper_only.append(processes.memory(daemon.keeper)["rss"] / MIB)
                for prefix, more, apps in (("a-", 1000, 1000), ("b-", 500, 1500)):
                    daemon.load("bench_register", "--apps", more, "--callers", 8, "--prefix", prefix)
                    time.sleep(SETTLE_SECONDS)
                    for kind in ("rss", "pss"):
                        if (kind, apps) in per_app:
                            per_app[kind, apps].append((total(daemon, kind) - fresh[kind]) / apps / 1000)
                more_descriptors.append(processes.descriptors(daemon.process.pid) - fresh_descriptors)
        if context.supervisord:
            for apps, samples in ((1, peer_idle), (1000, peer_app)):
                programs = {f"bench-{number}": "/bin/sleep 1000000" for number in range(apps)}
                with Supervisord(context.supervisord, context.work, programs) as supervisord:
                    supervisord.wait_all_running()
                    samples.append(processes.memory(supervisord.process.pid)["rss"])
    peer_per_app = [(many - few) / 999 / 1000 for few, many in zip(peer_idle, peer_app)]
    peer_idle_mib = [size / MIB for size in peer_idle]
    return [
        Figure("daemon + keeper idle, RSS", "MiB", idle, "supervisord", peer_idle_mib, target=("<", 20)),
        Figure("daemon + keeper idle, PSS", "MiB", idle_pss),
        Figure("daemon alone idle, RSS", "MiB", daemon_only),
        Figure("keeper alone idle, RSS", "MiB", keeper_only),
        Figure("one app more at 1,000, RSS", "kB", per_app["rss", 1000], "supervisord", peer_per_app, target=("<", 10)),
        Figure("one app more at 1,000, PSS", "kB", per_app["pss", 1000]),
        Figure("one app more at 1,500, RSS", "kB", per_app["rss", 1500]),
        Figure("daemon's descriptors more at 1,500", "fds", more_descriptors, target=("<=", 20)),
    ]
