"""Fixtures: one real daemon for the whole session, and clients of each transport."""

import os
import pathlib
import secrets
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT / "test")]
try:
    import appmesh  # noqa: F401 - the installed one, where there is one
except ImportError:
    sys.path.insert(0, str(HERE.parent / "src"))

from harness.daemon import ADMIN_PASSWORD, Daemon, binaries  # noqa: E402

TRANSPORTS = ["https", "tcp", "wss"]


@pytest.fixture(scope="session")
def daemon():
    if not (binaries() / "appsvc").exists():
        pytest.fail(f"no appsvc in {binaries()}: build first, or set APPMESH_BIN")
    with tempfile.TemporaryDirectory(prefix="appmesh-sdk-", ignore_cleanup_errors=True) as home:
        daemon = Daemon(home)
        try:
            yield daemon.start()
        finally:
            daemon.close()


@pytest.fixture(scope="session")
def token(daemon):
    """token() is one of admin's that is still good: passwords are slow to check on purpose."""
    kept = []

    def get():
        with connect(daemon, "https") as client:
            if not kept or not client.authenticate(kept[0])[0]:
                assert client.login("admin", ADMIN_PASSWORD) is None
                kept[:] = [client._session.token]
        return kept[0]

    return get


@pytest.fixture
def new_client(daemon, token):
    """new_client(transport, login=True, **options): closed at the end of the test."""
    made = []

    def make(transport, login=True, **options):
        client = connect(daemon, transport, **options)
        made.append(client)
        if login:
            client.set_token(token())
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture(params=TRANSPORTS)
def client(request, new_client):
    return new_client(request.param)


@pytest.fixture(params=["tcp", "wss"])
def lasting(request, new_client):
    """A client with a connection that lasts, and so with events."""
    return new_client(request.param)


@pytest.fixture
def name(request):
    return f"sdk-{secrets.token_hex(5)}"


def connect(daemon, transport, **options):
    from appmesh import AppMeshClient, AppMeshClientTCP, AppMeshClientWSS

    if transport == "https":
        return AppMeshClient(daemon.url, daemon.ca_file, None, **options)
    if transport == "tcp":
        return AppMeshClientTCP(("127.0.0.1", daemon.tcp_port), daemon.ca_file, **options)
    return AppMeshClientWSS(("127.0.0.1", daemon.ws_port), daemon.ca_file, **options)


os.environ.setdefault("no_proxy", "127.0.0.1")
