"""Messages over asyncio's streams: framed over TCP, or over a WebSocket."""

import asyncio
import contextlib
import ssl
import struct
from typing import Optional, Tuple

from .._core import http1, tls, websocket
from ..exceptions import AppMeshConnectionError, AppMeshDisconnectedError
from ..tcp_transport import TCPTransport as Limits
from ..wss_transport import WSS_CONNECT_TIMEOUT, WSS_MAX_BLOCK_SIZE

_HEADER = struct.Struct(">II")
_BLOCK = 256 * 1024


class _Stream:
    def __init__(self) -> None:
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None

    async def _open(self, address: Tuple[str, int], context: ssl.SSLContext, limit: float) -> None:
        host, port = address
        connecting = asyncio.open_connection(host, port, ssl=context, server_hostname=host, limit=4 * _BLOCK)
        try:
            self._reader, self._writer = await asyncio.wait_for(connecting, limit)
        except (OSError, asyncio.TimeoutError) as error:
            raise AppMeshDisconnectedError(f"cannot connect to {host}:{port}: {error}") from error

    async def _write(self, data: bytes) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            raise AppMeshDisconnectedError("not connected")
        try:
            writer.write(data)
            await writer.drain()
        except OSError as error:
            raise AppMeshDisconnectedError(f"could not send: {error}") from error

    def _source(self) -> asyncio.StreamReader:
        if self._reader is None:
            raise AppMeshDisconnectedError("not connected")
        return self._reader

    async def close(self) -> None:
        """Ends the connection. May be called again."""
        writer, self._writer = self._writer, None
        if writer:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 5)


class TCPTransport(_Stream):
    """Four bytes of magic, four bytes of length, the message."""

    @classmethod
    async def connect(cls, address: Tuple[str, int], verify: tls.Verify, certificate: tls.Certificate) -> "TCPTransport":
        made = cls()
        await made._open(address, tls.context(verify, certificate), Limits.TCP_CONNECT_TIMEOUT)
        return made

    async def send_message(self, data: bytes) -> None:
        """One message; an empty one marks the end of a file."""
        if len(data) > Limits.TCP_MAX_BLOCK_SIZE:
            raise AppMeshConnectionError(f"a message of {len(data)} bytes is too long ({Limits.TCP_MAX_BLOCK_SIZE})")
        await self._write(_HEADER.pack(Limits.TCP_MESSAGE_MAGIC, len(data)) + data)

    async def receive_message(self) -> bytes:
        """One message; empty for an end-of-file mark."""
        source = self._source()
        try:
            magic, length = _HEADER.unpack(await source.readexactly(_HEADER.size))
            if magic != Limits.TCP_MESSAGE_MAGIC:
                raise AppMeshDisconnectedError("what came is no message: wrong magic")
            if length > Limits.TCP_MAX_BLOCK_SIZE:
                raise AppMeshDisconnectedError(f"a message of {length} bytes is too long ({Limits.TCP_MAX_BLOCK_SIZE})")
            return await source.readexactly(length)
        except asyncio.IncompleteReadError:
            raise AppMeshDisconnectedError("the daemon ended the connection") from None
        except OSError as error:
            raise AppMeshDisconnectedError(f"the connection failed: {error}") from error


class WSSTransport(_Stream):
    """One binary message of a WebSocket is one message of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = websocket.Decoder(WSS_MAX_BLOCK_SIZE)

    @classmethod
    async def connect(cls, address: Tuple[str, int], verify: tls.Verify, certificate: tls.Certificate) -> "WSSTransport":
        made = cls()
        await made._open(address, tls.context(verify, certificate), WSS_CONNECT_TIMEOUT)
        host, port = address
        request, key = websocket.handshake(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        try:
            await made._write(request)
            raw = await asyncio.wait_for(made._source().readuntil(b"\r\n\r\n"), WSS_CONNECT_TIMEOUT)
            websocket.accepted(http1.Head(raw[:-4], "GET"), key)
        except (
            OSError,
            EOFError,
            asyncio.LimitOverrunError,
            asyncio.TimeoutError,
            http1.BadResponse,
            websocket.ProtocolError,
        ) as error:
            await made.close()
            raise AppMeshDisconnectedError(f"cannot connect to {host}:{port}: {error}") from error
        return made

    async def send_message(self, data: bytes) -> None:
        """One message."""
        if len(data) > WSS_MAX_BLOCK_SIZE:
            raise AppMeshConnectionError(f"a message of {len(data)} bytes is too long ({WSS_MAX_BLOCK_SIZE})")
        await self._write(websocket.frame(websocket.BINARY, data))

    async def receive_message(self) -> bytes:
        """One message. Pings are answered on the way."""
        source = self._source()
        while True:
            try:
                found = self._decoder.next()
                if found is None:
                    data = await source.read(_BLOCK)
                    if not data:
                        raise AppMeshDisconnectedError("the daemon ended the connection")
                    self._decoder.feed(data)
                    continue
            except websocket.ProtocolError as error:
                with contextlib.suppress(AppMeshDisconnectedError):
                    await self._write(websocket.close_frame(error.code))
                raise AppMeshDisconnectedError(str(error)) from error
            except OSError as error:
                raise AppMeshDisconnectedError(f"the connection failed: {error}") from error
            opcode, payload = found
            if opcode == websocket.PING:
                await self._write(websocket.frame(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                raise AppMeshDisconnectedError(f"the daemon ended the connection (code {code})")
            elif opcode == websocket.BINARY and payload:
                return payload

    async def close(self) -> None:
        """Ends the connection. May be called again."""
        with contextlib.suppress(AppMeshDisconnectedError):
            await self._write(websocket.close_frame(1000))
        await super().close()
