"""The REST API over WebSocket, and as HTTPS on the same port."""
import json
import struct

import msgpack
import pytest
import websocket

from harness.client import Client
from harness.daemon import ADMIN_PASSWORD
from harness.tcp import request_map
from harness.websocket import WebSocketClient

ABNF = websocket.ABNF


@pytest.fixture
def ws(daemon):
    with WebSocketClient(daemon) as client:
        client.login("admin", ADMIN_PASSWORD)
        yield client


@pytest.fixture
def web(daemon):
    """HTTPS on the WebSocket port."""
    client = Client(daemon.ws_port, daemon.ca_file)
    client.login("admin", ADMIN_PASSWORD)
    yield client
    client.close()


def health(**options):
    return msgpack.packb(request_map("GET", "/appmesh/app/nobody/health", **options))


def test_the_api_answers_as_over_https(ws, admin, name, cleaned):
    cleaned.append(name)
    ws.ok("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "true", "status": 0})
    assert ws.ok("GET", f"/appmesh/app/{name}").json["command"] == admin.app(name)["command"]
    ran = ws.ok("POST", "/appmesh/app/syncrun", body={"command": "echo over a socket"})
    assert ran.text == "over a socket\n" and ran.headers["x-exit-code"] == "0"
    assert ws.request("GET", "/appmesh/applications", token=None).status == 401
    assert ws.request("GET", "/no/such/path").status == 404


def test_replies_come_as_they_are_ready(ws, name, cleaned):
    cleaned.append(name)
    ws.ok("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "sleep 1000"})
    waiting = ws.send("GET", f"/appmesh/app/{name}/output", query={"timeout": 50, "stdout_position": 0})
    for _ in range(20):
        assert ws.request("GET", "/appmesh/app/nobody/health").status == 404
    assert waiting not in ws._early, "the long-poll waits"
    ws.ok("POST", f"/appmesh/app/{name}/disable")
    assert ws.receive(waiting).status == 200


def test_no_cookie_is_set(ws):
    assert "set-cookie" not in ws.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"}).headers


@pytest.mark.parametrize("protocols,status", [(("appmesh-ws",), 101), ((), 101), (("other", "appmesh-ws"), 101), (("other",), 400)])
def test_sub_protocols(protocols, status, daemon):
    if status == 101:
        with WebSocketClient(daemon, subprotocols=protocols, path="/any/path?x=1") as client:
            assert client.socket.getsubprotocol() == ("appmesh-ws" if protocols else None)
            assert client.request("GET", "/appmesh/app/nobody/health").status == 404
    else:
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            WebSocketClient(daemon, subprotocols=protocols)
        assert refusal.value.status_code == status


def test_a_handshake_that_is_none_is_refused(daemon, web):
    good = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for changed, status in (({"Sec-WebSocket-Version": "8"}, 426), ({"Sec-WebSocket-Key": "short"}, 400),
                            ({"Connection": "keep-alive"}, 400), ({"Sec-WebSocket-Key": "!" * 22 + "=="}, 400)):
        answer = web.request("GET", "/", headers={**good, **changed})
        assert answer.status == status and answer.message, (changed, answer)
    assert web.request("GET", "/appmesh/user/self", headers={"Upgrade": "h2c"}).status == 200
    # A port without WebSocket takes the header as any other.
    assert daemon.client().request("GET", "/appmesh/user/self", headers=good).status == 200


def test_messages_may_be_fragmented_with_pings_in_between(ws):
    data = health(request_id="pieces")
    ws.socket.send_frame(ABNF.create_frame(data[:5], ABNF.OPCODE_BINARY, 0))
    ws.socket.send_frame(ABNF.create_frame(b"", ABNF.OPCODE_CONT, 0))
    ws.socket.ping("in between")
    ws.socket.send_frame(ABNF.create_frame(data[5:], ABNF.OPCODE_CONT, 1))
    opcode, payload = ws.socket.recv_data(control_frame=True)
    assert (opcode, payload) == (ABNF.OPCODE_PONG, b"in between")
    assert ws.receive("pieces").status == 404


def test_empty_messages_are_ignored(ws):
    for _ in range(3):
        ws.socket.send_binary(b"")
    assert ws.request("GET", "/appmesh/app/nobody/health").status == 404


def test_large_messages_both_ways(ws):
    body = json.dumps({"command": "wc -c", "description": "x"})
    assert ws.request("POST", "/appmesh/app/syncrun", body=body.encode() + b" " * 10_000_000).status == 200
    output = ws.ok("POST", "/appmesh/app/syncrun", query={"timeout": 60},
                   body={"command": "head -c 3000000 /dev/zero | tr '\\0' x", "shell": True}).body
    assert output.startswith(b"xxx") and len(output) > 100_000


@pytest.mark.parametrize("frames,code", [
    ([b"\x81\x80\0\0\0\0"], 1003),  # text
    ([b"\x82\x03abc"], 1002),  # not masked
    ([b"\xC2\x80\0\0\0\0"], 1002),  # a reserved bit
    ([b"\x83\x80\0\0\0\0"], 1002),  # an unknown opcode
    ([b"\x09\x80\0\0\0\0"], 1002),  # a fragmented ping
    ([b"\x89\xFE\x00\x80\0\0\0\0" + b"x" * 128], 1002),  # a ping of 128 bytes
    ([b"\x80\x81\0\0\0\0x"], 1002),  # nothing to go on with
    ([b"\x02\x81\0\0\0\0x", b"\x82\x81\0\0\0\0x"], 1002),  # a message inside another
    ([b"\x82\xFE\x00\x05\0\0\0\0"], 1002),  # a length that could be shorter
    ([b"\x82\xFF" + struct.pack(">Q", 65 * 1024 * 1024) + b"\0\0\0\0"], 1009),
    ([b"\x82\xFF" + struct.pack(">Q", 1 << 63) + b"\0\0\0\0"], 1002),
    ([b"\x82\x81\0\0\0\0\xC1"], 1003),  # no msgpack
    ([b"\x88\x81\0\0\0\0x"], 1002),  # a close code of one byte
    ([b"\x88\x82\0\0\0\0\x03\xE8"], 1000),
    ([b"\x88\x80\0\0\0\0"], 0),
])
def test_what_the_protocol_forbids_is_closed_with_its_code(frames, code, daemon):
    with WebSocketClient(daemon) as client:
        for frame in frames:
            client.socket.sock.sendall(frame)
        assert client.close_code() == code
        with WebSocketClient(daemon) as other:
            assert other.request("GET", "/appmesh/app/nobody/health").status == 404


def test_a_message_over_64_mib_in_fragments_is_1009(daemon):
    with WebSocketClient(daemon) as client:
        piece = b"x" * (16 * 1024 * 1024)
        try:
            client.socket.send_frame(ABNF.create_frame(piece, ABNF.OPCODE_BINARY, 0))
            for _ in range(4):
                client.socket.send_frame(ABNF.create_frame(piece, ABNF.OPCODE_CONT, 0))
        except (OSError, websocket.WebSocketException):
            pass  # the daemon may have hung up before all was sent
        assert client.close_code() in (1009, None)


def test_the_same_port_answers_https(web, daemon, name, cleaned):
    cleaned.append(name)
    web.add(name, "true", status=0)
    assert web.app(name)["name"] == name
    answer = web.ok("GET", "/appmesh/user/self")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    assert web.request("OPTIONS", "/appmesh/applications").status == 200
    assert daemon.client().request("OPTIONS", "/appmesh/applications").status == 204
    assert web.request("GET", "/appmesh/user/self", token=None,
                       headers={"Cookie": f"appmesh_auth_token={web.token}"}).status == 200


def test_a_plus_in_a_query_is_left_alone_here(web):
    label = "websocket-plus"
    try:
        web.ok("PUT", f"/appmesh/label/{label}?value=a+b%20c")
        assert web.ok("GET", "/appmesh/labels").json[label] == "a+b c"
    finally:
        web.request("DELETE", f"/appmesh/label/{label}")


def test_a_body_over_128_mib_is_413_before_it_is_sent(web):
    for length, answer in ((128 * 1024 * 1024 + 1, b"HTTP/1.1 413"), (128 * 1024 * 1024, b"HTTP/1.1 100")):
        connection = web.connect()
        connection.sock.sendall(f"PUT /appmesh/app/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                f"Content-Length: {length}\r\n\r\n".encode())
        assert connection.sock.recv(100).startswith(answer)
        connection.close()
