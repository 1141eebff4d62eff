#!/usr/bin/env python3
"""Remote tasks: a program that the daemon keeps running answers ten sums, one after the other.

  pytask.py            the caller: registers the worker, asks it, prints the sums
  pytask.py worker     the worker: started by the daemon, not by you
"""

import json
import os
import sys
from pathlib import Path

from appmesh import App, AppMeshClientTCP, AppMeshWorkerTCP

HOST = os.environ.get("APPMESH_HOST", "127.0.0.1")
PORT = int(os.environ.get("APPMESH_TCP_PORT", "6059"))
CA_FILE = os.environ.get("APPMESH_CA", "/opt/appmesh/ssl/ca.pem")


def work() -> None:
    worker = AppMeshWorkerTCP(CA_FILE, None, (HOST, PORT))
    while True:
        numbers = json.loads(worker.fetch_task())
        worker.send_task_result(json.dumps(sum(numbers)))


def ask() -> None:
    with AppMeshClientTCP((HOST, PORT), CA_FILE) as client:
        client.login(os.environ.get("APPMESH_USER", "admin"), os.environ["APPMESH_PASSWORD"])
        app = App({"name": "pytask", "command": f"{sys.executable} {Path(__file__).resolve()} worker"})
        for name in ("APPMESH_HOST", "APPMESH_TCP_PORT", "APPMESH_CA"):
            if name in os.environ:
                app.set_env(name, os.environ[name])
        client.add_app(app)
        try:
            for number in range(1, 11):
                numbers = list(range(number + 1))
                print(f"sum of 0 to {number} is {client.run_task('pytask', json.dumps(numbers))}")
        finally:
            client.delete_app("pytask")


if __name__ == "__main__":
    work() if sys.argv[1:] == ["worker"] else ask()
