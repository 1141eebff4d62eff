"""A small client of the TCP transport: frames and msgpack over TLS, nothing hidden, many requests at once."""
import base64
import json
import socket
import ssl
import struct
import threading
import uuid

import msgpack

MAGIC = 0x07C707F8


class Reply:
    def __init__(self, message):
        self.message = message
        self.status = message["http_status"]
        self.body = message["body"]
        self.headers = {name.lower(): value for name, value in message["headers"].items()}

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def frame(data):
    return struct.pack(">II", MAGIC, len(data)) + data


def request_map(method, path, query=None, body=b"", headers=None, token=None, request_id=None):
    headers = dict(headers or {})
    if token and "Authorization" not in headers:
        headers["Authorization"] = token  # the bare JWT, as the published Python client sends it
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    return {"uuid": request_id or str(uuid.uuid4()), "request_uri": path, "http_method": method, "client_addr": "test",
            "headers": headers, "query": {key: str(value) for key, value in (query or {}).items()}, "body": body}


class MessageClient:
    """What TCP and WebSocket clients share: requests by uuid, replies in any order. send_message() and receive_message() move
    one msgpack map."""

    token = None

    def __init__(self):
        self._early = {}
        self.pushed = []
        self._send_lock = threading.Lock()

    def send(self, method, path, token=True, **options):
        """The request's uuid."""
        message = request_map(method, path, token=self.token if token is True else token, **options)
        self.send_message(msgpack.packb(message, use_bin_type=True))
        return message["uuid"]

    def receive(self, request_id):
        """The reply to that request; others that come before are kept, pushed events go to `pushed`."""
        while request_id not in self._early:
            message = msgpack.unpackb(self.receive_message(), raw=False)
            if message["request_uri"] == "/appmesh/event":
                self.pushed.append(message)
            else:
                self._early[message["uuid"]] = Reply(message)
        return self._early.pop(request_id)

    def request(self, method, path, **options):
        return self.receive(self.send(method, path, **options))

    def ok(self, method, path, **options):
        reply = self.request(method, path, **options)
        assert reply.status == 200, f"{method} {path}: {reply}"
        return reply

    def login(self, user, password, **headers):
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        reply = self.request("POST", "/appmesh/login", token=None,
                             headers={"Authorization": f"Basic {credentials}", **headers})
        assert reply.status == 200, reply
        self.token = reply.json["access_token"]
        return reply


class TcpClient(MessageClient):
    def __init__(self, daemon, timeout=60, context=None):
        super().__init__()
        plain = socket.create_connection(("127.0.0.1", daemon.tcp_port), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = context or ssl.create_default_context(cafile=daemon.ca_file)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_message(self, data):
        with self._send_lock:
            self.socket.sendall(frame(data))

    def read(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.socket.recv(min(count - len(data), 1 << 20))
            if not more:
                raise ConnectionError("the daemon closed the connection")
            data += more
        return bytes(data)

    def receive_frame(self):
        magic, length = struct.unpack(">II", self.read(8))
        assert magic == MAGIC, hex(magic)
        return self.read(length)

    receive_message = receive_frame

    def is_closed(self):
        """The daemon ended the connection and sent nothing before."""
        try:
            return self.socket.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
