"""A request and its answer over one HTTP/1.1 connection, without input or output. Whoever owns the connection sends what
this gives, feeds what comes, and says what went wrong; blocking or not makes no difference."""

import urllib.parse
import urllib.request
from typing import IO, Callable, Dict, Iterator, List, Optional, Tuple

from ..exceptions import AppMeshDisconnectedError, AppMeshRequestTimeoutError
from . import http1
from .message import Request, Response

MAX_IDLE = 8
"""So many connections are kept for the next request."""
# Larger blocks would each be mapped and unmapped by the allocator, which costs more than they save.
BLOCK = 64 * 1024
DAEMONS_SHARE = 30.0
"""Seconds that an answer may take on top of what the daemon was asked to wait."""

Sink = Callable[[bytes], object]


class Address:
    """Where a base URL leads."""

    def __init__(self, base_url: str) -> None:
        parts = urllib.parse.urlsplit(base_url if "//" in base_url else f"https://{base_url}")
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"not the URL of a daemon: {base_url!r}")
        self.secure = parts.scheme == "https"
        self.host: str = parts.hostname
        self.port: int = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = f"{name}:{self.port}"

    def proxy(self) -> Optional[Tuple[str, int]]:
        """The proxy that the environment asks for."""
        if urllib.request.proxy_bypass(self.host):
            return None
        named = urllib.request.getproxies().get("https" if self.secure else "http")
        if not named:
            return None
        parts = urllib.parse.urlsplit(named if "//" in named else f"http://{named}")
        return (parts.hostname, parts.port or 3128) if parts.hostname else None

    def unreachable(self, error: Exception) -> AppMeshDisconnectedError:
        return AppMeshDisconnectedError(f"cannot connect to {self.authority}: {error}")


class LocalFailure(Exception):
    """Reading or writing the local file failed, which says nothing about the daemon: `error` is for the caller."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def blocks_of(upload: IO[bytes], length: int) -> Iterator[bytes]:
    """The first `length` bytes of a local file. Raises LocalFailure."""
    while length:
        try:
            block = upload.read(min(BLOCK, length))
        except OSError as error:
            raise LocalFailure(error) from error
        if not block:
            raise AppMeshDisconnectedError("the local file became shorter while it was sent")
        yield block
        length -= len(block)


class Exchange:
    """One attempt. `upload`: length of a body that follows what `first` holds. `sink`: takes the body of a good answer."""

    __slots__ = ("_address", "_parser", "_pieces", "_request", "_sink", "_started", "first", "patience")

    def __init__(
        self,
        address: Address,
        request: Request,
        headers: Dict[str, str],
        patience: Optional[float],
        upload: Optional[int] = None,
        sink: Optional[Sink] = None,
    ) -> None:
        self._address = address
        self._request = request
        self._parser = http1.Parser(request.method)
        self._pieces: List[bytes] = []
        self._sink = sink
        self._started = False
        # A call that the daemon was asked to take its time with is not cut short by the client's own limit.
        if request.wait is not None and patience is not None:
            patience = max(patience, request.wait + DAEMONS_SHARE)
        self.patience = patience
        """Seconds to wait for each piece of the answer; None = as long as it takes."""
        size: Optional[int] = len(request.body) if upload is None else upload
        if not size and request.method in ("GET", "HEAD", "DELETE"):
            size = None
        where = http1.target(address.prefix + request.path, request.query)
        head = http1.encode(request.method, where, {"Host": address.authority, **headers}, size)
        self.first = head + request.body
        """What is sent before anything else."""

    @property
    def done(self) -> bool:
        return self._parser.done

    def feed(self, data: bytes) -> None:
        """What came; empty when the connection has ended. Raises what `failed` understands, and LocalFailure."""
        if not data and not self._started:
            raise ConnectionResetError("the connection ended before an answer")
        self._started = True
        found = self._parser.feed(data)
        head = self._parser.head
        if self._sink and head is not None and head.status == 200:
            try:
                for piece in found:
                    self._sink(piece)
            except OSError as error:
                raise LocalFailure(error) from error
        else:
            self._pieces += found

    def response(self) -> Tuple[Response, bool]:
        """The answer, and whether the connection is good for another request."""
        head = self._parser.head
        assert head is not None
        return Response(head.status, head.headers, b"".join(self._pieces)), head.keep

    @property
    def repeatable(self) -> bool:
        """Whether it may be tried once more when a kept connection failed: that may end just as it is used again. Only what
        changes nothing is sent twice."""
        return not self._started and self._request.method in ("GET", "HEAD")

    def failed(self, error: Exception) -> AppMeshDisconnectedError:
        """What an OSError or a BadResponse means for the caller."""
        return AppMeshDisconnectedError(f"{self._address.authority}: {error}")

    def timed_out(self) -> AppMeshRequestTimeoutError:
        within = "" if self.patience is None else f" within {self.patience:g} s"
        return AppMeshRequestTimeoutError(
            f"{self._address.authority} did not answer {self._request.method} {self._request.path}{within}"
        )
