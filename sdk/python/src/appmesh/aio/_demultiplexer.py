"""One connection shared by many tasks and subscriptions: the asyncio counterpart of `appmesh._demultiplexer`."""

import asyncio
import inspect
import itertools
import logging
import secrets
from collections import OrderedDict, deque
from typing import Awaitable, Callable, Deque, Dict, Optional, Protocol, Union

from .._demultiplexer import MAX_QUEUED, MAX_UNKNOWN, MAX_UNKNOWN_EVENTS, read_event
from ..exceptions import AppMeshDisconnectedError, AppMeshError
from ..subscribe import EVENT_TYPE_DISCONNECTED, EVENT_URI, AppEvent
from ..tcp_messages import RequestMessage, ResponseMessage

logger = logging.getLogger("appmesh")

EventCallback = Callable[[AppEvent], Union[None, Awaitable[None]]]
"""A function or a coroutine function."""


class Transport(Protocol):
    """One connected stream of messages."""

    async def send_message(self, data: bytes) -> None: ...
    async def receive_message(self) -> bytes: ...
    async def close(self) -> None: ...


class Subscription:
    """Events of one subscription, in order: read with `get`, or given to a callback by a task."""

    def __init__(self, subscription_id: str, app_name: str, callback: Optional[EventCallback]) -> None:
        self.id = subscription_id
        self.app_name = app_name
        self._callback = callback
        self._events: Deque[AppEvent] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._lost = 0
        self._task = asyncio.ensure_future(self._pump()) if callback else None

    def put(self, event: AppEvent) -> None:
        if self._closed:
            return
        if len(self._events) >= MAX_QUEUED:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        self._changed.set()

    async def get(self, timeout: Optional[float] = None) -> Optional[AppEvent]:
        """The next one; None when the time is up or the subscription was closed."""
        while not self._events:
            if self._closed:
                return None
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except asyncio.TimeoutError:
                return None
        return self._events.popleft()

    def take_lost(self) -> int:
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        self._closed = True
        self._events.clear()
        self._changed.set()

    async def _pump(self) -> None:
        assert self._callback is not None
        while True:
            event = await self.get()
            if event is None:
                return
            try:
                answer = self._callback(event)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:
                logger.exception("a callback for events of %s failed", self.app_name)
            if event.event_type == EVENT_TYPE_DISCONNECTED:
                return
            if event.event_type == "REMOVED" and self.app_name != "*":
                return


class Demultiplexer:
    """Owns a connected transport and closes it in the end."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiters: Dict[str, asyncio.Future[ResponseMessage]] = {}
        self._subscriptions: Dict[str, Subscription] = {}
        self._unknown: OrderedDict[str, Deque[AppEvent]] = OrderedDict()
        self._why_ended: Optional[str] = None
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)
        self._reader = asyncio.ensure_future(self._read())

    @property
    def ended(self) -> bool:
        return self._why_ended is not None

    def next_id(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"

    async def request(self, message: RequestMessage) -> ResponseMessage:
        """Sends a message and waits for its answer, for as long as it takes. A task that is cancelled meanwhile leaves
        nothing behind: its answer is dropped."""
        if self._why_ended is not None:
            raise AppMeshDisconnectedError(self._why_ended)
        waiter: asyncio.Future[ResponseMessage] = asyncio.get_running_loop().create_future()
        self._waiters[message.uuid] = waiter
        try:
            await self._transport.send_message(message.serialize())
            return await waiter
        finally:
            self._waiters.pop(message.uuid, None)

    def attach(self, subscription_id: str, app_name: str, callback: Optional[EventCallback]) -> Subscription:
        """From now on events of this subscription go here; the ones that came too early are the first."""
        subscription = Subscription(subscription_id, app_name, callback)
        for event in self._unknown.pop(subscription_id, ()):
            subscription.put(event)
        if self._why_ended is not None:
            subscription.put(self._disconnected(subscription))
        else:
            self._subscriptions[subscription_id] = subscription
        return subscription

    def detach(self, subscription_id: str) -> None:
        subscription = self._subscriptions.pop(subscription_id, None)
        self._unknown.pop(subscription_id, None)
        if subscription:
            subscription.close()

    async def _read(self) -> None:
        why = "the client was closed"
        try:
            while True:
                data = await self._transport.receive_message()
                if data:
                    self._dispatch(ResponseMessage.from_bytes(data))
        except (AppMeshError, ValueError) as error:
            why = str(error)
        finally:
            self._end(why)
            await self._transport.close()

    def _dispatch(self, message: ResponseMessage) -> None:
        waiter = self._waiters.pop(message.uuid, None)
        if waiter is not None:
            if not waiter.done():
                waiter.set_result(message)
        elif message.request_uri == EVENT_URI:
            event = read_event(message)
            if event is not None:
                self._deliver(event)

    def _deliver(self, event: AppEvent) -> None:
        subscription = self._subscriptions.get(event.subscription_id)
        if subscription is not None:
            if event.event_type == "REMOVED" and subscription.app_name != "*":
                del self._subscriptions[event.subscription_id]
            subscription.put(event)
            return
        kept = self._unknown.get(event.subscription_id)
        if kept is None:
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            kept = self._unknown[event.subscription_id] = deque(maxlen=MAX_UNKNOWN_EVENTS)
        kept.append(event)

    def _end(self, why: str) -> None:
        self._why_ended = why
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(AppMeshDisconnectedError(why))
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.put(self._disconnected(subscription))

    def _disconnected(self, subscription: Subscription) -> AppEvent:
        data = {"reason": self._why_ended}
        return AppEvent(subscription.id, EVENT_TYPE_DISCONNECTED, subscription.app_name, data=data)

    async def close(self) -> None:
        """Ends the connection, and with it every call and subscription. May be called again."""
        self._reader.cancel()
        if self._reader is not asyncio.current_task():
            await asyncio.wait([self._reader])
