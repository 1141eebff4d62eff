"""The asyncio client over HTTPS, and what all asyncio clients share."""

import asyncio
import contextlib
import logging
import urllib.parse
from types import TracebackType
from typing import Dict, Optional, Sequence, Tuple, Type, TypeVar, Union

from .._core import app_calls, file_attributes, run_watch, session_calls, tls
from .._core.message import Request, Response, check
from .._core.session import CookieFile, Session, refresh_delay
from .._core.session_calls import Duration
from .._files import existing, incoming
from ..app import App
from ..app_run import OutputHandler, print_output_handler
from ..exceptions import AppMeshAuthError, AppMeshError
from ._app_methods import AppMethods
from ._host_methods import HostMethods
from ._https import HttpsConnections
from ._session_methods import SessionMethods
from .app_run import AppRun

__all__ = ["AppMeshClient"]

logger = logging.getLogger("appmesh")
Self = TypeVar("Self", bound="AppMeshClient")


class AppMeshClient(SessionMethods, AppMethods, HostMethods):
    """Talks to a daemon over HTTPS. The arguments are those of `appmesh.AppMeshClient`, and so are the methods.

    Use it in an `async with`, or `await close()` it."""

    def __init__(
        self,
        base_url: str = "https://127.0.0.1:6060",
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = tls.DEFAULT_CERTIFICATE,
        request_timeout: Tuple[float, float] = (60, 300),
        jwt_token: Optional[str] = None,
        cookie_file: Optional[str] = None,
        auto_refresh_token: bool = False,
    ) -> None:
        self._https: Optional[HttpsConnections] = HttpsConnections(
            base_url, ssl_verify, ssl_client_cert, request_timeout
        )
        address = self._https.address
        cookies = CookieFile(cookie_file, address.host) if cookie_file else None
        self._set_up(Session(jwt_token, cookies), address.port, auto_refresh_token)

    def _set_up(self, session: Session, own_port: int, auto_refresh_token: bool) -> None:
        super().__init__(session, own_port)
        self._auto_refresh = auto_refresh_token
        self._refresher: Optional[asyncio.Task[None]] = None
        session.on_token = self._token_changed

    async def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        return await self._pool().exchange(request, headers)

    def _pool(self) -> HttpsConnections:
        if self._https is None:
            raise AppMeshError("this client has no HTTPS connection")
        return self._https

    async def close(self) -> None:
        """Ends background work and connections. May be called again."""
        await self.stop_token_refresh()
        if self._https:
            await self._https.close()

    async def __aenter__(self: Self) -> Self:
        if self._auto_refresh and self._session.token:
            self.start_token_refresh()
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    # The token.

    def set_token(self, token: str) -> None:
        """Uses a token that somebody else obtained."""
        self._session.token = token

    async def renew_token(self, token_expire: Duration = "P1W") -> None:
        """Replaces the token by a new one. Other calls may go on meanwhile."""
        while self._renewal is not None:
            await asyncio.wait([self._renewal])
        renewal = asyncio.ensure_future(self._run(session_calls.renew(self._session, token_expire)))
        self._renewal = renewal
        try:
            await renewal
        finally:
            self._renewal = None

    def start_token_refresh(self) -> None:
        """Renews the token in the background: 30 s before it ends, and every 300 s at the latest."""
        self._auto_refresh = True
        if self._refresher is None or self._refresher.done():
            self._refresher = asyncio.ensure_future(self._refresh())

    async def stop_token_refresh(self) -> None:
        """Ends that."""
        refresher, self._refresher = self._refresher, None
        if refresher and refresher is not asyncio.current_task():
            refresher.cancel()
            await asyncio.wait([refresher])

    def _token_changed(self) -> None:
        if self._auto_refresh and self._session.token:
            self.start_token_refresh()

    async def _refresh(self) -> None:
        while self._session.token:
            token = self._session.token
            await asyncio.sleep(refresh_delay(token))
            if self._session.token is not token:
                continue
            try:
                await self.renew_token()
            except AppMeshAuthError as error:
                logger.warning("the token is renewed no more: %s", error)
                return
            except AppMeshError as error:
                logger.warning("could not renew the token, trying again: %s", error)

    # Applications.

    async def add_app(self, app: App, subscribe_events: Optional[Sequence[str]] = None) -> App:
        """Registers an app, or changes it. `subscribe_events` counts over TCP and WebSocket only."""
        return await self._run(app_calls.add(app, subscribe_events))

    async def run_app_async(
        self, app: Union[App, str], max_time: Duration = "P2D", lifecycle: Duration = "P2DT12H"
    ) -> AppRun:
        """Starts something once and returns at once: see `appmesh.AppMeshClient.run_app_async`."""
        name, process_uuid = await self._run(app_calls.run_async(app, max_time, lifecycle))
        return AppRun(self, name, process_uuid)

    async def wait_for_async_run(self, run: AppRun, print_stdout: bool = True, timeout: float = 0) -> Optional[int]:
        """Waits for a run, at most `timeout` seconds (0: for ever), and prints its output. The exit code, or None when
        the time is up. After a real exit the temporary app is removed."""
        return await self._wait_run(run, print_output_handler if print_stdout else None, timeout, self.forward_to)

    async def _wait_run(
        self, run: AppRun, handler: Optional[OutputHandler], timeout: float, target: str
    ) -> Optional[int]:
        return await self._poll_run(run, handler, timeout, target)

    async def _poll_run(
        self, run: AppRun, handler: Optional[OutputHandler], timeout: float, target: str
    ) -> Optional[int]:
        code = await self._run(run_watch.poll(run.app_name, run.proc_uid, handler, timeout), target=target)
        if code is not None:
            await self._forget_run(run, target)
        return code

    async def _forget_run(self, run: AppRun, target: str) -> None:
        with contextlib.suppress(AppMeshError):
            await self._run(app_calls.delete(run.app_name), target=target)

    # Files. Local ones are read and written on the loop: asyncio has nothing for files, and blocks are small.

    async def download_file(self, remote_file: str, local_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file from the daemon's host. It appears under its name only when it is complete."""
        request = Request("GET", "/appmesh/file/download", headers={"X-File-Path": urllib.parse.quote(remote_file)})
        with incoming(local_file, preserve_permissions) as file:

            async def transfer(request: Request, headers: Dict[str, str]) -> Response:
                return await self._pool().exchange(request, headers, sink=file.write)

            response = await self._send(request, transfer)
            file.finish(check(response).headers)

    async def upload_file(self, local_file: str, remote_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file to the daemon's host, which must not have it yet."""
        path = existing(local_file)
        fields = {
            "X-File-Path": urllib.parse.quote(remote_file),
            "Content-Type": "application/octet-stream",
            **(file_attributes.read(path) if preserve_permissions else {}),
        }
        request = Request("POST", "/appmesh/file/upload", headers=fields)
        with open(str(path), "rb") as stream:  # noqa: ASYNC230, PTH123
            size = path.stat().st_size

            async def transfer(request: Request, headers: Dict[str, str]) -> Response:
                stream.seek(0)
                return await self._pool().exchange(request, headers, upload=stream, length=size)

            check(await self._send(request, transfer))
