"""What the TCP and the WebSocket client share: one connection for everything, and events."""

import contextlib
import socket
import threading
from typing import Callable, Dict, List, Optional, Sequence

from ._core import app_calls, run_watch
from ._core.message import Flow, Headers, Request, Response, T
from ._demultiplexer import Demultiplexer, Subscription, Transport
from .app import App
from .app_run import AppRun, OutputHandler, print_output_handler
from .client_http import AppMeshClient
from .exceptions import AppMeshAuthError, AppMeshError, AppMeshRequestError
from .subscribe import EventCallback, SubscriptionResult
from .tcp_messages import RequestMessage

__all__ = ["TransportClientMixin"]


class TransportClientMixin(AppMeshClient):
    """The methods that need, or are better with, a connection that lasts.

    The connection is made by the first call, and again by the first call after it was lost. Subscriptions do not come
    back: each callback is told by an event of type `__disconnected__`."""

    def _set_up_transport(self, new_transport: Callable[[], Transport], idle_seconds: float = 0) -> None:
        self._idle_seconds = idle_seconds
        self._new_transport = new_transport
        self._connection_lock = threading.Lock()
        self._connected: Optional[Demultiplexer] = None
        self._closed = False
        self._client_addr = socket.gethostname()

    def _connection(self) -> Demultiplexer:
        connection = self._connected
        if connection is not None and not connection.ended:
            return connection
        with self._connection_lock:
            if self._closed:
                raise AppMeshError("this client is closed")
            if self._connected is None or self._connected.ended:
                transport = self._new_transport()
                transport.connect()
                self._connected = Demultiplexer(transport, self._idle_seconds)
            return self._connected

    def _disconnect(self) -> None:
        with self._connection_lock:
            self._closed = True
            connection = self._connected
        if connection:
            connection.close()

    def _message(self, uuid: str, request: Request, headers: Dict[str, str]) -> RequestMessage:
        return RequestMessage(
            uuid, request.path, request.method, self._client_addr, request.body, headers, request.query
        )

    def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        return self._transfer_on(self._connection(), request, headers)

    def _transfer_on(self, connection: Demultiplexer, request: Request, headers: Dict[str, str]) -> Response:
        answer = connection.request(self._message(connection.next_id(), request, headers))
        return Response(answer.http_status, Headers(answer.headers), answer.body)

    def _run_on(self, connection: Demultiplexer, flow: "Flow[T]") -> T:
        """As _run, but on this connection or not at all: a subscription is worth nothing on another one."""
        return self._run(flow, lambda request, headers: self._transfer_on(connection, request, headers))

    # Events.

    def subscribe(
        self, app_name: str, events: Optional[Sequence[str]] = None, callback: Optional[EventCallback] = None
    ) -> SubscriptionResult:
        """From now on `callback` is called with each event of an app, or of all apps (`"*"`), in order, on a thread of
        the subscription. events: some of START, EXIT, STDOUT, HEALTH, STATUS, REMOVED; None: all.

        Without a callback the latest 1000 events are kept for `set_event_callback`."""
        connection = self._connection()
        result = self._subscribe_on(connection, app_name, events)
        if callback:
            connection.attach(result.subscription_id, result.app_name, callback)
        return result

    def _subscribe_on(
        self, connection: Demultiplexer, app_name: str, events: Optional[Sequence[str]]
    ) -> SubscriptionResult:
        connection.expect_events()
        answer = self._run_on(connection, app_calls.subscribe(app_name, events))
        names: List[str] = [str(each) for each in answer.get("events") or []]
        return SubscriptionResult(str(answer["subscription_id"]), str(answer.get("app_name") or app_name), names)

    def set_event_callback(self, subscription_id: str, callback: EventCallback, app_name: str = "") -> None:
        """Gives a callback to a subscription that was made without one; events kept for it come first."""
        self._connection().attach(subscription_id, app_name, callback)

    def unsubscribe(self, subscription_id: str) -> None:
        """Ends a subscription: its callback is not called again."""
        self._unsubscribe_on(self._connection(), subscription_id)

    def _unsubscribe_on(self, connection: Demultiplexer, subscription_id: str) -> None:
        connection.detach(subscription_id)
        try:
            self._run_on(connection, app_calls.unsubscribe(subscription_id))
        finally:
            connection.detach(subscription_id)  # what came in between

    def add_app(  # a callback more than over HTTPS
        self, app: App, subscribe_events: Optional[Sequence[str]] = None, callback: Optional[EventCallback] = None
    ) -> App:
        """Registers an app, or changes it. With `subscribe_events` the subscription is there before the app can start, so
        that no event is missed; its id is in the result."""
        connection = self._connection()
        if subscribe_events:
            connection.expect_events()
        added = self._run_on(connection, app_calls.add(app, subscribe_events))
        if callback and added.subscription_id:
            connection.attach(added.subscription_id, added.name or "", callback)
        return added

    # Runs.

    def wait_for_async_run(  # type: ignore[override]
        self, run: AppRun, stdout_handler: Optional[OutputHandler] = None, timeout: float = 0
    ) -> Optional[int]:
        """Waits for a run, at most `timeout` seconds (0: for ever). Its output goes to `stdout_handler` as it comes.

        The exit code, or None when the time is up. After a real exit the temporary app is removed. A removal by somebody
        else raises `AppMeshAppRemovedError`, a lost connection `AppMeshDisconnectedError`; the run itself goes on."""
        if isinstance(stdout_handler, bool):  # programs written for the HTTPS client
            stdout_handler = print_output_handler if stdout_handler else None
        return self._wait_run(run, stdout_handler, timeout)

    def _wait_run(self, run: AppRun, handler: Optional[OutputHandler], timeout: float) -> Optional[int]:
        if self.forward_to:
            # Events come from the daemon that one is connected to, not from the one behind it.
            return self._poll_run(run, handler, timeout)
        deadline = run_watch.Deadline(timeout)
        watch = run_watch.Watch(run.app_name, run.proc_uid, handler)
        connection = self._connection()
        try:
            answer = self._subscribe_on(connection, run.app_name, run_watch.EVENTS)
        except (AppMeshAuthError, AppMeshRequestError) as error:
            if error.status_code not in (403, 404, 405):
                raise
            # Who may not subscribe may still read, and so may who talks to a daemon without events.
            return self._poll_run(run, handler, timeout)
        subscription = connection.attach(answer.subscription_id, run.app_name, None)
        try:
            code = self._watch(connection, subscription, watch, deadline)
        finally:
            with contextlib.suppress(AppMeshError):
                self._unsubscribe_on(connection, answer.subscription_id)
        if code is not None:
            self._forget_run(run)
        return code

    def _watch(
        self,
        connection: Demultiplexer,
        subscription: Subscription,
        watch: run_watch.Watch,
        deadline: run_watch.Deadline,
    ) -> Optional[int]:
        self._run_on(connection, watch.back_fill())
        while watch.exit_code is None:
            event = subscription.get(deadline.left())
            if event is None:
                return None
            if subscription.take_lost():
                self._run_on(connection, watch.back_fill())
            if watch.exit_code is None:
                watch.take(event.event_type, event.data)
            if watch.lacks_output:
                self._run_on(connection, watch.back_fill())
        return watch.exit_code

