"""Framed messages over TCP and TLS: four bytes of magic, four bytes of length, the message."""

import contextlib
import socket
import ssl
import struct
from typing import Any, List, Optional, Tuple, Union

from ._core import tls
from ._tls_stream import TlsStream
from .exceptions import AppMeshConnectionError, AppMeshDisconnectedError, AppMeshTimeoutError

__all__ = ["TCPTransport"]

_HEADER = struct.Struct(">II")


class TCPTransport:
    """One connection. One thread may receive while others send."""

    TCP_MAX_BLOCK_SIZE = 104857600
    """The longest message that is sent or taken."""
    TCP_MESSAGE_HEADER_LENGTH = 8
    TCP_MESSAGE_MAGIC = 130484216
    TCP_CONNECT_TIMEOUT = 30
    """Seconds until a connection must be made."""
    TCP_MESSAGE_TIMEOUT: Optional[float] = None
    """Seconds without a byte after which `receive_message` raises `AppMeshTimeoutError`; None: never."""

    def __init__(
        self, address: Tuple[str, int], ssl_verify: Union[bool, str], ssl_client_cert: tls.Certificate = None
    ) -> None:
        self.address = address
        self.receive_timeout: Optional[float] = self.TCP_MESSAGE_TIMEOUT
        self._verify = ssl_verify
        self._certificate = ssl_client_cert
        self._stream: Optional[TlsStream] = None
        self._buffer = bytearray()

    def connect(self) -> None:
        """A fresh connection; one that there was ends."""
        self.close()
        self._buffer = bytearray()
        try:
            context = tls.context(self._verify, self._certificate)
            self._stream = TlsStream(self.address, context, self.TCP_CONNECT_TIMEOUT)
        except (OSError, ssl.SSLError) as error:
            raise AppMeshDisconnectedError(f"cannot connect to {self.address[0]}:{self.address[1]}: {error}") from error

    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._stream is not None

    @property
    def is_connected(self) -> bool:
        """The same."""
        return self.connected()

    def abort(self) -> None:
        """Ends the connection under whoever uses it; any thread may call it."""
        stream = self._stream
        if stream:
            stream.shut_down()

    def close(self) -> None:
        """Ends the connection. May be called again."""
        stream, self._stream = self._stream, None
        if stream:
            stream.shut_down()
            stream.close()

    def send_message(self, data: Union[bytes, bytearray, List[Any], None]) -> None:
        """One message; an empty one marks the end of a file."""
        stream = self._stream
        if stream is None:
            raise AppMeshDisconnectedError("not connected")
        body = bytes(data) if data else b""
        if len(body) > self.TCP_MAX_BLOCK_SIZE:
            raise AppMeshConnectionError(f"a message of {len(body)} bytes is too long ({self.TCP_MAX_BLOCK_SIZE})")
        try:
            stream.write(_HEADER.pack(self.TCP_MESSAGE_MAGIC, len(body)) + body)
        except (OSError, ssl.SSLError) as error:
            raise AppMeshDisconnectedError(f"could not send: {error}") from error

    def receive_message(self) -> bytes:
        """One message; empty for an end-of-file mark. Errors when the connection has ended."""
        header = self._take(self.TCP_MESSAGE_HEADER_LENGTH, True)
        magic, length = _HEADER.unpack(header)
        if magic != self.TCP_MESSAGE_MAGIC:
            raise AppMeshDisconnectedError("what came is no message: wrong magic")
        if length > self.TCP_MAX_BLOCK_SIZE:
            raise AppMeshDisconnectedError(f"a message of {length} bytes is too long ({self.TCP_MAX_BLOCK_SIZE})")
        return self._take(length, False)

    def _take(self, count: int, may_time_out: bool) -> bytes:
        buffer = self._buffer
        while len(buffer) < count:
            stream = self._stream
            if stream is None:
                raise AppMeshDisconnectedError("not connected")
            # Within a message there is no time-out that could be safe to go on from.
            timeout = self.receive_timeout if may_time_out and not buffer else None
            try:
                data = stream.read(timeout)
            except socket.timeout as error:
                raise AppMeshTimeoutError(str(error)) from None
            except (OSError, ssl.SSLError, ValueError) as error:
                raise AppMeshDisconnectedError(f"the connection failed: {error}") from error
            if not data:
                raise AppMeshDisconnectedError("the daemon ended the connection")
            buffer += data
        taken = bytes(buffer) if len(buffer) == count else bytes(buffer[:count])
        del buffer[:count]
        return taken

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()
