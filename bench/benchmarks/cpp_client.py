"""What the C++ client's blocking call adds over TCP to a bare TLS socket with the same messages, in turns."""
from harness.figures import Figure


def run(context):
    bare, client = [], []
    if context.has_daemon:
        with context.daemon() as daemon:
            calls, turns = (200, 5) if context.quick else (500, 10)
            for _ in range(context.repeats):
                times = daemon.load("bench_call", "--calls", calls, "--turns", turns, url=f"tcp://127.0.0.1:{daemon.tcp_port}")
                bare += times["bare"]
                client += times["client"]
    added = [ours - theirs for ours, theirs in zip(client, bare)]
    return [
        Figure("blocking call over TCP, added", "us", added, target=("<", 10)),
        Figure("blocking call over TCP", "us", client, peer="bare TLS socket", peer_samples=bare),
    ]
