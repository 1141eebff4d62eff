"""Peers of the TCP and WebSocket ports that are slow, wrong or greedy: each costs only itself."""
import socket
import ssl
import struct

import msgpack
import pytest
import websocket

from harness import processes
from harness.daemon import ADMIN_PASSWORD
from harness.tcp import MAGIC, TcpClient, frame, request_map
from harness.waiting import eventually
from harness.websocket import WebSocketClient

MIB = 1024 * 1024


@pytest.fixture
def others(daemon, admin):
    """others() proves that everybody else is served as ever, on all three ports, by the same daemon."""
    pid = daemon.pid
    with TcpClient(daemon) as tcp, WebSocketClient(daemon) as ws:
        def served():
            assert daemon.pid == pid and daemon.process.poll() is None
            assert admin.request("GET", "/appmesh/app/nobody/health").status == 404
            for client in (tcp, ws):
                assert client.request("GET", "/appmesh/app/nobody/health").status == 404
            with TcpClient(daemon) as fresh:
                assert fresh.request("GET", "/appmesh/app/nobody/health").status == 404
        yield served
        served()


def rss(daemon):
    for line in open(f"/proc/{daemon.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024


def plain(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


@pytest.mark.parametrize("data", [
    b"\0\0\0\0\0\0\0\x05hello", b"GET / HTTP/1.1\r\n\r\n", struct.pack(">II", MAGIC ^ 1, 3) + b"abc",
    struct.pack(">II", MAGIC, 0),  # the end of a file that nobody sends
    struct.pack(">II", MAGIC, 256 * MIB + 1), struct.pack(">II", MAGIC, 0xFFFFFFFF),
    frame(b"\xC1"), frame(b"no map"), frame(b"\x93\x01\x02\x03"), frame(msgpack.packb({1: 2})),
    frame(msgpack.packb({"uuid": {"a": 1}})), frame(msgpack.packb({"headers": ["a"]})),
    frame(b"\x81\xA4body\xC6\xFF\xFF\xFF\xFFx"),  # bytes that are not there
    frame(b"\xDF\xFF\xFF\xFF\xFF"), frame(b"\x81\xA1x" + b"\xDD\xFF\xFF\xFF\xFF" * 100),
    frame(b"\x81\xA1x" + b"\x91" * 1_000_000), frame(b"\x81\xA1x" + b"\xDC\xFF\xFF" * 300_000),
    frame(msgpack.packb({"headers": {str(number): "" for number in range(257)}})),
    frame(msgpack.packb({"query": {"a": "x" * 70_000}})),
    frame(msgpack.packb({"uuid": "x", "request_uri": "/"}) + b"more"),
])
def test_what_is_no_message_closes_its_connection_without_a_reply(data, daemon, others):
    with TcpClient(daemon) as client:
        try:
            client.socket.sendall(data)
        except (ConnectionError, ssl.SSLError):
            pass
        assert client.is_closed()


def test_a_good_request_before_a_bad_one_is_answered_or_lost_but_nothing_else(daemon, others):
    with TcpClient(daemon) as client:
        client.socket.sendall(frame(msgpack.packb(request_map("GET", "/appmesh/app/nobody/health"))) + b"\0" * 8)
        try:
            assert msgpack.unpackb(client.receive_message(), raw=False)["http_status"] == 404
        except ConnectionError:
            pass
        assert client.is_closed()


def test_an_announced_length_costs_no_memory_before_its_bytes_come(daemon, others):
    before = rss(daemon)
    clients = [TcpClient(daemon) for _ in range(50)]
    try:
        for client in clients:
            client.socket.sendall(struct.pack(">II", MAGIC, 256 * MIB) + b"x" * 1000)
        others()
        assert rss(daemon) - before < 20 * MIB
    finally:
        for client in clients:
            client.close()


def test_connections_that_never_speak_and_handshakes_that_stop(daemon, others):
    hello = bytes.fromhex("1603010200010001fc0303")
    silent = []
    try:
        for port in (daemon.tcp_port, daemon.ws_port):
            for number in range(200):
                connection = plain(port)
                if number % 2:
                    connection.sendall(hello)
                silent.append(connection)
        silent += [TcpClient(daemon).socket for _ in range(50)]
        others()
    finally:
        for connection in silent:
            connection.close()


def test_plain_text_to_the_tls_ports_is_closed(daemon, others):
    for port in (daemon.tcp_port, daemon.ws_port):
        with plain(port) as connection:
            connection.sendall(frame(msgpack.packb(request_map("GET", "/appmesh/labels"))))
            try:
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass


@pytest.mark.parametrize("kind", [TcpClient, WebSocketClient])
def test_a_peer_that_asks_and_never_reads_holds_little(kind, daemon, others):
    """Each answer is a kilobyte and more; without a bound they would be a hundred megabytes."""
    with kind(daemon) as client:
        client.login("admin", ADMIN_PASSWORD)
        raw = client.socket if kind is TcpClient else client.socket.sock
        label = "hostile-never-reads"
        description = "d" * 1000
        client.ok("PUT", f"/appmesh/label/{label}", query={"value": description})
        before = rss(daemon)
        raw.settimeout(2)
        try:
            for number in range(100_000):
                client.send("GET", "/appmesh/labels", request_id=str(number))
        except (OSError, websocket.WebSocketException):
            pass  # the daemon reads no more from who does not read
        else:
            raise AssertionError("the daemon took 100,000 requests and nobody took an answer")
        assert rss(daemon) - before < 40 * MIB
        others()
    daemon.client().request("DELETE", f"/appmesh/label/{label}")


def test_too_many_waiting_requests_of_one_connection_are_refused(daemon, admin, others, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    with TcpClient(daemon) as client:
        client.token = admin.token
        waiting = [client.send("GET", f"/appmesh/app/{name}/output", query={"timeout": 100, "stdout_position": 0})
                   for _ in range(1100)]
        refused = [each for each in (client.receive(waiting[number]) for number in range(1000, 1100))]
        assert all(each.status == 503 and "too many requests" in each.json["message"] for each in refused)
        others()
        assert not set(waiting[:1000]) & set(client._early), "those before still wait"


def test_connections_that_vanish_with_requests_under_way_leave_nothing(daemon, admin, others, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    descriptors = processes.descriptor_count(daemon.pid)
    for kind in (TcpClient, WebSocketClient):
        for number in range(50):
            client = kind(daemon)
            client.token = admin.token
            client.send("GET", f"/appmesh/app/{name}/output", query={"timeout": 100, "stdout_position": 0})
            raw = client.socket if kind is TcpClient else client.socket.sock
            raw.sendall(b"\x07\xC7\x07\xF8\0\0\1\0half" if number % 2 else b"")
            raw.close()
    eventually(lambda: processes.descriptor_count(daemon.pid) <= descriptors + 5, "the connections are closed")


def test_the_log_says_why_a_connection_was_closed(daemon, others):
    with TcpClient(daemon) as client:
        client.socket.sendall(struct.pack(">II", MAGIC, 0xFFFFFFFF))
        assert client.is_closed()
    eventually(lambda: "announces more bytes than a message may have" in (daemon.home / "work/server.log").read_text(),
               "the reason is in the log")
