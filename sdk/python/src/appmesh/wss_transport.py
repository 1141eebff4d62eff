"""Messages over a WebSocket: one binary message of it is one message of ours."""

import contextlib
from typing import Any, List, Optional, Tuple, Union

from ._core import http1, tls, websocket
from ._stream_transport import StreamTransport
from ._tls_stream import TlsStream
from .exceptions import AppMeshConnectionError, AppMeshDisconnectedError

__all__ = ["WSSTransport"]

WSS_CONNECT_TIMEOUT = 30
WSS_MAX_BLOCK_SIZE = 104857600
WSS_MESSAGE_TIMEOUT = 60


class WSSTransport(StreamTransport):
    """One connection. One thread may receive while others send."""

    WSS_CONNECT_TIMEOUT = WSS_CONNECT_TIMEOUT
    """Seconds until a connection must be made."""
    WSS_MAX_BLOCK_SIZE = WSS_MAX_BLOCK_SIZE
    """The longest message that is sent or taken."""
    WSS_MESSAGE_TIMEOUT = WSS_MESSAGE_TIMEOUT
    """Seconds without a byte after which `receive_message` raises `AppMeshTimeoutError`."""

    def __init__(
        self, address: Tuple[str, int], ssl_verify: Union[bool, str], ssl_client_cert: tls.Certificate = None
    ) -> None:
        super().__init__(address, ssl_verify, ssl_client_cert)
        self.receive_timeout = self.WSS_MESSAGE_TIMEOUT
        self._decoder = websocket.Decoder(self.WSS_MAX_BLOCK_SIZE)

    def connect(self) -> None:
        """A fresh connection; one that there was ends."""
        self.close()
        self._decoder = websocket.Decoder(self.WSS_MAX_BLOCK_SIZE)
        host, port = self.address
        stream: Optional[TlsStream] = None
        try:
            context = tls.context(self._verify, self._certificate)
            stream = TlsStream(self.address, context, self.WSS_CONNECT_TIMEOUT)
            self._shake_hands(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            self._stream = stream
        except (OSError, http1.BadResponse, websocket.ProtocolError) as error:
            if stream:
                stream.close()
            raise AppMeshDisconnectedError(f"cannot connect to {host}:{port}: {error}") from error

    def _shake_hands(self, stream: TlsStream, authority: str) -> None:
        request, key = websocket.handshake(authority)
        stream.write(request)
        raw = b""
        while b"\r\n\r\n" not in raw:
            data = stream.read(self.WSS_CONNECT_TIMEOUT)
            if not data or len(raw) > http1.MAX_HEAD:
                raise http1.BadResponse("no answer to the WebSocket handshake")
            raw += data
        head, _, rest = raw.partition(b"\r\n\r\n")
        websocket.accepted(http1.Head(head, "GET"), key)
        self._decoder.feed(rest)

    def _farewell(self, stream: TlsStream) -> None:
        stream.write_at_once(websocket.close_frame(1000))

    def send_message(self, data: Union[bytes, bytearray, List[Any], None]) -> None:
        """One message."""
        body = bytes(data) if data else b""
        if len(body) > self.WSS_MAX_BLOCK_SIZE:
            raise AppMeshConnectionError(f"a message of {len(body)} bytes is too long ({self.WSS_MAX_BLOCK_SIZE})")
        self._write(websocket.frame(websocket.BINARY, body))

    def receive_message(self) -> bytes:
        """One message. `AppMeshTimeoutError` when nothing came in time: the connection is still good."""
        while True:
            try:
                found = self._decoder.next()
            except websocket.ProtocolError as error:
                with contextlib.suppress(AppMeshDisconnectedError):
                    self._write(websocket.close_frame(error.code))
                raise AppMeshDisconnectedError(str(error)) from error
            if found is None:
                self._decoder.feed(self._read(self.receive_timeout if self._decoder.empty else None))
                continue
            opcode, payload = found
            if opcode == websocket.PING:
                self._write(websocket.frame(websocket.PONG, payload))
            elif opcode == websocket.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                raise AppMeshDisconnectedError(f"the daemon ended the connection (code {code})")
            elif opcode == websocket.BINARY and payload:
                return payload
            # Text and pongs mean nothing here.
