#!/usr/bin/env python3
"""What the client costs: a call through it beside the same messages over a bare socket, taking turns.

  overhead.py [--calls N] [--repeats N]       starts a daemon of its own (APPMESH_BIN)

Both sides use TLS of Python's ssl module on one kept connection. The bare side has its request ready as bytes and reads
the answer without looking into it. Printed are microseconds a call, the median over the repeats: of the clock, and of
processor time, which a busy machine changes less. --limit fails when the blocking client adds more processor time."""

import argparse
import asyncio
import pathlib
import socket
import statistics
import struct
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "test"))

from harness.daemon import ADMIN_PASSWORD, Daemon  # noqa: E402

from appmesh import AppMeshClient, AppMeshClientTCP, AppMeshClientWSS, RequestMessage, aio  # noqa: E402
from appmesh._core import http1, tls, websocket  # noqa: E402


class Bare:
    """The same messages as the client's, and nothing else."""

    def __init__(self, daemon, transport, token):
        port = {"https": daemon.port, "tcp": daemon.tcp_port, "wss": daemon.ws_port}[transport]
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.context(daemon.ca_file, None).wrap_socket(plain, server_hostname="127.0.0.1")
        headers = {"User-Agent": "appmesh/python", "Authorization": f"Bearer {token}"}
        path = "/appmesh/user/permissions"
        message = RequestMessage("0123456789abcdef-1", path, "GET", socket.gethostname(), b"", headers, {}).serialize()
        self.once = getattr(self, transport)
        if transport == "https":
            self.request = http1.encode("GET", path, {"Host": f"127.0.0.1:{port}", **headers}, None)
        elif transport == "tcp":
            self.request = struct.pack(">II", 0x07C707F8, len(message)) + message
        else:
            opening, _ = websocket.handshake(f"127.0.0.1:{port}")
            self.socket.sendall(opening)
            while b"\r\n\r\n" not in self.socket.recv(65536):
                pass
            self.request = websocket.frame(websocket.BINARY, message)

    def https(self):
        self.socket.sendall(self.request)
        data = self.socket.recv(65536)
        end = data.index(b"\r\n\r\n") + 4
        start = data.lower().index(b"content-length:") + 15
        left = int(data[start : data.index(b"\r", start)]) - (len(data) - end)
        while left > 0:
            left -= len(self.socket.recv(65536))

    def tcp(self):
        self.socket.sendall(self.request)
        data = self.socket.recv(65536)
        left = int.from_bytes(data[4:8], "big") + 8 - len(data)
        while left > 0:
            left -= len(self.socket.recv(65536))

    def wss(self):
        self.socket.sendall(self.request)
        data = self.socket.recv(65536)
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        left = length + start - len(data)
        while left > 0:
            left -= len(self.socket.recv(65536))


def timed(call, calls):
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls * 1e6, (time.process_time() - worked) / calls * 1e6


def blocking(daemon, transport):
    if transport == "https":
        return AppMeshClient(daemon.url, daemon.ca_file, None)
    if transport == "tcp":
        return AppMeshClientTCP(("127.0.0.1", daemon.tcp_port), daemon.ca_file)
    return AppMeshClientWSS(("127.0.0.1", daemon.ws_port), daemon.ca_file)


def asynchronous(daemon, transport):
    if transport == "https":
        return aio.AppMeshClient(daemon.url, daemon.ca_file, None)
    if transport == "tcp":
        return aio.AppMeshClientTCP(("127.0.0.1", daemon.tcp_port), daemon.ca_file)
    return aio.AppMeshClientWSS(("127.0.0.1", daemon.ws_port), daemon.ca_file)


async def timed_async(client, calls):
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(calls):
        await client.get_user_permissions()
    return (time.perf_counter() - began) / calls * 1e6, (time.process_time() - worked) / calls * 1e6


async def measure(daemon, transport, calls, repeats):
    with blocking(daemon, transport) as client:
        client.login("admin", ADMIN_PASSWORD)
        token = client._session.token
        bare = Bare(daemon, transport, token)
        async with asynchronous(daemon, transport) as coroutines:
            coroutines.set_token(token)
            samples = []
            for turn in range(repeats + 1):
                sample = (
                    timed(bare.once, calls),
                    timed(client.get_user_permissions, calls),
                    await timed_async(coroutines, calls),
                )
                if turn:  # the first one warms up
                    samples.append(sample)
    def median(side, clock):
        return statistics.median(each[side][clock] for each in samples)

    def added(side, clock):
        return statistics.median(each[side][clock] - each[0][clock] for each in samples)

    return [median(0, 0), median(1, 0), added(1, 0), added(1, 1), median(2, 0), added(2, 0), added(2, 1)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--transport", action="append", choices=["https", "tcp", "wss"])
    parser.add_argument("--limit", type=float, help="most microseconds that the blocking client may add")
    options = parser.parse_args()
    over = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        daemon = Daemon(home)
        try:
            daemon.start()
            print("us/call   bare socket    client     added  added cpu       aio     added  added cpu")
            for transport in options.transport or ["https", "tcp", "wss"]:
                figures = asyncio.run(measure(daemon, transport, options.calls, options.repeats))
                print(f"{transport:9} {figures[0]:11.0f}" + "".join(f"{figure:10.0f}" for figure in figures[1:]))
                over = over or (options.limit is not None and figures[3] > options.limit)
        finally:
            daemon.close()
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
