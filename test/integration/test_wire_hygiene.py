"""What goes over the wire is what the standards say, and nothing that an attacker could use."""
import socket
import ssl

import pytest

from test_bad_input import conversation, status_of


def handshake(daemon, port, ciphers):
    """The suite of TLS 1.2 that is agreed on, None when there is none."""
    context = ssl.create_default_context(cafile=daemon.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(ciphers + ":@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip(f"this machine's OpenSSL has none of {ciphers}")
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60), server_hostname="127.0.0.1") as connection:
            return connection.cipher()[0]
    except ssl.SSLError:
        return None


def ports(daemon):
    return daemon.port, daemon.tcp_port, daemon.ws_port


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
                                     "ECDHE-ECDSA-CAMELLIA128-SHA256", "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES256-CCM8"])
def test_suites_with_cbc_or_a_short_tag_are_not_agreed_on(ciphers, daemon):
    for port in ports(daemon):
        assert handshake(daemon, port, ciphers) is None


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_suites_that_are_good_are_agreed_on(suite, daemon):
    for port in ports(daemon):
        assert handshake(daemon, port, suite) == suite


@pytest.mark.parametrize("head", [
    b"GET /appmesh/labels HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
    b"GET /appmesh/labels HTTP/1.1\r\nHost: x\r\nAuthorization:\r\n\tBearer x\r\n\r\n",
    b"POST /appmesh/app/run HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
])
def test_what_others_read_otherwise_is_refused(head, daemon):
    received = conversation(daemon, head)
    assert status_of(received) == 400 and b"Connection: close" in received, received
    assert received.count(b"HTTP/1.1 ") == 1, "and what follows is not taken for a request"


def test_no_answer_is_for_a_cache(daemon, admin, tmp_path):
    (tmp_path / "file").write_text("x")
    for method, path, headers in (("GET", "/appmesh/config", {}), ("GET", "/appmesh/applications", {}), ("GET", "/appmesh/users", {}),
                                  ("GET", "/appmesh/app/nobody", {}), ("GET", "/appmesh/app/nobody/task?process_key=x", {}),
                                  ("POST", "/appmesh/login", {}), ("POST", "/appmesh/auth", {}), ("POST", "/appmesh/totp/secret", {}),
                                  ("GET", "/appmesh/file/download", {"X-File-Path": str(tmp_path / "file")}), ("GET", "/nowhere", {})):
        answer = admin.request(method, path, headers=headers)
        assert answer.headers.get_all("Cache-Control") == ["no-store"], (path, answer.headers.items())
