"""What the asyncio TCP and WebSocket clients share: one connection for everything, and events."""

import asyncio
import contextlib
import socket
from typing import Awaitable, Callable, Dict, List, Optional, Sequence

from .._core import app_calls, run_watch
from .._core.message import Flow, Headers, Request, Response, T
from ..app import App
from ..app_run import OutputHandler, print_output_handler
from ..exceptions import AppMeshAuthError, AppMeshError, AppMeshRequestError
from ..subscribe import SubscriptionResult
from ..tcp_messages import RequestMessage
from ._demultiplexer import Demultiplexer, EventCallback, Subscription, Transport
from .app_run import AppRun
from .client_http import AppMeshClient

__all__ = ["TransportClientMixin"]


class TransportClientMixin(AppMeshClient):
    """As `appmesh.transport_mixin.TransportClientMixin`; a callback may be a function or a coroutine function."""

    def _set_up_transport(self, new_transport: Callable[[], Awaitable[Transport]]) -> None:
        self._new_transport = new_transport
        self._connecting: Optional[asyncio.Future[Demultiplexer]] = None
        self._connected: Optional[Demultiplexer] = None
        self._closed = False
        self._client_addr = socket.gethostname()

    async def _connection(self) -> Demultiplexer:
        while self._connected is None or self._connected.ended:
            if self._closed:
                raise AppMeshError("this client is closed")
            # One connection, however many tasks ask for it at once; one that is cancelled must not take it from others.
            if self._connecting is None:
                self._connecting = asyncio.ensure_future(self._connect())
                self._connecting.add_done_callback(self._connect_done)
            await asyncio.shield(self._connecting)
        return self._connected

    async def _connect(self) -> Demultiplexer:
        self._connected = Demultiplexer(await self._new_transport())
        return self._connected

    def _connect_done(self, done: "asyncio.Future[Demultiplexer]") -> None:
        self._connecting = None
        if not done.cancelled():
            done.exception()  # told to whoever waited

    async def _disconnect(self) -> None:
        self._closed = True
        if self._connected:
            await self._connected.close()

    def _message(self, uuid: str, request: Request, headers: Dict[str, str]) -> RequestMessage:
        return RequestMessage(uuid, request.path, request.method, self._client_addr, request.body, headers, request.query)

    async def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        return await self._transfer_on(await self._connection(), request, headers)

    async def _transfer_on(self, connection: Demultiplexer, request: Request, headers: Dict[str, str]) -> Response:
        answer = await connection.request(self._message(connection.next_id(), request, headers))
        return Response(answer.http_status, Headers(answer.headers), answer.body)

    async def _run_on(self, connection: Demultiplexer, flow: "Flow[T]") -> T:
        async def transfer(request: Request, headers: Dict[str, str]) -> Response:
            return await self._transfer_on(connection, request, headers)

        return await self._run(flow, transfer)

    # Events.

    async def subscribe(
        self, app_name: str, events: Optional[Sequence[str]] = None, callback: Optional[EventCallback] = None
    ) -> SubscriptionResult:
        """From now on `callback` is called with each event of an app, or of all apps (`"*"`), in order."""
        connection = await self._connection()
        result = await self._subscribe_on(connection, app_name, events)
        if callback:
            connection.attach(result.subscription_id, result.app_name, callback)
        return result

    async def _subscribe_on(
        self, connection: Demultiplexer, app_name: str, events: Optional[Sequence[str]]
    ) -> SubscriptionResult:
        answer = await self._run_on(connection, app_calls.subscribe(app_name, events))
        names: List[str] = [str(each) for each in answer.get("events") or []]
        return SubscriptionResult(str(answer["subscription_id"]), str(answer.get("app_name") or app_name), names)

    async def set_event_callback(self, subscription_id: str, callback: EventCallback, app_name: str = "") -> None:
        """Gives a callback to a subscription that was made without one; events kept for it come first."""
        (await self._connection()).attach(subscription_id, app_name, callback)

    async def unsubscribe(self, subscription_id: str) -> None:
        """Ends a subscription: its callback is not called again."""
        await self._unsubscribe_on(await self._connection(), subscription_id)

    async def _unsubscribe_on(self, connection: Demultiplexer, subscription_id: str) -> None:
        connection.detach(subscription_id)
        try:
            await self._run_on(connection, app_calls.unsubscribe(subscription_id))
        finally:
            connection.detach(subscription_id)

    async def add_app(
        self, app: App, subscribe_events: Optional[Sequence[str]] = None, callback: Optional[EventCallback] = None
    ) -> App:
        """Registers an app, or changes it. With `subscribe_events` the subscription is there before the app can start."""
        connection = await self._connection()
        added = await self._run_on(connection, app_calls.add(app, subscribe_events))
        if callback and added.subscription_id:
            connection.attach(added.subscription_id, added.name or "", callback)
        return added

    # Runs.

    async def wait_for_async_run(  # type: ignore[override]
        self, run: AppRun, stdout_handler: Optional[OutputHandler] = None, timeout: float = 0
    ) -> Optional[int]:
        """Waits for a run: see `appmesh.AppMeshClientTCP.wait_for_async_run`."""
        if isinstance(stdout_handler, bool):
            stdout_handler = print_output_handler if stdout_handler else None
        return await self._wait_run(run, stdout_handler, timeout, self.forward_to)

    async def _wait_run(
        self, run: AppRun, handler: Optional[OutputHandler], timeout: float, target: str
    ) -> Optional[int]:
        if target:
            return await self._poll_run(run, handler, timeout, target)
        deadline = run_watch.Deadline(timeout)
        watch = run_watch.Watch(run.app_name, run.proc_uid, handler)
        connection = await self._connection()
        try:
            answer = await self._subscribe_on(connection, run.app_name, run_watch.EVENTS)
        except (AppMeshAuthError, AppMeshRequestError) as error:
            if error.status_code not in (403, 404, 405):
                raise
            # Who may not subscribe may still read, and so may who talks to a daemon without events.
            return await self._poll_run(run, handler, timeout, target)
        subscription = connection.attach(answer.subscription_id, run.app_name, None)
        try:
            code = await self._watch(connection, subscription, watch, deadline)
        finally:
            with contextlib.suppress(AppMeshError):
                await self._unsubscribe_on(connection, answer.subscription_id)
        if code is not None:
            await self._forget_run(run, target)
        return code

    async def _watch(
        self,
        connection: Demultiplexer,
        subscription: Subscription,
        watch: run_watch.Watch,
        deadline: run_watch.Deadline,
    ) -> Optional[int]:
        await self._run_on(connection, watch.back_fill())
        while watch.exit_code is None:
            event = await subscription.get(deadline.left())
            if event is None:
                return None
            if subscription.take_lost():
                await self._run_on(connection, watch.back_fill())
            if watch.exit_code is None:
                watch.take(event.event_type, event.data)
            if watch.lacks_output:
                await self._run_on(connection, watch.back_fill())
        return watch.exit_code
