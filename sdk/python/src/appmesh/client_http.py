"""The client over HTTPS, and what all blocking clients share."""

import contextlib
import logging
import threading
import urllib.parse
from types import TracebackType
from typing import Dict, Optional, Sequence, Tuple, Type, TypeVar, Union

from ._app_methods import AppMethods
from ._core import app_calls, file_attributes, run_watch, session_calls, tls
from ._core.message import Request, Response, check
from ._core.session import CookieFile, Session, refresh_delay
from ._core.session_calls import Duration
from ._files import existing, incoming
from ._host_methods import HostMethods
from ._https import HttpsConnections
from ._session_methods import SessionMethods
from .app import App
from .app_run import AppRun, OutputHandler, print_output_handler
from .exceptions import AppMeshAuthError, AppMeshError

__all__ = ["AppMeshClient"]

logger = logging.getLogger("appmesh")
Self = TypeVar("Self", bound="AppMeshClient")


class AppMeshClient(SessionMethods, AppMethods, HostMethods):
    """Talks to a daemon over HTTPS.

    May be used from several threads at once. Use it in a `with`, or `close()` it. Durations are seconds or ISO 8601
    text (`"PT5M"`). 401 and 403 raise `AppMeshAuthError`, every other failure `AppMeshRequestError`."""

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
        """base_url: of the daemon.
        ssl_verify: True = trust the system's CAs, False = verify nothing, text = a CA file or directory. By default the
        CA that is installed with a daemon, where there is one.
        ssl_client_cert: certificate file, or (certificate, key); by default the pair that is installed.
        request_timeout: seconds to connect, seconds without a byte of an answer.
        jwt_token: a token that somebody else obtained.
        cookie_file: keeps the token, so that the next program need not log on.
        auto_refresh_token: renew the token in the background."""
        self._https: Optional[HttpsConnections] = HttpsConnections(
            base_url, ssl_verify, ssl_client_cert, request_timeout
        )
        address = self._https.address
        cookies = CookieFile(cookie_file, address.host) if cookie_file else None
        self._set_up(Session(jwt_token, cookies), address.port, auto_refresh_token)

    def _set_up(self, session: Session, own_port: int, auto_refresh_token: bool) -> None:
        super().__init__(session, own_port)
        self._auto_refresh = auto_refresh_token
        self._refresh_lock = threading.Lock()
        self._refresher: Optional[_Refresher] = None
        session.on_token = self._token_changed
        if auto_refresh_token and session.token:
            self.start_token_refresh()

    def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        if self._https is None:
            raise AppMeshError("this client is closed")
        return self._https.exchange(request, headers)

    def close(self) -> None:
        """Ends background work and connections. May be called again."""
        self.stop_token_refresh()
        if self._https:
            self._https.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    # The token.

    def set_token(self, token: str) -> None:
        """Uses a token that somebody else obtained."""
        self._session.token = token

    def renew_token(self, token_expire: Duration = "P1W") -> None:
        """Replaces the token by a new one. Other calls may go on meanwhile."""
        with self._renewing:
            self._run(session_calls.renew(self._session, token_expire))

    def start_token_refresh(self) -> None:
        """Renews the token in the background: 30 s before it ends, and every 300 s at the latest."""
        self._auto_refresh = True
        with self._refresh_lock:
            if self._refresher is None or not self._refresher.is_alive():
                self._refresher = _Refresher(self)
                self._refresher.start()

    def stop_token_refresh(self) -> None:
        """Ends that."""
        with self._refresh_lock:
            refresher, self._refresher = self._refresher, None
        if refresher:
            refresher.stop()

    def _token_changed(self) -> None:
        refresher = self._refresher
        if refresher and refresher.is_alive():
            refresher.wake()
        elif self._auto_refresh and self._session.token:
            self.start_token_refresh()

    # Applications.

    def add_app(self, app: App, subscribe_events: Optional[Sequence[str]] = None) -> App:
        """Registers an app, or changes it. `subscribe_events` counts over TCP and WebSocket only."""
        return self._run(app_calls.add(app, subscribe_events))

    def run_app_async(
        self, app: Union[App, str], max_time: Duration = "P2D", lifecycle: Duration = "P2DT12H"
    ) -> AppRun:
        """Starts something once and returns at once.

        app: a shell command, or an App; one with nothing but a name runs a copy of that registered app. After
        `max_time` the process is stopped, after `lifecycle` the daemon forgets the run."""
        name, process_uuid = self._run(app_calls.run_async(app, max_time, lifecycle))
        return AppRun(self, name, process_uuid)

    def wait_for_async_run(self, run: AppRun, print_stdout: bool = True, timeout: float = 0) -> Optional[int]:
        """Waits for a run, at most `timeout` seconds (0: for ever), and prints its output. The exit code, or None when
        the time is up. After a real exit the temporary app is removed."""
        return self._wait_run(run, print_output_handler if print_stdout else None, timeout)

    def _wait_run(self, run: AppRun, handler: Optional[OutputHandler], timeout: float) -> Optional[int]:
        return self._poll_run(run, handler, timeout)

    def _poll_run(self, run: AppRun, handler: Optional[OutputHandler], timeout: float) -> Optional[int]:
        code = self._run(run_watch.poll(run.app_name, run.proc_uid, handler, timeout))
        if code is not None:
            self._forget_run(run)
        return code

    def _forget_run(self, run: AppRun) -> None:
        # The exit code is known; that the app could not be removed must not hide it. It goes away by its lifetime.
        with contextlib.suppress(AppMeshError):
            self._run(app_calls.delete(run.app_name))

    # Files.

    def download_file(self, remote_file: str, local_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file from the daemon's host. It appears under its name only when it is complete."""
        request = Request("GET", "/appmesh/file/download", headers={"X-File-Path": urllib.parse.quote(remote_file)})
        with incoming(local_file, preserve_permissions) as file:

            def transfer(request: Request, headers: Dict[str, str]) -> Response:
                return self._pool().exchange(request, headers, sink=file.write)

            response = self._send(request, transfer)
            file.finish(check(response).headers)

    def upload_file(self, local_file: str, remote_file: str, preserve_permissions: bool = True) -> None:
        """Copies a file to the daemon's host, which must not have it yet."""
        path = existing(local_file)
        attributes = file_attributes.read(path) if preserve_permissions else {}
        fields = {
            "X-File-Path": urllib.parse.quote(remote_file),
            "Content-Type": "application/octet-stream",
            **attributes,
        }
        request = Request("POST", "/appmesh/file/upload", headers=fields)
        with path.open("rb") as stream:
            size = path.stat().st_size

            def transfer(request: Request, headers: Dict[str, str]) -> Response:
                stream.seek(0)
                return self._pool().exchange(request, headers, upload=stream, length=size)

            check(self._send(request, transfer))

    def _pool(self) -> HttpsConnections:
        if self._https is None:
            raise AppMeshError("this client has no HTTPS connection")
        return self._https


class _Refresher(threading.Thread):
    """Renews one client's token until it is told to stop, or the daemon refuses."""

    def __init__(self, client: AppMeshClient) -> None:
        super().__init__(name="appmesh-token", daemon=True)
        self._client = client
        self._changed = threading.Event()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()
        if threading.current_thread() is not self:
            self.join(5)

    def wake(self) -> None:
        """The token is another one: compute the time anew."""
        self._changed.set()

    def run(self) -> None:
        while not self._stopped:
            self._changed.clear()
            if self._changed.wait(refresh_delay(self._client._session.token)):
                continue
            if not self._client._session.token:
                return
            try:
                self._client.renew_token()
            except AppMeshAuthError as error:
                logger.warning("the token is renewed no more: %s", error)
                return
            except AppMeshError as error:
                # The daemon may be back before the token ends.
                logger.warning("could not renew the token, trying again: %s", error)

