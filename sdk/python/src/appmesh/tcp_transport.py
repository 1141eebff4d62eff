"""Framed messages over TCP and TLS: four bytes of magic, four bytes of length, the message."""

import ssl
import struct
from typing import Any, List, Optional, Tuple, Union

from ._core import tls
from ._stream_transport import StreamTransport
from ._tls_stream import TlsStream
from .exceptions import AppMeshConnectionError, AppMeshDisconnectedError

__all__ = ["TCPTransport"]

_HEADER = struct.Struct(">II")


class TCPTransport(StreamTransport):
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
        super().__init__(address, ssl_verify, ssl_client_cert)
        self.receive_timeout = self.TCP_MESSAGE_TIMEOUT
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

    def send_message(self, data: Union[bytes, bytearray, List[Any], None]) -> None:
        """One message; an empty one marks the end of a file."""
        body = bytes(data) if data else b""
        if len(body) > self.TCP_MAX_BLOCK_SIZE:
            raise AppMeshConnectionError(f"a message of {len(body)} bytes is too long ({self.TCP_MAX_BLOCK_SIZE})")
        self._write(_HEADER.pack(self.TCP_MESSAGE_MAGIC, len(body)) + body)

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
            # Within a message there is no time-out that could be safe to go on from.
            buffer += self._read(self.receive_timeout if may_time_out and not buffer else None)
        taken = bytes(buffer) if len(buffer) == count else bytes(buffer[:count])
        del buffer[:count]
        return taken
