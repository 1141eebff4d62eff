"""HTTPS on asyncio's streams: a pool of kept-alive connections to one daemon."""

import asyncio
import ssl
from typing import IO, Dict, Iterable, List, Optional, Tuple

from .._core import http1, tls
from .._core.exchange import BLOCK, MAX_IDLE, Address, Exchange, LocalFailure, Sink, blocks_of
from .._core.message import Request, Response
from ..exceptions import AppMeshDisconnectedError


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.reused = False

    def usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()


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
        sink: Optional[Sink] = None,
    ) -> Response:
        """upload: a file that is the body, of `length` bytes. sink: takes the body of a good answer as it comes."""
        again = False
        while True:
            attempt = Exchange(self.address, request, headers, self._read_timeout, length if upload else None, sink)
            connection = (None if again else self._kept()) or await self._open()
            keep = False
            try:
                response, keep = await self._talk(connection, attempt, blocks_of(upload, length) if upload else ())
                return response
            except AppMeshDisconnectedError:
                if not (connection.reused and attempt.repeatable):
                    raise
                again = True
            finally:
                if keep and len(self._idle) < MAX_IDLE:
                    connection.reused = True
                    self._idle.append(connection)
                else:
                    connection.writer.close()

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
            raise address.unreachable(error) from error

    @staticmethod
    async def _talk(connection: _Connection, attempt: Exchange, upload: Iterable[bytes]) -> Tuple[Response, bool]:
        try:
            connection.writer.write(attempt.first)
            for block in upload:
                connection.writer.write(block)
                await connection.writer.drain()
            await connection.writer.drain()
            while not attempt.done:
                attempt.feed(await asyncio.wait_for(connection.reader.read(BLOCK), attempt.patience))
        except asyncio.TimeoutError as error:
            raise attempt.timed_out() from error
        except (OSError, http1.BadResponse) as error:
            raise attempt.failed(error) from error
        except LocalFailure as failure:
            raise failure.error from None
        return attempt.response()
