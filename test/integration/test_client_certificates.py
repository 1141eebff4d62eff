"""VerifyClient: who may speak at all, on all three ports. And certificates that change while the daemon runs."""
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

from harness.client import Client
from harness.tcp import TcpClient
from harness.waiting import eventually
from harness.websocket import WebSocketClient


def make_stranger(folder):
    """A certificate of a CA that the daemon does not know."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=stranger", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True,
                   capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def context_of(daemon, certificate=None):
    context = ssl.create_default_context(cafile=daemon.ca_file)
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def own_certificate(daemon):
    return daemon.home / "ssl/client.pem", daemon.home / "ssl/client-key.pem"


def status_over(kind, daemon, context):
    """The status of a request over one port; None when the TLS connection is refused."""
    try:
        if kind == "https":
            client = Client(daemon.port, daemon.ca_file)
            client._context = context
            return client.request("GET", "/appmesh/app/nobody/health").status
        with (TcpClient if kind == "tcp" else WebSocketClient)(daemon, context=context) as client:
            return client.request("GET", "/appmesh/app/nobody/health").status
    except (ssl.SSLError, ConnectionError):
        return None


KINDS = ("https", "tcp", "wss")


@pytest.fixture
def strict(new_daemon):
    daemon = new_daemon(REST_SSL_VerifyClient="true")
    daemon.start(wait=False)

    def up():
        try:
            return status_over("https", daemon, context_of(daemon, own_certificate(daemon))) == 404
        except OSError:
            return False
    eventually(up, "the daemon answers who has a certificate", timeout=60)
    return daemon


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_of_our_ca_is_wanted_and_checked(kind, strict, tmp_path):
    assert status_over(kind, strict, context_of(strict, own_certificate(strict))) == 404
    assert status_over(kind, strict, context_of(strict)) is None
    assert status_over(kind, strict, context_of(strict, make_stranger(tmp_path / "stranger"))) is None


@pytest.mark.parametrize("kind", KINDS)
def test_no_certificate_is_asked_for_by_default(kind, daemon, tmp_path):
    context = context_of(daemon, make_stranger(tmp_path / "stranger"))
    assert status_over(kind, daemon, context) == 404  # it is not even looked at
    text = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port_of(daemon, kind)}", "-tls1_2"], input="",
                          capture_output=True, text=True, timeout=60).stdout
    assert "No client certificate CA names sent" in text


def port_of(daemon, kind):
    return {"https": daemon.port, "tcp": daemon.tcp_port, "wss": daemon.ws_port}[kind]


def shown_name(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw, context.wrap_socket(raw) as secured:
        return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True))


def replace_certificate(daemon, tmp_path):
    certificate, key = make_stranger(tmp_path / "new")
    # As a careful person does it: beside, then renamed.
    for source, target in ((key, "server-key.pem"), (certificate, "server.pem")):
        shutil.copy(source, daemon.home / "ssl" / f"{target}.new")
        os.rename(daemon.home / "ssl" / f"{target}.new", daemon.home / "ssl" / target)
    return certificate.read_text()


@pytest.mark.parametrize("how", ["by itself", "SIGHUP"])
def test_a_new_certificate_is_shown_without_a_restart(how, fresh_daemon, tmp_path):
    daemon = fresh_daemon
    before = {kind: shown_name(port_of(daemon, kind)) for kind in KINDS}
    with TcpClient(daemon) as old:
        new = replace_certificate(daemon, tmp_path)
        if how == "SIGHUP":
            daemon.process.send_signal(signal.SIGHUP)
        for kind in KINDS:
            eventually(lambda kind=kind: shown_name(port_of(daemon, kind)).strip() == new.strip(), f"{kind} shows the new certificate")
            assert shown_name(port_of(daemon, kind)) != before[kind]
        assert old.request("GET", "/appmesh/app/nobody/health").status == 404, "a living connection goes on"


def test_a_broken_new_certificate_changes_nothing(fresh_daemon):
    daemon = fresh_daemon
    before = shown_name(daemon.port)
    (daemon.home / "ssl/server.pem").write_text("no certificate")
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "stay as they were" in (daemon.home / "work/server.log").read_text(), "the log tells it")
    assert all(shown_name(port_of(daemon, kind)) == before for kind in KINDS)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_resumed(kind, version, daemon):
    context = context_of(daemon)
    context.minimum_version = context.maximum_version = version
    session = None
    for resumed in (False, True):
        with socket.create_connection(("127.0.0.1", port_of(daemon, kind)), timeout=60) as raw:
            with context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as secured:
                assert secured.session_reused == resumed
                speak(kind, secured)  # with TLS 1.3 the ticket comes with the first answer
                session = secured.session


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_without_tickets_resumes_by_session_id(kind, daemon):
    context = context_of(daemon)
    context.options |= ssl.OP_NO_TICKET
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for resumed in (False, True):
        with socket.create_connection(("127.0.0.1", port_of(daemon, kind)), timeout=60) as raw:
            with context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as secured:
                assert secured.session_reused == resumed
                speak(kind, secured)
                session = secured.session


def speak(kind, secured):
    import msgpack
    from harness.tcp import frame, request_map
    if kind == "tcp":
        secured.sendall(frame(msgpack.packb(request_map("GET", "/appmesh/app/nobody/health"))))
    else:
        secured.sendall(b"GET /appmesh/app/nobody/health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert secured.recv(10)
