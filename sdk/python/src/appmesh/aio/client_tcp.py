"""The asyncio client over TCP."""

import contextlib
from typing import AsyncIterator, Dict, Tuple, Union

from .._core import file_attributes, tls
from .._core.message import Headers, Request, Response, check
from .._core.session import Session
from .._files import existing, incoming
from ..client_tcp import FILE_BLOCK
from ..exceptions import AppMeshRequestError
from ..tcp_messages import ResponseMessage
from ._transports import TCPTransport
from .transport_mixin import TransportClientMixin

__all__ = ["AppMeshClientTCP"]


class AppMeshClientTCP(TransportClientMixin):
    """Talks to a daemon over one TCP connection: every method of `AppMeshClient`, and events."""

    _agent = "appmesh/python/tcp"

    def __init__(
        self,
        tcp_address: Tuple[str, int] = ("127.0.0.1", 6059),
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        auto_refresh_token: bool = False,
    ) -> None:
        self._https = None
        self._how = (tcp_address, ssl_verify, ssl_client_cert)
        self._set_up_transport(lambda: TCPTransport.connect(*self._how))
        self._set_up(Session(None), tcp_address[1], auto_refresh_token)

    async def close(self) -> None:
        """Ends background work and the connection. May be called again."""
        await self.stop_token_refresh()
        await self._disconnect()

    @contextlib.asynccontextmanager
    async def _side_channel(self) -> AsyncIterator["_SideChannel"]:
        transport = await TCPTransport.connect(*self._how)
        try:
            yield _SideChannel(self, transport)
        finally:
            await transport.close()

    async def download_file(self, remote_file: str, local_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file from the daemon's host. It appears under its name only when it is complete."""
        headers = {"X-File-Path": remote_file, "X-Recv-File-Socket": "true"}
        request = Request("GET", "/appmesh/file/download", headers=headers)
        with incoming(local_file, preserve_permissions) as file:
            async with self._side_channel() as channel:
                response = check(await self._send(request, channel.transfer))
                if "X-Recv-File-Socket" not in response.headers:
                    raise AppMeshRequestError("the daemon sends no file here", response.status)
                block = await channel.transport.receive_message()
                while block:
                    file.write(block)
                    block = await channel.transport.receive_message()
            file.finish(response.headers)

    async def upload_file(self, local_file: str, remote_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file to the daemon's host, which must not have it yet."""
        path = existing(local_file)
        headers = {"X-File-Path": remote_file, "X-Send-File-Socket": "true"}
        if preserve_permissions:
            headers.update(file_attributes.read(path))
        request = Request("POST", "/appmesh/file/upload", headers=headers)
        with open(str(path), "rb") as stream:  # noqa: ASYNC230, PTH123
            async with self._side_channel() as channel:
                response = check(await self._send(request, channel.transfer))
                if "X-Send-File-Socket" not in response.headers:
                    raise AppMeshRequestError("the daemon takes no file here", response.status)
                block = stream.read(FILE_BLOCK)
                while block:
                    await channel.transport.send_message(block)
                    block = stream.read(FILE_BLOCK)
                await channel.transport.send_message(b"")
                # Any answer says that the daemon has stored the file: see appmesh.client_tcp.
                await self._send(Request("GET", "/appmesh/user/permissions"), channel.transfer)


class _SideChannel:
    def __init__(self, client: AppMeshClientTCP, transport: TCPTransport) -> None:
        self._client = client
        self.transport = transport

    async def transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        await self.transport.send_message(self._client._message("1", request, headers).serialize())
        try:
            answer = ResponseMessage.from_bytes(await self.transport.receive_message())
        except ValueError as error:
            raise AppMeshRequestError(str(error)) from None
        return Response(answer.http_status, Headers(answer.headers), answer.body)
