"""The README and CONTRIBUTING name commands that exist."""
import os
import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "test/fresh"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_that_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    for script in set(re.findall(r"\bscripts/(\w+)", text)):
        assert os.path.exists(ROOT / "scripts" / script), script
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in set(re.findall(r"`make ([a-z-]+)", text)):
        assert target in targets, target


def test_the_commands_that_a_fresh_machine_tries_are_the_readmes():
    import run
    start, lines, test = run.readme()
    assert (start, test) == ("scripts/start", "scripts/test")
    assert len(lines) > 10 and any("appc shell" in line for line in lines) and lines[-1].startswith("scripts/stop --all")


def test_ci_runs_the_readmes_test_command():
    assert "\nscripts/test\n" in (ROOT / ".ci/run").read_text()
