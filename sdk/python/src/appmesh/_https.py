"""Blocking HTTPS: a pool of kept-alive connections to one daemon. Safe to use from several threads at once."""

import select
import socket
import ssl
import threading
import time
from typing import IO, Dict, Iterable, List, Optional, Tuple

from ._core import http1, tls
from ._core.exchange import BLOCK, MAX_IDLE, Address, Exchange, LocalFailure, Sink, blocks_of
from ._core.message import Request, Response
from .exceptions import AppMeshDisconnectedError


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
        sink: Optional[Sink] = None,
    ) -> Response:
        """upload: a file that is the body, of `length` bytes. sink: takes the body of a good answer as it comes."""
        again = False
        while True:
            attempt = Exchange(self.address, request, headers, self._read_timeout, length if upload else None, sink)
            connection = self._open() if again else self._take()
            keep = False
            try:
                response, keep = self._talk(connection, attempt, blocks_of(upload, length) if upload else ())
                return response
            except AppMeshDisconnectedError:
                if not (connection.reused and attempt.repeatable):
                    raise
                again = True
            finally:
                if keep:
                    self._give_back(connection)
                else:
                    connection.close()

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
            raise self.address.unreachable(error) from error

    def _give_back(self, connection: _Connection) -> None:
        connection.keep()
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    @staticmethod
    def _talk(connection: _Connection, attempt: Exchange, upload: Iterable[bytes]) -> Tuple[Response, bool]:
        if connection.socket.gettimeout() != attempt.patience:
            connection.socket.settimeout(attempt.patience)
        try:
            connection.socket.sendall(attempt.first)
            for block in upload:
                connection.socket.sendall(block)
            while not attempt.done:
                attempt.feed(connection.socket.recv(BLOCK))
        except socket.timeout as error:
            raise attempt.timed_out() from error
        except (OSError, http1.BadResponse) as error:
            raise attempt.failed(error) from error
        except LocalFailure as failure:
            raise failure.error from None
        return attempt.response()
