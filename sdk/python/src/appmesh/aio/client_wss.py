"""The asyncio client over a WebSocket."""

from typing import Dict, Tuple, Union

from .._core import file_attributes, tls
from .._core.message import Request, Response, check
from .._core.session import Session
from .._files import existing, incoming
from ..exceptions import AppMeshRequestError
from ._https import HttpsConnections
from ._transports import WSSTransport
from .transport_mixin import TransportClientMixin

__all__ = ["AppMeshClientWSS"]


class AppMeshClientWSS(TransportClientMixin):
    """Talks to a daemon over one WebSocket: every method of `AppMeshClient`, and events. Files go over HTTPS."""

    _agent = "appmesh/python/wss"

    def __init__(
        self,
        wss_address: Tuple[str, int] = ("127.0.0.1", 6058),
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        auto_refresh_token: bool = False,
        request_timeout: Tuple[float, float] = (60, 300),
    ) -> None:
        """request_timeout: of file transfers."""
        host, port = wss_address
        name = f"[{host}]" if ":" in host else host
        self._https = HttpsConnections(f"https://{name}:{port}", ssl_verify, ssl_client_cert, request_timeout)
        self._set_up_transport(lambda: WSSTransport.connect(wss_address, ssl_verify, ssl_client_cert))
        self._set_up(Session(None), port, auto_refresh_token)

    async def close(self) -> None:
        """Ends background work and the connections. May be called again."""
        await self.stop_token_refresh()
        await self._disconnect()
        await self._pool().close()

    async def _permit(self, method: str, path: str, remote_file: str) -> Response:
        response = check(await self._send(Request(method, path, headers={"X-File-Path": remote_file})))
        if not response.headers.get("Authorization"):
            raise AppMeshRequestError("the daemon gave no permit for the file", response.status)
        return response

    async def download_file(self, remote_file: str, local_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file from the daemon's host. It appears under its name only when it is complete."""
        permit = await self._permit("GET", "/appmesh/file/download", remote_file)
        with incoming(local_file, preserve_permissions) as file:
            request = Request("GET", "/appmesh/file/download/ws")
            check(await self._pool().exchange(request, self._file_headers(permit, remote_file), sink=file.write))
            file.finish(permit.headers)

    async def upload_file(self, local_file: str, remote_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file to the daemon's host, which must not have it yet."""
        path = existing(local_file)
        permit = await self._permit("POST", "/appmesh/file/upload", remote_file)
        headers = self._file_headers(permit, remote_file)
        headers["Content-Type"] = "application/octet-stream"
        if preserve_permissions:
            headers.update(file_attributes.read(path))
        with open(str(path), "rb") as stream:  # noqa: ASYNC230, PTH123
            request = Request("POST", "/appmesh/file/upload/ws")
            size = path.stat().st_size
            check(await self._pool().exchange(request, headers, upload=stream, length=size))

    def _file_headers(self, permit: Response, remote_file: str) -> Dict[str, str]:
        return {
            "User-Agent": self._agent,
            "Authorization": permit.headers["Authorization"],
            "X-File-Path": remote_file,
        }
