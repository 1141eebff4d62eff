import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from appc_program import Appc  # noqa: E402
from fake_daemon import FakeDaemon, make_certificates  # noqa: E402


@pytest.fixture(autouse=True)
def bounded():
    """A test that hangs ends, whatever it waits for."""

    def hung(*_):
        raise TimeoutError("the test hung")

    signal.signal(signal.SIGALRM, hung)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def ssl_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("daemon-home")
    make_certificates(home / "ssl", "DNS:localhost,IP:127.0.0.1,IP:::1")
    return home


@pytest.fixture
def daemon(ssl_home):
    server = FakeDaemon(ssl_home / "ssl")
    yield server
    server.stop()


@pytest.fixture
def stranger(daemon, tmp_path, ssl_home):
    """appc that has not logged in."""
    program = Appc(daemon, tmp_path, ssl_home)
    yield program
    program.stop()


@pytest.fixture
def appc(stranger):
    return stranger.logon()
