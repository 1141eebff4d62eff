"""The client published on npm as `appmesh`, unchanged: login, add, list, run, output, logout. Each step is a test."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from harness.daemon import ADMIN_PASSWORD, ROOT

SCRIPT = pathlib.Path(__file__).resolve().parent / "javascript/main.mjs"
STEPS = re.findall(r'await step\("([^"]+)"', SCRIPT.read_text())


@pytest.fixture(scope="module")
def outcome(daemon):
    """Runs the whole script once beside its installed packages; {step: (ok, detail)}."""
    folder = ROOT / "build/interop/javascript"
    assert (folder / "node_modules/appmesh").is_dir(), "scripts/prepare test installs the published client"
    shutil.copy(SCRIPT, folder / "main.mjs")
    environment = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
    done = subprocess.run(["node", "main.mjs", daemon.url, daemon.ca_file, ADMIN_PASSWORD], cwd=folder, capture_output=True,
                          text=True, timeout=150, env=environment)
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {step["step"]: (step["ok"], step["detail"]) for step in steps}
    found[None] = (done.returncode, done.stderr)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_published_client(step, outcome):
    assert step in outcome, f"the script ended before: {outcome[None]}"
    ok, detail = outcome[step]
    assert ok, detail
