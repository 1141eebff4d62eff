"""The clients published on PyPI as `appmesh`, unchanged, several versions, over each transport that they have."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from harness.daemon import ADMIN_PASSWORD, ROOT

FOLDER = pathlib.Path(__file__).resolve().parent / "python"
SCRIPT = FOLDER / "smoke.py"
VERSIONS = [line for line in (FOLDER / "versions.txt").read_text().split("\n") if line and not line.startswith("#")]
sys.path.insert(0, str(FOLDER))
import smoke  # noqa: E402

CASES = [pytest.param(version, step, id=f"{version}-{step}") for version in VERSIONS for step in smoke.steps(version)]


@pytest.fixture(scope="module")
def outcomes(daemon, tmp_path_factory):
    """{version: {step: (ok, detail)}}, each version's script run once."""
    found = {}

    def outcome(version):
        if version not in found:
            found[version] = run(version, daemon, tmp_path_factory.mktemp("python"))
        return found[version]
    return outcome


def run(version, daemon, scratch):
    python = ROOT / f"build/interop/python-{version}/bin/python"
    assert python.exists(), "scripts/prepare test installs the published clients"
    environment = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
    done = subprocess.run(
        [python, SCRIPT, str(daemon.port), str(daemon.tcp_port), str(daemon.ws_port), daemon.ca_file, ADMIN_PASSWORD, scratch],
        cwd=scratch, capture_output=True, text=True, timeout=170, env=environment)
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    found = {step["step"]: (step["ok"], step["detail"]) for step in steps}
    found[None] = (done.returncode, done.stderr[-3000:])
    return found


@pytest.mark.parametrize(("version", "step"), CASES)
def test_published_client(version, step, outcomes):
    outcome = outcomes(version)
    assert step in outcome, f"the script ended before: {outcome[None]}"
    ok, detail = outcome[step]
    assert ok, f"{detail}\n{outcome[None][1]}"
