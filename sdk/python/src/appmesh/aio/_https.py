"""HTTPS on asyncio's streams: a pool of kept-alive connections to one daemon."""

import asyncio
import ssl
from typing import IO, Awaitable, Callable, Dict, List, Optional, Tuple, TypeVar

from .._core import http1, tls
from .._core.message import Request, Response
from .._https import BLOCK, MAX_IDLE, Address
from ..exceptions import AppMeshDisconnectedError, AppMeshRequestTimeoutError

T = TypeVar("T")


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.reused = False

    def usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()


class _NoAnswer(Exception):
    """The connection failed before the first byte of an answer."""


class HttpsConnections:
    """Sends requests, each over a connection of its own for as long as it takes."""

    def __init__(
        self, base_url: str, verify: tls.Verify, certificate: tls.Certificate, request_timeout: Tuple[float, float]
    ) -> None:
        self.address = Address(base_url)
        self._connect_timeout, self._read_timeout = request_timeout
        self._context: Optional[ssl.SSLContext] = (
            tls.context(verify, certificate) if self.address.secure else None
        )
        self._idle: List[_Connection] = []

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.writer.close()
        for connection in idle:
            try:
                await connection.writer.wait_closed()
            except (OSError, ssl.SSLError):
                pass

    async def exchange(
        self,
        request: Request,
        headers: Dict[str, str],
        upload: Optional[IO[bytes]] = None,
        length: int = 0,
        sink: Optional[Callable[[bytes], object]] = None,
    ) -> Response:
        """upload: a file that is the body, of `length` bytes. sink: takes the body of a good answer as it comes."""
        connection = self._kept() or await self._open()
        while True:
            keep = False
            try:
                response, keep = await self._talk(connection, request, headers, upload, length, sink)
                return response
            except _NoAnswer as error:
                # A kept connection may end just as it is used again. Only what changes nothing is sent twice.
                if not (connection.reused and request.method in ("GET", "HEAD")):
                    raise AppMeshDisconnectedError(f"{self.address.authority}: {error}") from error.__cause__
            finally:
                if keep and len(self._idle) < MAX_IDLE:
                    connection.reused = True
                    self._idle.append(connection)
                else:
                    connection.writer.close()
            connection = await self._open()

    def _kept(self) -> Optional[_Connection]:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.writer.close()
        return None

    async def _open(self) -> _Connection:
        address = self.address
        connecting = asyncio.open_connection(
            address.host, address.port, ssl=self._context, server_hostname=address.host if self._context else None
        )
        try:
            return _Connection(*await asyncio.wait_for(connecting, self._connect_timeout))
        except (OSError, asyncio.TimeoutError) as error:
            raise AppMeshDisconnectedError(f"cannot connect to {address.authority}: {error}") from error

    async def _talk(
        self,
        connection: _Connection,
        request: Request,
        headers: Dict[str, str],
        upload: Optional[IO[bytes]],
        length: int,
        sink: Optional[Callable[[bytes], object]],
    ) -> Tuple[Response, bool]:
        patience = self._read_timeout
        if request.wait is not None and patience is not None:
            patience = max(patience, request.wait + 30.0)
        where = http1.target(self.address.prefix + request.path, request.query)
        size: Optional[int] = length if upload else len(request.body)
        if not size and request.method in ("GET", "HEAD", "DELETE"):
            size = None
        head = http1.encode(request.method, where, {"Host": self.address.authority, **headers}, size)
        parser = http1.Parser(request.method)
        pieces: List[bytes] = []
        started = False
        try:
            connection.writer.write(head + request.body)
            if upload:
                await self._send_file(connection, upload, length)
            await connection.writer.drain()
            while not parser.done:
                data = await _within(patience, connection.reader.read(BLOCK))
                if not data and not started:
                    raise ConnectionResetError("the connection ended before an answer")
                started = True
                found = parser.feed(data)
                if sink and parser.head is not None and parser.head.status == 200:
                    for piece in found:
                        sink(piece)
                else:
                    pieces += found
        except asyncio.TimeoutError as error:
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
    async def _send_file(connection: _Connection, upload: IO[bytes], length: int) -> None:
        left = length
        while left:
            block = upload.read(min(BLOCK, left))
            if not block:
                raise AppMeshDisconnectedError("the local file became shorter while it was sent")
            connection.writer.write(block)
            await connection.writer.drain()
            left -= len(block)


async def _within(seconds: Optional[float], what: "Awaitable[T]") -> T:
    return await asyncio.wait_for(what, seconds)
