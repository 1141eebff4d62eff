"""The count at the end: nothing that did not run is taken for success."""
import subprocess
import sys

import pytest
from conftest import ROOT

CASE = '<testcase classname="room" name="{}">{}</testcase>'


def tally(folder, *cases, status=0):
    report = folder / "report.xml"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return subprocess.run([sys.executable, ROOT / "scripts/tally", "--report", f"unit={status}={report}"], capture_output=True, text=True, check=False)


def pytest_skip(why):
    return CASE.format("skips", f'<skipped type="pytest.skip" message="{why}">/x.py:3: {why}</skipped>')


def google_skip(why):
    return CASE.format("skips", '<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>'
                       f"<system-out>[ RUN      ] A.B\n../a_test.cpp:7: Skipped\n{why}\n[  SKIPPED ] A.B (1 ms)</system-out>")


@pytest.mark.parametrize("skip", [pytest_skip, google_skip])
@pytest.mark.parametrize("why", ["needs root", "no cgroup v2 here: not mounted", "no /dev/full here"])
def test_a_skip_for_what_the_machine_is_counts_as_neither_and_is_named(skip, why, tmp_path):
    done = tally(tmp_path, CASE.format("passes", ""), skip(why))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed" and f"room.skips ({why})" in done.stdout


@pytest.mark.parametrize("skip", [pytest_skip, google_skip])
@pytest.mark.parametrize("why", ["nginx is not on this machine", "needs a C compiler", "sdk_cpp_contract is not built", ""])
def test_a_skip_for_what_is_missing_is_a_failure(skip, why, tmp_path):
    done = tally(tmp_path, CASE.format("passes", ""), skip(why))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed" and why in done.stdout


def test_a_runner_that_failed_without_a_failed_test_and_a_missing_report_are_failures(tmp_path):
    assert tally(tmp_path, CASE.format("passes", ""), status=3).stdout.splitlines()[-1] == "1 passed, 1 failed"
    done = subprocess.run([sys.executable, ROOT / "scripts/tally", "--report", f"unit=0={tmp_path}/none.xml"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "0 passed, 1 failed"
