"""The end of a connection whose peer has stopped reading: a daemon that hangs, a network that swallows everything."""

import base64
import hashlib
import socket
import ssl
import threading

import pytest
from harness.waiting import eventually

from appmesh import AppMeshDisconnectedError, TCPTransport, WSSTransport

TOO_MUCH = b"x" * 50_000_000


def header(head, name):
    found = [line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(name)]
    return found[0] if found else b""


def accept(listener, context, is_websocket, kept):
    """Takes one connection as far as it must for the client to use it, and then no byte more."""
    plain, _ = listener.accept()
    stream = context.wrap_socket(plain, server_side=True)
    if is_websocket:
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(4096)
        key = hashlib.sha1(header(head, b"sec-websocket-key") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        answer = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
        answer += [b"Sec-WebSocket-Accept: " + base64.b64encode(key)]
        protocol = header(head, b"sec-websocket-protocol")
        answer += [b"Sec-WebSocket-Protocol: " + protocol] if protocol else []
        stream.sendall(b"\r\n".join(answer) + b"\r\n\r\n")
    kept.append(stream)


@pytest.fixture
def silent_peer(daemon):
    """silent_peer(kind) is the address of a peer of that kind."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(daemon.home / "ssl/server.pem", daemon.home / "ssl/server-key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    kept = []

    def start(kind):
        threading.Thread(target=accept, args=(listener, context, kind is WSSTransport, kept), daemon=True).start()
        return listener.getsockname()

    yield start
    listener.close()
    for stream in kept:
        stream.close()


@pytest.mark.parametrize("kind", [TCPTransport, WSSTransport])
@pytest.mark.parametrize("way", ["abort", "close"])
def test_a_connection_can_be_ended_while_another_thread_is_stuck_in_a_write(daemon, silent_peer, kind, way):
    transport = kind(silent_peer(kind), daemon.ca_file)
    transport.connect()
    errors = []

    def write():
        try:
            transport.send_message(TOO_MUCH)
        except AppMeshDisconnectedError as error:
            errors.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    eventually(transport._stream._write_lock.locked, "the writer is at it; the peer will never take it all")
    ending = threading.Thread(target=getattr(transport, way), daemon=True)
    ending.start()
    ending.join(30)
    assert not ending.is_alive()
    writer.join(30)
    assert not writer.is_alive()
    assert len(errors) == 1
