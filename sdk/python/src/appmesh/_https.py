"""Blocking HTTPS: a pool of kept-alive connections to one daemon. Safe to use from several threads at once."""

import select
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from typing import IO, Callable, Dict, List, Optional, Tuple

from ._core import http1, tls
from ._core.message import Request, Response
from .exceptions import AppMeshDisconnectedError, AppMeshRequestTimeoutError

MAX_IDLE = 8
# Larger blocks would each be mapped and unmapped by the allocator, which costs more than they save.
BLOCK = 64 * 1024


class Address:
    """Where a base URL leads."""

    def __init__(self, base_url: str) -> None:
        parts = urllib.parse.urlsplit(base_url if "//" in base_url else f"https://{base_url}")
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"not the URL of a daemon: {base_url!r}")
        self.secure = parts.scheme == "https"
        self.host: str = parts.hostname
        self.port: int = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = f"{name}:{self.port}"

    def proxy(self) -> Optional[Tuple[str, int]]:
        """The proxy that the environment asks for."""
        if urllib.request.proxy_bypass(self.host):
            return None
        named = urllib.request.getproxies().get("https" if self.secure else "http")
        if not named:
            return None
        parts = urllib.parse.urlsplit(named if "//" in named else f"http://{named}")
        return (parts.hostname, parts.port or 3128) if parts.hostname else None


class _Connection:
    """One socket. It serves one request at a time."""

    def __init__(self, address: Address, context: Optional[ssl.SSLContext], connect_timeout: float) -> None:
        proxy = address.proxy()
        plain = socket.create_connection(proxy or (address.host, address.port), timeout=connect_timeout)
        self.reused = False
        self._used_at = 0.0
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy:
                self._tunnel(plain, address)
            self.socket: socket.socket = context.wrap_socket(plain, server_hostname=address.host) if context else plain
        except BaseException:
            plain.close()
            raise

    @staticmethod
    def _tunnel(plain: socket.socket, address: Address) -> None:
        plain.sendall(f"CONNECT {address.authority} HTTP/1.1\r\nHost: {address.authority}\r\n\r\n".encode())
        parser = http1.Parser("HEAD")
        while not parser.done:
            parser.feed(plain.recv(BLOCK))
        assert parser.head is not None
        if parser.head.status != 200:
            raise OSError(f"the proxy answered {parser.head.status}")

    def usable(self) -> bool:
        """A kept connection that can be read has been closed at the other end. One that was just used is believed."""
        if time.monotonic() - self._used_at < 0.5:
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)

    def keep(self) -> None:
        """It will serve another request."""
        self.reused = True
        self._used_at = time.monotonic()

    def close(self) -> None:
        self.socket.close()


class HttpsConnections:
    """Sends requests, each over a connection of its own for as long as it takes."""

    def __init__(
        self, base_url: str, verify: tls.Verify, certificate: tls.Certificate, request_timeout: Tuple[float, float]
    ) -> None:
        self.address = Address(base_url)
        self._connect_timeout, self._read_timeout = request_timeout
        self._context = tls.context(verify, certificate) if self.address.secure else None
        self._lock = threading.Lock()
        self._idle: List[_Connection] = []

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def exchange(
        self,
        request: Request,
        headers: Dict[str, str],
        upload: Optional[IO[bytes]] = None,
        length: int = 0,
        sink: Optional[Callable[[bytes], object]] = None,
    ) -> Response:
        """upload: a file that is the body, of `length` bytes. sink: takes the body of a good answer as it comes."""
        connection = self._take()
        try:
            response, keep = self._talk(connection, request, headers, upload, length, sink)
        except _NoAnswer as error:
            connection.close()
            # A kept connection may end just as it is used again. Only what changes nothing is sent twice.
            if not (connection.reused and request.method in ("GET", "HEAD")):
                raise AppMeshDisconnectedError(f"{self.address.authority}: {error}") from error.__cause__
            connection = self._open()
            try:
                response, keep = self._talk(connection, request, headers, upload, length, sink)
            except _NoAnswer as again:
                connection.close()
                raise AppMeshDisconnectedError(f"{self.address.authority}: {again}") from again.__cause__
            except BaseException:
                connection.close()
                raise
        except BaseException:
            connection.close()
            raise
        if keep:
            self._give_back(connection)
        else:
            connection.close()
        return response

    def _take(self) -> _Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open()
            if connection.usable():
                return connection
            connection.close()

    def _open(self) -> _Connection:
        try:
            return _Connection(self.address, self._context, self._connect_timeout)
        except (OSError, http1.BadResponse) as error:
            raise AppMeshDisconnectedError(f"cannot connect to {self.address.authority}: {error}") from error

    def _give_back(self, connection: _Connection) -> None:
        connection.keep()
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _talk(
        self,
        connection: _Connection,
        request: Request,
        headers: Dict[str, str],
        upload: Optional[IO[bytes]],
        length: int,
        sink: Optional[Callable[[bytes], object]],
    ) -> Tuple[Response, bool]:
        # A call that the daemon was asked to take its time with is not cut short by the client's own limit.
        patience = self._read_timeout
        if request.wait is not None and patience is not None:
            patience = max(patience, request.wait + 30.0)
        if connection.socket.gettimeout() != patience:
            connection.socket.settimeout(patience)
        where = http1.target(self.address.prefix + request.path, request.query)
        size: Optional[int] = length if upload else len(request.body)
        if not size and request.method in ("GET", "HEAD", "DELETE"):
            size = None
        parser = http1.Parser(request.method)
        pieces: List[bytes] = []
        started = False
        try:
            head = http1.encode(request.method, where, {"Host": self.address.authority, **headers}, size)
            connection.socket.sendall(head + request.body)
            if upload:
                self._send_file(connection, upload, length)
            while not parser.done:
                data = connection.socket.recv(BLOCK)
                if not data and not started:
                    raise ConnectionResetError("the connection ended before an answer")
                started = True
                found = parser.feed(data)
                if sink and parser.head is not None and parser.head.status == 200:
                    for piece in found:
                        sink(piece)
                else:
                    pieces += found
        except socket.timeout as error:
            raise AppMeshRequestTimeoutError(
                f"{self.address.authority} did not answer {request.method} {request.path} within {patience:g} s"
            ) from error
        except http1.BadResponse as error:
            raise AppMeshDisconnectedError(f"{self.address.authority}: {error}") from error
        except OSError as error:
            if started:
                raise AppMeshDisconnectedError(f"{self.address.authority}: {error}") from error
            raise _NoAnswer(str(error)) from error
        assert parser.head is not None
        return Response(parser.head.status, parser.head.headers, b"".join(pieces)), parser.head.keep

    @staticmethod
    def _send_file(connection: _Connection, upload: IO[bytes], length: int) -> None:
        left = length
        while left:
            block = upload.read(min(BLOCK, left))
            if not block:
                raise AppMeshDisconnectedError("the local file became shorter while it was sent")
            connection.socket.sendall(block)
            left -= len(block)


class _NoAnswer(Exception):
    """The connection failed before the first byte of an answer."""
