"""How late a scheduled app starts: from its planned instant to the first instruction of its process, with 1,000 apps that
have one start a minute each, spread evenly over the seconds of the minute: 16 or 17 are due at the same instant."""
import collections
import time

from harness.figures import Figure, percentile

APPS = 1000
MINUTE = 60


def register(daemon, stamps):
    program = daemon.bin / "bench_due"
    for number in range(APPS):
        daemon.add_app(f"due{number}", f"{program} {stamps} {number}", cron=True, start_interval_seconds=f"{number % MINUTE} * * * * *")


def lateness(line):
    """(app, milliseconds from its planned instant)."""
    name, nanoseconds = line.split()
    planned = int(name) % MINUTE
    return name, (int(nanoseconds) / 1e6 - planned * 1000) % (MINUTE * 1000)


def run(context):
    medians, tails, worst, starts, seen = [], [], [], [], collections.Counter()
    windows = 1 if context.quick else min(3, context.repeats)
    if context.has_daemon:
        with context.daemon() as daemon:
            stamps = daemon.home / "stamps"
            register(daemon, stamps)
            time.sleep(5)  # the writes of the registration are on disk by then
            for _ in range(windows):
                before = len(stamps.read_text().splitlines()) if stamps.exists() else 0
                time.sleep(MINUTE)
                samples = [lateness(line) for line in stamps.read_text().splitlines()[before:]]
                late = [milliseconds for _, milliseconds in samples]
                seen.update(name for name, _ in samples)
                starts.append(len(late))
                medians.append(percentile(late, 0.5))
                tails.append(percentile(late, 0.99))
                worst.append(max(late))
    spread = f"{APPS} apps, {APPS / MINUTE:.1f} due at the same instant"
    return [
        Figure("planned instant to first instruction, p50", "ms", medians, target=("<=", 20), note=spread),
        Figure("planned instant to first instruction, p99", "ms", tails),
        Figure("planned instant to first instruction, worst", "ms", worst),
        Figure("starts in a minute", "starts", starts, note=f"{len(seen)} apps"),
    ]
