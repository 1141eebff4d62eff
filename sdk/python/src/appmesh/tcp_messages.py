"""The messages of the TCP and WebSocket transports: MessagePack maps."""

import threading
from typing import Any, Dict, Optional

import msgpack

__all__ = ["RequestMessage", "ResponseMessage"]


class _Packers(threading.local):
    """One packer a thread: a new one for each message would allocate its large buffer each time."""

    packer: Any = None


_packers = _Packers()


def _pack(message: Dict[str, Any]) -> bytes:
    packer = _packers.packer
    if packer is None:
        packer = _packers.packer = msgpack.Packer(use_bin_type=True)
    try:
        packed: bytes = packer.pack(message)
    except Exception:
        _packers.packer = None  # it may hold half a message
        raise
    if len(packed) > 1024 * 1024:
        _packers.packer = None  # and with it the memory of a large one
    return packed


class RequestMessage:
    """What goes to the daemon."""

    __slots__ = ("body", "client_addr", "headers", "http_method", "query", "request_uri", "uuid")

    def __init__(
        self,
        uuid: str = "",
        request_uri: str = "",
        http_method: str = "",
        client_addr: str = "",
        body: bytes = b"",
        headers: Optional[Dict[str, str]] = None,
        query: Optional[Dict[str, str]] = None,
    ) -> None:
        self.uuid = uuid
        self.request_uri = request_uri
        self.http_method = http_method
        self.client_addr = client_addr
        self.body = body
        self.headers = headers if headers is not None else {}
        self.query = query if query is not None else {}

    def serialize(self) -> bytes:
        return _pack(
            {
                "uuid": self.uuid,
                "request_uri": self.request_uri,
                "http_method": self.http_method,
                "client_addr": self.client_addr,
                "body": self.body,
                "headers": self.headers,
                "query": self.query,
            }
        )


class ResponseMessage:
    """What comes from the daemon: the answer to a request, or an event."""

    __slots__ = ("body", "body_msg_type", "headers", "http_status", "request_uri", "uuid")

    def __init__(
        self,
        uuid: str = "",
        request_uri: str = "",
        http_status: int = 0,
        body_msg_type: str = "",
        body: bytes = b"",
        headers: Optional[Dict[str, str]] = None,
    ) -> None:
        self.uuid = uuid
        self.request_uri = request_uri
        self.http_status = http_status
        self.body_msg_type = body_msg_type
        self.body = body
        self.headers = headers if headers is not None else {}

    @classmethod
    def from_bytes(cls, buf: bytes) -> "ResponseMessage":
        """Lenient: unknown keys are ignored, missing ones are empty. ValueError when it is no map at all."""
        try:
            fields = msgpack.unpackb(buf, raw=False, strict_map_key=False, unicode_errors="replace")
        except (ValueError, msgpack.UnpackException, msgpack.ExtraData) as error:
            raise ValueError(f"not MessagePack: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError("not a MessagePack map")
        body = fields.get("body") or b""
        headers = fields.get("headers") or {}
        status = fields.get("http_status") or 0
        if not isinstance(status, int) or not isinstance(headers, dict):
            raise ValueError("a member has the wrong type")
        return cls(
            uuid=str(fields.get("uuid") or ""),
            request_uri=str(fields.get("request_uri") or ""),
            http_status=status,
            body_msg_type=str(fields.get("body_msg_type") or ""),
            body=body.encode() if isinstance(body, str) else bytes(body),
            headers=headers,
        )
