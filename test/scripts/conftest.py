"""A checkout that holds nothing but scripts/, and programs of the machine that fail as they are told."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Checkout:
    def __init__(self, folder):
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copytree(ROOT / ".ci", folder / ".ci")

    def replace(self, path, text):
        """Puts a program, or a script of the checkout, in the place of the real one."""
        file = self.folder / path if "/" in path else self.programs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def popen(self, *words, **environment):
        # As a person's shell would start it, whatever started these tests: no word about warnings, and Ctrl-C counts.
        inherited = {name: value for name, value in os.environ.items() if name != "WARNINGS"}
        return subprocess.Popen(words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True,
                                env={**inherited, "PATH": f"{self.programs}:{os.environ['PATH']}", **environment})

    def run(self, *words, **environment):
        process = self.popen(*words, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)
