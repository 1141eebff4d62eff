"""One change of an app at a time, as a person or a script asks for it: disable and enable, each answered when it is durable. The
registration rate of 8 callers, whose changes share commits and syncs of the disk, is in `register`."""
import time

from harness.figures import Figure, percentile


def run(context):
    changes = 50 if context.quick else 200
    median, worst = [], []
    for _ in range(context.repeats if context.has_daemon else 0):
        with context.daemon() as daemon:
            daemon.add_app("one", "/bin/sleep 1000000")
            samples = []
            for _ in range(changes):
                start = time.monotonic()
                daemon.call("POST", "/appmesh/app/one/disable")
                samples.append((time.monotonic() - start) * 1000)
                daemon.call("POST", "/appmesh/app/one/enable")
            median.append(percentile(samples, 0.5))
            worst.append(percentile(samples, 0.99))
    return [
        Figure("one disable p50", "ms", median, target=("<", 10)),
        Figure("one disable p99", "ms", worst),
    ]
