#!/usr/bin/env python3
"""Maps a Python function over a list with N worker processes that the daemon runs.

  parallel_map.py [N]          counts primes below a few limits, with N workers (4)

The function travels to the workers as the name of this file and its own name, so workers on other hosts need the file too.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Callable, List, Sequence

from appmesh import App, AppMeshClientTCP, AppMeshWorkerTCP

HOST = os.environ.get("APPMESH_HOST", "127.0.0.1")
PORT = int(os.environ.get("APPMESH_TCP_PORT", "6059"))
CA_FILE = os.environ.get("APPMESH_CA", "/opt/appmesh/ssl/ca.pem")


def count_primes(limit: int) -> int:
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
    return sum(sieve)


def work() -> None:
    worker = AppMeshWorkerTCP(CA_FILE, None, (HOST, PORT))
    while True:
        task = json.loads(worker.fetch_task())
        worker.send_task_result(json.dumps(globals()[task["function"]](task["item"])))


def parallel_map(client: AppMeshClientTCP, function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> List[Any]:
    names = [f"map-{os.getpid()}-{number}" for number in range(workers)]
    idle: SimpleQueue[str] = SimpleQueue()
    for name in names:
        app = App({"name": name, "command": f"{sys.executable} {Path(__file__).resolve()} worker"})
        for variable in ("APPMESH_HOST", "APPMESH_TCP_PORT", "APPMESH_CA"):
            if variable in os.environ:
                app.set_env(variable, os.environ[variable])
        client.add_app(app)
        idle.put(name)

    def one(item: Any) -> Any:
        name = idle.get()  # one task at a time each; the client itself serves all threads
        try:
            return json.loads(client.run_task(name, json.dumps({"function": function.__name__, "item": item})))
        finally:
            idle.put(name)

    try:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, items))
    finally:
        for name in names:
            client.delete_app(name)


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    limits = [10, 100, 1_000, 10_000, 100_000, 200_000]
    with AppMeshClientTCP((HOST, PORT), CA_FILE) as client:
        client.login(os.environ.get("APPMESH_USER", "admin"), os.environ["APPMESH_PASSWORD"])
        for limit, primes in zip(limits, parallel_map(client, count_primes, limits, workers)):
            print(f"{primes} primes below {limit}")


if __name__ == "__main__":
    work() if sys.argv[1:] == ["worker"] else main()
