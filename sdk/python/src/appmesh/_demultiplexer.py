"""One connection shared by many calls and subscriptions: who gets what comes in.

One thread at a time reads the connection, and it never waits for anybody: answers go to the calls that wait for them,
events to the queue of their subscription, which has its own thread to run the callback. As long as there are only calls,
one of the callers reads, because passing an answer from one thread to another costs more than all the rest of a call.
With the first subscription a thread of its own takes over, so that events come without calls."""

import itertools
import json
import logging
import secrets
import threading
from collections import OrderedDict, deque
from typing import Any, Callable, Deque, Dict, Optional, Protocol, Union

from .exceptions import AppMeshDisconnectedError, AppMeshError, AppMeshTimeoutError
from .subscribe import EVENT_TYPE_DISCONNECTED, EVENT_URI, AppEvent, EventCallback
from .tcp_messages import RequestMessage, ResponseMessage

logger = logging.getLogger("appmesh")

MAX_UNKNOWN = 64
"""So many subscriptions that nobody has claimed yet are kept,"""
MAX_UNKNOWN_EVENTS = 1000
"""each with so many events."""
MAX_QUEUED = 100_000
"""So many events wait for a callback that is slow; then the oldest are dropped."""


class Transport(Protocol):
    """What TCPTransport and WSSTransport have in common."""

    receive_timeout: Optional[float]

    def connect(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    def send_message(self, data: Union[bytes, bytearray, None]) -> None: ...
    def receive_message(self) -> bytes: ...


class Subscription:
    """Events of one subscription, in order: read with `get`, or given to a callback by a thread."""

    def __init__(self, subscription_id: str, app_name: str, callback: Optional[EventCallback]) -> None:
        self.id = subscription_id
        self.app_name = app_name
        self._callback = callback
        self._events: Deque[AppEvent] = deque()
        self._changed = threading.Condition()
        self._lost = 0
        self._closed = False
        self._thread = threading.Thread(target=self._pump, name="appmesh-events", daemon=True) if callback else None

    def start(self) -> None:
        if self._thread:
            self._thread.start()

    def put(self, event: AppEvent) -> None:
        with self._changed:
            if self._closed:
                return
            if len(self._events) >= MAX_QUEUED:
                self._events.popleft()
                self._lost += 1
                if self._lost == 1:
                    logger.warning("events of %s are dropped: the callback is too slow", self.app_name)
            self._events.append(event)
            self._changed.notify()

    def get(self, timeout: Optional[float] = None) -> Optional[AppEvent]:
        """The next one; None when the time is up or the subscription was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed, timeout)
            return self._events.popleft() if self._events else None

    def take_lost(self) -> int:
        """How many were dropped since the last call."""
        with self._changed:
            lost, self._lost = self._lost, 0
            return lost

    def close(self) -> None:
        """No more events, not even those that wait."""
        with self._changed:
            self._closed = True
            self._events.clear()
            self._changed.notify()

    def _pump(self) -> None:
        assert self._callback is not None
        while True:
            event = self.get()
            if event is None:
                return
            try:
                self._callback(event)
            except Exception:
                logger.exception("a callback for events of %s failed", self.app_name)
            if event.event_type == EVENT_TYPE_DISCONNECTED:
                return
            if event.event_type == "REMOVED" and self.app_name != "*":
                return


class _Waiter:
    """A call that waits for its answer, or for its turn to read."""

    __slots__ = ("_turn", "answer")

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._turn.acquire()
        self.answer: Optional[ResponseMessage] = None

    def wait(self) -> None:
        self._turn.acquire()

    def wake(self) -> None:
        try:
            self._turn.release()
        except RuntimeError:
            pass  # it has been woken already


class Demultiplexer:
    """Owns a connected transport and closes it in the end."""

    def __init__(self, transport: Transport, idle_seconds: float = 0) -> None:
        """idle_seconds: look that often for what wants an answer although nobody waits, such as pings."""
        self._transport = transport
        self._lock = threading.Lock()
        self._waiters: Dict[str, _Waiter] = {}
        self._subscriptions: Dict[str, Subscription] = {}
        self._unknown: OrderedDict[str, Deque[AppEvent]] = OrderedDict()
        self._why_ended: Optional[str] = None
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)
        self._reading = threading.Lock()
        """Whoever holds it reads the connection."""
        self._over = threading.Event()
        self._reader: Optional[threading.Thread] = None
        if idle_seconds:
            self._spawn("appmesh-idle", lambda: self._look_in(idle_seconds))

    @property
    def ended(self) -> bool:
        return self._why_ended is not None

    def next_id(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"

    def request(self, message: RequestMessage) -> ResponseMessage:
        """Sends a message and waits for its answer, for as long as it takes; other threads may do the same."""
        waiter = _Waiter()
        with self._lock:
            if self._why_ended is not None:
                raise AppMeshDisconnectedError(self._why_ended)
            # Before it is sent: the answer may be here before the sending has returned.
            self._waiters[message.uuid] = waiter
        try:
            self._transport.send_message(message.serialize())
            while waiter.answer is None and self._why_ended is None:
                if self._reading.acquire(blocking=False):
                    try:
                        while waiter.answer is None and self._why_ended is None:
                            self._read_one()
                    finally:
                        self._reading.release()
                else:
                    waiter.wait()
        except AppMeshDisconnectedError:
            self._transport.abort()
            raise
        finally:
            self._waiters.pop(message.uuid, None)
            self._offer_reading()
        if waiter.answer is None:
            raise AppMeshDisconnectedError(self._why_ended or "the connection ended")
        return waiter.answer

    def _offer_reading(self) -> None:
        """Somebody who still waits shall read on."""
        while self._waiters and not self._reading.locked():
            try:
                next(iter(self._waiters.values())).wake()
            except (StopIteration, RuntimeError):
                continue  # they changed just now
            return

    # Subscriptions.

    def attach(self, subscription_id: str, app_name: str, callback: Optional[EventCallback]) -> Subscription:
        """From now on events of this subscription go here; the ones that came too early are the first."""
        subscription = Subscription(subscription_id, app_name, callback)
        with self._lock:
            for event in self._unknown.pop(subscription_id, ()):
                subscription.put(event)
            if self._why_ended is not None:
                subscription.put(_disconnected(subscription, self._why_ended))
            else:
                self._subscriptions[subscription_id] = subscription
        subscription.start()
        return subscription

    def detach(self, subscription_id: str) -> None:
        """Nobody wants its events any more."""
        with self._lock:
            subscription = self._subscriptions.pop(subscription_id, None)
            self._unknown.pop(subscription_id, None)
        if subscription:
            subscription.close()

    # The reader.

    def expect_events(self) -> None:
        """From now on a thread of its own reads, whether anybody calls or not."""
        with self._lock:
            if self._reader is None and self._why_ended is None:
                self._reader = self._spawn("appmesh-reader", self._read)

    @staticmethod
    def _spawn(name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def _read(self) -> None:
        with self._reading:
            while self._why_ended is None:
                self._read_one()

    def _look_in(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            if self._reading.acquire(blocking=False):
                patience, self._transport.receive_timeout = self._transport.receive_timeout, 0.0
                try:
                    self._read_one()
                finally:
                    self._transport.receive_timeout = patience
                    self._reading.release()
                    self._offer_reading()

    def _read_one(self) -> None:
        """Takes in one message, or notes that the connection has ended. The caller holds _reading."""
        try:
            data = self._transport.receive_message()
            if data:
                self._dispatch(ResponseMessage.from_bytes(data))
        except AppMeshTimeoutError:
            pass  # nothing to say for now
        except (AppMeshError, ValueError) as error:
            self._end(str(error))
        except Exception as error:  # a bug must not leave callers waiting for ever
            logger.exception("the reader of a connection failed")
            self._end(f"the reader failed: {error!r}")

    def _dispatch(self, message: ResponseMessage) -> None:
        # A dictionary's pop is atomic, and every call pops nothing but its own.
        waiter = self._waiters.pop(message.uuid, None)
        if waiter is not None:
            waiter.answer = message
            waiter.wake()
        elif message.request_uri == EVENT_URI:
            event = read_event(message)
            if event is not None:
                self._deliver(event)
        # Anything else answers a call that was given up.

    def _deliver(self, event: AppEvent) -> None:
        with self._lock:
            subscription = self._subscriptions.get(event.subscription_id)
            if subscription is None:
                kept = self._unknown.get(event.subscription_id)
                if kept is None:
                    if len(self._unknown) >= MAX_UNKNOWN:
                        self._unknown.popitem(last=False)
                    kept = self._unknown[event.subscription_id] = deque(maxlen=MAX_UNKNOWN_EVENTS)
                kept.append(event)
                return
            if event.event_type == "REMOVED" and subscription.app_name != "*":
                del self._subscriptions[event.subscription_id]
        subscription.put(event)

    def _end(self, why: str) -> None:
        with self._lock:
            if self._why_ended is not None:
                return
            self._why_ended = why
            waiters = list(self._waiters.values())
            subscriptions, self._subscriptions = self._subscriptions, {}
        self._transport.close()
        self._over.set()
        for waiter in waiters:
            waiter.wake()
        for subscription in subscriptions.values():
            subscription.put(_disconnected(subscription, why))

    def close(self) -> None:
        """Ends the connection, and with it every call and subscription. May be called again."""
        self._transport.abort()
        self._end("the client was closed")


def read_event(message: ResponseMessage) -> Optional[AppEvent]:
    try:
        fields: Any = json.loads(message.body)
        data = fields.get("data")
        return AppEvent(
            subscription_id=str(fields.get("subscription_id") or message.headers.get("X-Subscription-Id") or ""),
            event_type=str(fields.get("event_type") or message.headers.get("X-Event-Type") or ""),
            app_name=str(fields.get("app_name") or message.headers.get("X-App-Name") or ""),
            timestamp=int(fields.get("timestamp") or 0),
            sequence=int(fields.get("sequence") or 0),
            data=data if isinstance(data, dict) else {},
        )
    except (ValueError, TypeError, AttributeError) as error:
        logger.warning("an event that cannot be read was dropped: %s", error)
        return None


def _disconnected(subscription: Subscription, why: str) -> AppEvent:
    return AppEvent(subscription.id, EVENT_TYPE_DISCONNECTED, subscription.app_name, data={"reason": why})
