"""What users' tools say of the package."""

import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def run(*command, **options):
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_types_are_strict():
    run(sys.executable, "-m", "mypy", "--no-error-summary")


def test_style():
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_the_syntax_is_that_of_python_3_8():
    import ast

    for file in sorted((PACKAGE / "src").rglob("*.py")):
        ast.parse(file.read_text(), str(file), feature_version=(3, 8))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from the checkout and installed into a clean environment; returns its python."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), ".")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    wheel = next(folder.glob("appmesh-*.whl"))
    python = folder / "venv/bin/python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    # What it needs is taken from the environment of the tests, so that this needs no network.
    import msgpack

    source = pathlib.Path(msgpack.__file__).parent
    run(*pip, "--no-deps", "--target", target, str(wheel))
    (pathlib.Path(target) / "msgpack").symlink_to(source)
    return python


def test_the_wheel_is_whole(installed, tmp_path):
    code = (
        "import appmesh, appmesh.aio\n"
        "[getattr(m, n) for m in (appmesh, appmesh.aio) for n in m.__all__]\n"
        "print(appmesh.__file__)"
    )
    place = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "site-packages" in place
    assert (pathlib.Path(place.strip()).parent / "py.typed").exists()
