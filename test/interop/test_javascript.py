"""The client published on npm as `appmesh`, unchanged: login, add, list, run, output, logout, and over each transport that it
has files, tasks and events. Each step is a test."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from harness.daemon import ADMIN_PASSWORD, ROOT

FOLDER = pathlib.Path(__file__).resolve().parent / "javascript"
SCRIPTS = ("main.mjs", "matrix.mjs")
CASES = [(script, step) for script in SCRIPTS for step in re.findall(r'await step\("([^"]+)"', (FOLDER / script).read_text())]


@pytest.fixture(scope="module")
def outcomes(daemon, tmp_path_factory):
    """outcomes(script) runs it once beside its installed packages; {step: (ok, detail)}."""
    found = {}

    def outcome(script):
        if script not in found:
            arguments = {
                "main.mjs": [daemon.url, daemon.ca_file, ADMIN_PASSWORD],
                "matrix.mjs": [daemon.url, daemon.tcp_port, daemon.ca_file, ADMIN_PASSWORD, tmp_path_factory.mktemp("javascript")],
            }[script]
            found[script] = run(script, arguments)
        return found[script]
    return outcome


def run(script, arguments):
    folder = ROOT / "build/interop/javascript"
    assert (folder / "node_modules/appmesh").is_dir(), "scripts/prepare test installs the published client"
    shutil.copy(FOLDER / script, folder / script)
    environment = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
    done = subprocess.run(["node", script, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=170,
                          env=environment)
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {step["step"]: (step["ok"], step["detail"]) for step in steps}
    found[None] = (done.returncode, done.stderr)
    return found


@pytest.mark.parametrize(("script", "step"), CASES, ids=[step for _, step in CASES])
def test_published_client(script, step, outcomes):
    outcome = outcomes(script)
    assert step in outcome, f"the script ended before: {outcome[None]}"
    ok, detail = outcome[step]
    assert ok, detail
