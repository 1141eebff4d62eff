"""HTTP/1.1 of a client, without input or output: a request as bytes, a response out of bytes."""

import urllib.parse
from typing import Dict, List, Mapping, Optional, Tuple, Union

from .message import Headers

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024 * 1024


class BadResponse(Exception):
    """What came is no HTTP/1.1 response."""


def target(path: str, query: Optional[Mapping[str, str]] = None) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}" if query else path


def encode(method: str, where: str, headers: Mapping[str, str], length: Optional[int]) -> bytes:
    """A request's head. length: of the body that follows; None for none."""
    lines = [f"{method} {where} HTTP/1.1"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"header {name} holds a line break or a NUL")
        lines.append(f"{name}: {value}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode()



class Head:
    """The first part of a response, and how its body is framed."""

    __slots__ = ("chunked", "headers", "keep", "length", "status")

    def __init__(self, raw: bytes, method: str) -> None:
        text = raw.decode("latin-1")
        first, _, rest = text.partition("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise BadResponse(f"no status line: {first[:80]!r}")
        self.status = int(parts[1])
        fields: Dict[str, str] = {}
        for line in rest.split("\r\n"):
            if line:
                name, colon, value = line.partition(":")
                if not colon:
                    raise BadResponse(f"no header: {line[:80]!r}")
                fields[name.lower()] = value.strip()
        self.headers = Headers()
        dict.update(self.headers, fields)
        self.keep = fields.get("connection", "").lower() != "close" and parts[0] != "HTTP/1.0"
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.length: Optional[int] = None
        if method == "HEAD" or self.status in (204, 304) or 100 <= self.status < 200:
            self.length, self.chunked = 0, False
        elif not self.chunked and "content-length" in fields:
            if not fields["content-length"].isdigit():
                raise BadResponse("Content-Length is no number")
            self.length = int(fields["content-length"])
        elif not self.chunked:
            self.keep = False  # the body ends with the connection


class Parser:
    """Takes bytes as they come, gives the head, then pieces of the body. One parser serves one response."""

    __slots__ = ("_buffer", "_left", "_method", "done", "head")

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._left: Union[int, None] = None
        """Bytes left of the body, or of the chunk; -1 = a chunk's line comes next, -2 = trailers."""
        self.head: Optional[Head] = None
        self.done = False

    def feed(self, data: bytes) -> List[bytes]:
        """Pieces of the body that became known. Empty data: the connection has ended."""
        if not data:
            if self.head is not None and self._left is None:
                self.done = True
                return []
            raise BadResponse("the connection ended within a response")
        self._buffer += data
        if self.head is None and not self._read_head():
            return []
        pieces: List[bytes] = []
        while not self.done:
            piece, more = self._read_body()
            if piece:
                pieces.append(piece)
            if not more:
                break
        return pieces

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise BadResponse("the head is too long")
                return False
            head = Head(bytes(self._buffer[:end]), self._method)
            del self._buffer[: end + 4]
            if 100 <= head.status < 200 and head.status != 101:
                continue
            self.head = head
            self._left = -1 if head.chunked else head.length
            self.done = self._left == 0
            return True

    def _read_body(self) -> Tuple[bytes, bool]:
        if self._left is None:  # until the connection ends
            return self._take(len(self._buffer)), False
        if self._left >= 0:
            piece = self._take(min(self._left, len(self._buffer)))
            self._left -= len(piece)
            if self._left:
                return piece, False
            assert self.head is not None
            if not self.head.chunked:
                self.done = True
                return piece, False
            self._left = -3
            return piece, True
        line = self._line()
        if line is None:
            return b"", False
        if self._left == -3:  # the line break after a chunk
            if line:
                raise BadResponse("a chunk is longer than it said")
            self._left = -1
        elif self._left == -2:
            self.done = not line
        else:
            size = line.split(b";", 1)[0].strip()
            try:
                self._left = int(size, 16) or -2
            except ValueError:
                raise BadResponse("a chunk's length is no number") from None
            if self._left < -3 or self._left > MAX_BODY:
                raise BadResponse("a chunk's length is out of range")
        return b"", not self.done

    def _line(self) -> Optional[bytes]:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadResponse("a line is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece
