"""WebSocket (RFC 6455) of a client, without input or output: the handshake, frames to messages and back."""

import base64
import hashlib
import os
import struct
from typing import List, Optional, Tuple

from . import http1

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PROTOCOL = "appmesh-ws"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class ProtocolError(Exception):
    """The other end does not keep to the protocol; `code` is what to close with."""

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


def handshake(authority: str) -> Tuple[bytes, str]:
    """The request, and the key that `accepted` wants to see again."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = {
        "Host": authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": PROTOCOL,
    }
    return http1.encode("GET", "/", headers, None), key


def accepted(head: http1.Head, key: str) -> None:
    """Raises unless the daemon has agreed."""
    if head.status != 101:
        raise ProtocolError(f"no WebSocket here: status {head.status}")
    expected = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 says so
    if head.headers.get("Sec-WebSocket-Accept") != expected:
        raise ProtocolError("the answer to the handshake is not for this connection")
    if head.headers.get("Sec-WebSocket-Protocol", PROTOCOL) != PROTOCOL:
        raise ProtocolError("the daemon speaks another sub-protocol")


def _masked(data: bytes, mask: bytes) -> bytes:
    if not data:
        return data
    # As one large number: many times faster than byte by byte.
    count = len(data)
    repeated = (mask * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(count, "little")


def frame(opcode: int, data: bytes) -> bytes:
    """One final, masked frame."""
    count = len(data)
    mask = os.urandom(4)
    if count < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | count)
    elif count < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, count)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, count)
    return head + mask + _masked(data, mask)


def close_frame(code: int) -> bytes:
    return frame(CLOSE, struct.pack("!H", code))


class Decoder:
    """Takes bytes as they come, gives whole messages and control frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._parts: List[bytes] = []
        self._opcode: Optional[int] = None
        self._size = 0

    @property
    def empty(self) -> bool:
        """Nothing of a message has come yet."""
        return not self._buffer and self._opcode is None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Optional[Tuple[int, bytes]]:
        """(opcode, payload) of a message or control frame; None until more has come."""
        while True:
            found = self._frame()
            if found is None:
                return None
            final, opcode, payload = found
            if opcode >= CLOSE:
                if not final or len(payload) > 125:
                    raise ProtocolError("a control frame in pieces, or too long")
                return opcode, payload
            if (opcode == CONTINUATION) != (self._opcode is not None):
                raise ProtocolError("a message begins within a message, or goes on without a beginning")
            if opcode != CONTINUATION:
                self._opcode = opcode
            self._size += len(payload)
            if self._size > self._limit:
                raise ProtocolError(f"a message longer than {self._limit} bytes", 1009)
            self._parts.append(payload)
            if final:
                assert self._opcode is not None
                message = self._opcode, b"".join(self._parts)
                self._parts, self._opcode, self._size = [], None, 0
                return message

    def _frame(self) -> Optional[Tuple[bool, int, bytes]]:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70 or second & 0x80:
            raise ProtocolError("reserved bits or a mask in a frame of the server")
        start, length = 2, second
        if length >= 126:
            wide = length == 127
            start = 10 if wide else 4
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if length > self._limit:
            raise ProtocolError(f"a message longer than {self._limit} bytes", 1009)
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return bool(first & 0x80), first & 0x0F, payload
