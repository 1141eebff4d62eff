"""A checkout that holds nothing but scripts/, and programs of the machine that fail as they are told."""
import os
import pathlib
import shutil
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
        return subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                start_new_session=True, env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", **environment})

    def run(self, *words, **environment):
        process = self.popen(*words, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)
