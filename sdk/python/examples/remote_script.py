#!/usr/bin/env python3
"""Runs a script on the daemon's host and shows its output as it comes. Exits as the script did.

  remote_script.py SCRIPT
"""

import asyncio
import os
import sys
from pathlib import Path

from appmesh import App, print_output_handler
from appmesh.aio import AppMeshClientTCP

HOST = os.environ.get("APPMESH_HOST", "127.0.0.1")
PORT = int(os.environ.get("APPMESH_TCP_PORT", "6059"))
CA_FILE = os.environ.get("APPMESH_CA", "/opt/appmesh/ssl/ca.pem")


async def main(script: str) -> int:
    async with AppMeshClientTCP((HOST, PORT), CA_FILE) as client:
        await client.login(os.environ.get("APPMESH_USER", "admin"), os.environ["APPMESH_PASSWORD"])
        # What is in `metadata` the program finds on its standard input.
        run = await client.run_app_async(App({"command": "/bin/sh", "metadata": script}), max_time="PT1H")
        code = await run.wait(print_output_handler)
    if code is None:
        return 1
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]).read_text())))
