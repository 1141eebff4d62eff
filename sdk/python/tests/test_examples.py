"""The examples and the quick start, run as a user would."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from harness.daemon import ADMIN_PASSWORD

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = PACKAGE / "examples"
ROOT = PACKAGE.parents[1]


@pytest.fixture
def run(daemon, tmp_path):
    def run(*command, status=0):
        environment = {
            **os.environ,
            "APPMESH_HOST": "127.0.0.1",
            "APPMESH_TCP_PORT": str(daemon.tcp_port),
            "APPMESH_URL": daemon.url,
            "APPMESH_CA": daemon.ca_file,
            "APPMESH_PASSWORD": ADMIN_PASSWORD,
            "PYTHONPATH": str(PACKAGE / "src"),
        }
        done = subprocess.run(
            [sys.executable, *map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_task_loop_prints_its_ten_sums(run):
    sums = [sum(range(number + 1)) for number in range(1, 11)]
    assert run(EXAMPLES / "pytask.py").splitlines() == [
        f"sum of 0 to {number} is {total}" for number, total in enumerate(sums, 1)
    ]


def test_a_function_is_mapped_over_three_workers(run):
    printed = run(EXAMPLES / "parallel_map.py", 3)
    assert re.findall(r"^\d+", printed, re.M) == ["4", "25", "168", "1229", "9592", "17984"]


def test_a_script_runs_remotely_with_its_output_and_exit_code(run, tmp_path):
    script = tmp_path / "script.sh"
    script.write_text("echo one\nsleep 0.2\necho two >&2\nexit 6\n")
    assert run(EXAMPLES / "remote_script.py", script, status=6) == "one\ntwo\n"


def test_the_daemon_serves_files(run, tmp_path):
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 100_000)
    (folder / "b c").write_bytes(b"")
    printed = run(EXAMPLES / "file_server.py", folder, tmp_path / "remote")
    assert "100000 a" in printed
    assert "2 files came back as they were" in printed


def test_the_quick_start_of_the_guide(run, tmp_path):
    page = (ROOT / "docs/sdk/python.md").read_text()
    program = tmp_path / "quick_start.py"
    program.write_text(re.search(r"```python\n(import os\n.*?)```", page, re.S).group(1))
    printed = run(program)
    assert printed.startswith("0 hello from ")
    assert "step 1\nstep 2\nstep 3\nexit code 4\n" in printed


def test_the_reference_is_that_of_the_code(run):
    run(PACKAGE / "tools/make_reference.py", "--check")
