#!/usr/bin/env python3
"""The daemon as a file server: a folder's files go up, are listed, come back, and are compared.

  file_server.py LOCAL_FOLDER REMOTE_FOLDER
"""

import filecmp
import os
import shlex
import sys
import tempfile
from pathlib import Path

from appmesh import AppMeshClientTCP

HOST = os.environ.get("APPMESH_HOST", "127.0.0.1")
PORT = int(os.environ.get("APPMESH_TCP_PORT", "6059"))
CA_FILE = os.environ.get("APPMESH_CA", "/opt/appmesh/ssl/ca.pem")


def main(local: Path, remote: str) -> int:
    with AppMeshClientTCP((HOST, PORT), CA_FILE) as client:
        client.login(os.environ.get("APPMESH_USER", "admin"), os.environ["APPMESH_PASSWORD"])
        code, output = client.run_app_sync(f"mkdir -p {shlex.quote(remote)}")
        if code != 0:
            print(output, end="")
            return 1
        names = sorted(file.name for file in local.iterdir() if file.is_file())
        for name in names:
            client.upload_file(str(local / name), f"{remote}/{name}")
            print(f"stored {name}")
        print(client.run_app_sync(f"cd {shlex.quote(remote)} && wc -c *")[1], end="")
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                client.download_file(f"{remote}/{name}", str(Path(folder) / name))
            same, different, missing = filecmp.cmpfiles(local, folder, names, shallow=False)
        print(f"{len(same)} files came back as they were")
        return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
