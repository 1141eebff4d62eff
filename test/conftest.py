"""Fixtures of every test of the real daemon. `daemon` is shared by a whole session; `fresh_daemon` starts one's own."""
import os
import pathlib
import re
import resource
import secrets
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness.daemon import Daemon, binaries  # noqa: E402

LONG = os.environ.get("APPMESH_TEST_LONG") == "1"


def pytest_configure(config):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not (binaries() / "appsvc").exists():
        pytest.exit(f"no appsvc in {binaries()}: run `scripts/build release` first, or set APPMESH_BIN", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Daemon):
                report.sections.append(("daemon's log", value.log_tail()))
    return report


@pytest.fixture(scope="session")
def long_run():
    return LONG


@pytest.fixture(scope="session")
def homes():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="appmesh-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def daemon(homes):
    daemon = Daemon(homes / "shared")
    try:
        yield daemon.start()
    finally:
        daemon.close()


@pytest.fixture
def new_daemon(homes):
    """new_daemon(**settings) makes a daemon that is not started yet; it is cleaned up at the end of the test."""
    made = []

    def make(**settings):
        daemon = Daemon(homes / f"home-{secrets.token_hex(4)}", **settings)
        made.append(daemon)
        return daemon
    yield make
    for daemon in made:
        daemon.close()
        shutil.rmtree(daemon.home, ignore_errors=True)


@pytest.fixture
def fresh_daemon(new_daemon):
    return new_daemon().start()


@pytest.fixture
def admin(daemon):
    return daemon.client()


@pytest.fixture
def name(request):
    """A name of an app that no other test uses."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    return f"{readable}-{secrets.token_hex(3)}"


@pytest.fixture
def cleaned(admin):
    """Names added to this list are deleted at the end of the test."""
    names = []
    yield names
    for name in names:
        admin.request("DELETE", f"/appmesh/app/{name}", query={"force": "true"})
