"""TLS trust, and servers that answer badly, slowly or not at all."""

import socket
import threading

from fake_daemon import FakeDaemon, make_certificates


def test_the_local_daemons_own_ca_is_trusted(appc):
    assert appc("ls").returncode == 0


def test_the_ca_of_a_checkout_is_found_in_the_working_folder(appc, ssl_home):
    (appc.folder / ".appmesh").symlink_to(ssl_home)
    assert appc("ls", env={"APPMESH_HOME_DIR": ""}).returncode == 0


def test_an_unknown_certificate_is_refused_unless_told_otherwise(appc, tmp_path, ssl_home):
    unknown = {"APPMESH_HOME_DIR": str(tmp_path / "nowhere")}
    result = appc("ls", env=unknown)
    assert result.returncode == 1
    assert "not trusted" in result.stderr and "--insecure" in result.stderr
    assert appc("ls", "--insecure", env=unknown).returncode == 0
    assert appc("ls", "--ca", str(ssl_home / "ssl/ca.pem"), env=unknown).returncode == 0


def test_a_certificate_for_another_name_is_refused(appc, tmp_path):
    make_certificates(tmp_path / "other/ssl", "DNS:elsewhere.example")
    other = FakeDaemon(tmp_path / "other/ssl")
    try:
        result = appc("metric", url=other.url, env={"APPMESH_HOME_DIR": str(tmp_path / "other")})
        assert result.returncode == 1
        assert "not trusted" in result.stderr
        assert not other.requests
    finally:
        other.stop()


def test_ipv6_and_names_work(appc, ssl_home):
    six = FakeDaemon(ssl_home / "ssl", host="::1")
    try:
        assert appc("metric", url=six.url).stdout.startswith("appmesh_process_id")
    finally:
        six.stop()
    assert appc("metric", url=f"https://localhost:{appc.daemon.port}").returncode == 0


def test_no_daemon_is_said_plainly(appc):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        result = appc("metric", url=f"https://127.0.0.1:{free.getsockname()[1]}")
    assert result.returncode == 1
    assert "Connection refused" in result.stderr and "is the daemon running?" in result.stderr


def test_a_plain_text_server_and_one_that_hangs_up_are_told_apart_from_tls(appc):
    def serve(answer):
        server = socket.create_server(("127.0.0.1", 0))

        def once():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        return server

    for answer, text in ((b"SSH-2.0-test\r\n", "TLS handshake"), (b"", "no TLS handshake")):
        with serve(answer) as server:
            result = appc("metric", url=f"https://127.0.0.1:{server.getsockname()[1]}")
            assert result.returncode == 1
            assert text in result.stderr


def raw(data):
    def answer(handler):
        handler.wfile.write(data)
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def test_broken_answers_are_refused_and_never_shown_as_complete(appc):
    cases = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "middle of"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "middle of"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "header over"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "body over"),
        (b"nonsense\r\n\r\n", "status line"),
        (b"", "without an answer"),
    ]
    for data, text in cases:
        appc.daemon.script["GET", "/appmesh/metrics"] = raw(data)
        result = appc("metric")
        assert (result.returncode, result.stdout) == (1, ""), data[:50]
        assert text in result.stderr, data[:50]


def test_chunked_answers_are_joined(appc):
    appc.daemon.script["GET", "/appmesh/metrics"] = raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nd\n\r\n0\r\n\r\n")
    assert appc("metric").stdout == "abcd\n"


def test_several_requests_share_one_connection(appc):
    appc.daemon.connections = 0
    appc.daemon.apps["web"] = {"name": "web", "command": "true", "status": 1}
    assert appc("enable", "-A").returncode == 0
    assert appc.daemon.connections == 1


def test_error_text_of_the_server_reaches_the_user_without_control_characters(appc):
    appc.daemon.script["GET", "/appmesh/applications"] = lambda handler: handler.fail(403, "denied \x1b[2J\nreally")
    result = appc("ls")
    assert result.returncode == 1
    assert "denied ?[2J really" in result.stderr


def test_forwarding_and_tracing(appc):
    result = appc("-v", "-F", "other", "ls")
    assert appc.daemon.requests[-1][2]["X-Target-Host"] == f"other:{appc.daemon.port}"
    assert "GET" in result.stderr and "200" in result.stderr
    assert not any(token in result.stderr for token in appc.daemon.tokens)
