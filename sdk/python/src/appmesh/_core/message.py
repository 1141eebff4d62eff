"""One request and one response, whatever carries them."""

import json
from http import HTTPStatus
from typing import Any, Dict, Generator, Mapping, Optional, Tuple, TypeVar, Union

from ..exceptions import AppMeshAuthError, AppMeshError, AppMeshRequestError

T = TypeVar("T")


class Headers(Dict[str, str]):
    """Names are kept in lower case, so that they compare as HTTP says."""

    __slots__ = ()

    def __init__(self, fields: Optional[Mapping[str, str]] = None) -> None:
        if fields:
            super().__init__({name.lower(): value for name, value in fields.items()})

    def __getitem__(self, name: str) -> str:
        return dict.__getitem__(self, name.lower())

    def __setitem__(self, name: str, value: str) -> None:
        dict.__setitem__(self, name.lower(), value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and dict.__contains__(self, name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self, name.lower(), default)


class Request:
    """What a client asks. `wait` is how long the daemon itself may take because it was asked to: None = as usual."""

    __slots__ = ("body", "headers", "method", "path", "query", "signed", "wait")

    def __init__(
        self,
        method: str,
        path: str,
        query: Optional[Dict[str, str]] = None,
        headers: Optional[Dict[str, str]] = None,
        body: bytes = b"",
        wait: Optional[float] = None,
        signed: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query if query is not None else {}
        self.headers = headers if headers is not None else {}
        self.body = body
        self.wait = wait
        self.signed = signed
        """Whether the client adds its own token."""


class Response:
    """What the daemon answered."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise AppMeshRequestError(f"the answer is no JSON: {error}", self.status) from None

    @property
    def message(self) -> str:
        """The daemon's own words about a failure, or the text as it is."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, KeyError, TypeError):
            return self.text


Flow = Generator[Request, Response, T]
"""A call as a plan: yields requests, is sent their responses, returns the result. Each client drives it its own way."""


def failure(response: Response) -> AppMeshError:
    """The exception of an answer that is none of the good ones."""
    words = response.message or "no reason given"
    try:
        words = f"{words} ({response.status} {HTTPStatus(response.status).phrase})"
    except ValueError:
        words = f"{words} ({response.status})"
    if response.status in (401, 403):
        return AppMeshAuthError(words, response.status)
    return AppMeshRequestError(words, response.status)


def check(response: Response, *also: int) -> Response:
    """Raises unless the status is 200 or one of the others."""
    if response.status != 200 and response.status not in also:
        raise failure(response)
    return response


def status_of(value: int) -> HTTPStatus:
    try:
        return HTTPStatus(value)
    except ValueError:
        return HTTPStatus.BAD_GATEWAY


def json_body(value: Any) -> bytes:
    return json.dumps(value).encode()


def to_bytes(data: Union[str, bytes, bytearray, memoryview]) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def integer_header(response: Response, name: str) -> Optional[int]:
    value = response.headers.get(name)
    try:
        return None if value is None or value == "" else int(value)
    except ValueError:
        raise AppMeshRequestError(f"header {name} is no number: {value!r}", response.status) from None


def split_address(text: str) -> Tuple[str, Optional[int]]:
    """host, host:port, [v6]:port or a bare v6 address."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else None
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host:
        return host, int(port)
    return text, None
