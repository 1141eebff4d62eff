"""What the transports of messages have in common: the connection, from its beginning to its end."""

import contextlib
import socket
import ssl
from typing import Optional, Tuple, Union

from ._core import tls
from ._tls_stream import TlsStream
from .exceptions import AppMeshDisconnectedError, AppMeshTimeoutError


class StreamTransport:
    """One connection. One thread may receive while others send."""

    def __init__(
        self, address: Tuple[str, int], ssl_verify: Union[bool, str], ssl_client_cert: tls.Certificate = None
    ) -> None:
        self.address = address
        self.receive_timeout: Optional[float] = None
        self._verify = ssl_verify
        self._certificate = ssl_client_cert
        self._stream: Optional[TlsStream] = None

    def connect(self) -> None:
        """A fresh connection; one that there was ends."""
        raise NotImplementedError

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
            with contextlib.suppress(OSError):
                self._farewell(stream)
            stream.shut_down()

    def close(self) -> None:
        """Ends the connection. May be called again."""
        stream, self._stream = self._stream, None
        if stream:
            with contextlib.suppress(OSError):
                self._farewell(stream)
            stream.shut_down()
            stream.close()

    def _farewell(self, stream: TlsStream) -> None:
        """What the daemon is told before the end; must not wait."""

    def _write(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            raise AppMeshDisconnectedError("not connected")
        try:
            stream.write(data)
        except (OSError, ssl.SSLError) as error:
            raise AppMeshDisconnectedError(f"could not send: {error}") from error

    def _read(self, timeout: Optional[float]) -> bytes:
        """Some bytes. `AppMeshTimeoutError` when none came in time: the connection is still good."""
        stream = self._stream
        if stream is None:
            raise AppMeshDisconnectedError("not connected")
        try:
            data = stream.read(timeout)
        except socket.timeout as error:
            raise AppMeshTimeoutError(str(error)) from None
        except (OSError, ssl.SSLError, ValueError) as error:
            raise AppMeshDisconnectedError(f"the connection failed: {error}") from error
        if not data:
            raise AppMeshDisconnectedError("the daemon ended the connection")
        return data

    def __del__(self) -> None:
        # Nobody is told: a destructor must not wait for a peer that does not read.
        with contextlib.suppress(Exception):
            stream, self._stream = self._stream, None
            if stream:
                stream.shut_down()
                stream.close()
