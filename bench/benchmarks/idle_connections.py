"""Ten thousand TLS connections that were used once and now wait: what each costs the daemon in memory, and what they do to a GET
of somebody else. Connections go to the TCP port, and a tenth of them to each of the others."""
import http.client
import resource
import socket
import ssl
import struct
import time

from harness import processes
from harness.figures import Figure, percentile

WANTED = 10_000
SETTLE_SECONDS = 2
# GET /appmesh/app/nobody/health, a route that needs no token; fixed msgpack, so that no package is needed here.
MESSAGE = (b"\x83\xA4uuid\xA1u\xABrequest_uri\xBA/appmesh/app/nobody/health\xABhttp_method\xA3GET")
HTTP = b"GET /appmesh/app/nobody/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: appmesh-ws\r\n\r\n")


def tls(context, port):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60), server_hostname="127.0.0.1")


def ask(connection, data, expected):
    connection.sendall(data)
    answer = connection.recv(4096)
    if expected not in answer:
        raise RuntimeError(f"an unexpected answer: {answer[:200]}")


def use_once(kind, connection):
    if kind == "tcp":
        ask(connection, struct.pack(">II", 0x07C707F8, len(MESSAGE)) + MESSAGE, b"http_status")
    elif kind == "https":
        ask(connection, HTTP, b"HTTP/1.1 404")
    else:
        ask(connection, UPGRADE, b"HTTP/1.1 101")
        ask(connection, b"\x82" + bytes([0x80 | len(MESSAGE)]) + b"\0\0\0\0" + MESSAGE, b"http_status")


def get_times(daemon, count):
    """Milliseconds of GETs one after another on one kept connection."""
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, timeout=60,
                                             context=ssl.create_default_context(cafile=str(daemon.ca)))
    times = []
    for number in range(count + 100):
        start = time.perf_counter()
        connection.request("GET", "/appmesh/app/nobody/health")
        connection.getresponse().read()
        if number >= 100:
            times.append((time.perf_counter() - start) * 1000)
    connection.close()
    return times


def run(context):
    if not context.has_daemon:
        return []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = min(WANTED, hard - 500)  # both ends have their own limit
    wanted = 1000 if context.quick else wanted
    each_kb = {"tcp": [], "https": [], "wss": []}
    before, beside = [], []
    for _ in range(min(context.repeats, 2)):
        with context.daemon() as daemon:
            secured = ssl.create_default_context(cafile=str(daemon.ca))
            ports = {"tcp": daemon.tcp_port, "https": daemon.port, "wss": daemon.websocket_port}
            for kind, port in ports.items():  # what a first connection makes for good is not counted
                with tls(secured, port) as connection:
                    use_once(kind, connection)
            before.append(percentile(get_times(daemon, 2000), 0.99))
            connections = []  # all stay to the end, so that none is made from another's memory
            for kind in ("https", "wss", "tcp"):
                count = wanted if kind == "tcp" else wanted // 10
                fresh = processes.memory(daemon.process.pid)["rss"]
                for _ in range(count):
                    connection = tls(secured, ports[kind])
                    use_once(kind, connection)
                    connections.append(connection)
                time.sleep(SETTLE_SECONDS)
                each_kb[kind].append((processes.memory(daemon.process.pid)["rss"] - fresh) / count / 1000)
                if kind == "tcp":
                    beside.append(percentile(get_times(daemon, 2000), 0.99))
            for connection in connections:
                connection.close()
    note = f"{wanted:,} connections, TLS 1.3"
    return [
        Figure("an idle TCP connection, RSS", "kB", each_kb["tcp"], target=("<", 20), note=note),
        Figure("an idle WebSocket connection, RSS", "kB", each_kb["wss"], target=("<", 20), note=f"{wanted // 10:,} connections"),
        Figure("an idle HTTPS connection, RSS", "kB", each_kb["https"], target=("<", 20), note=f"{wanted // 10:,} connections"),
        Figure("GET p99 beside them / without", "ms", beside, "without", before, target=("<=", 2), judged="ratio", note=note),
    ]
