"""Waiting for a run: by polling its output, or by events. What to ask next and what came is decided here, once."""

import codecs
import time
from typing import Any, Callable, Dict, Optional

from ..exceptions import AppMeshAppRemovedError, AppMeshDisconnectedError, AppMeshRequestError
from . import app_calls
from .message import Flow

POLL_SECONDS = 20
"""The daemon answers a long poll as soon as there is news, so this only bounds how long a dead peer goes unnoticed."""
CHUNK = 3 * 1024 * 1024

EVENTS = ("STDOUT", "EXIT", "REMOVED")
DISCONNECTED = "__disconnected__"

Handler = Optional[Callable[[str, int], None]]


class Deadline:
    """0 or less: none."""

    def __init__(self, timeout: float) -> None:
        self._at = time.monotonic() + timeout if timeout > 0 else None

    def left(self) -> Optional[float]:
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at


def removed(app_name: str) -> AppMeshAppRemovedError:
    return AppMeshAppRemovedError(f"app {app_name} was removed before its run had ended", 404)


def _good(app_name: str, piece: app_calls.Piece) -> app_calls.Piece:
    if piece.status == 404:
        raise removed(app_name)
    if piece.status != 200:
        reason = piece.data.decode("utf-8", "replace")
        if piece.status == 417:
            reason = "that run is no longer the app's current one"
        raise AppMeshRequestError(f"cannot follow app {app_name}: {reason}", piece.status)
    return piece


class Output:
    """Bytes of a run to the handler's text. A character that lies in two reads is kept until it is whole."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held_from = 0
        """Where the bytes begin that wait for the rest of their character."""
        self.next = 0
        """Where the next byte is expected."""

    def put(self, data: bytes, position: int) -> None:
        if position != self.next:
            self._give(self._decoder.decode(b"", True), self._held_from)
            self._decoder.reset()
            self._held_from = position
        self.next = position + len(data)
        start = self._held_from
        text = self._decoder.decode(data)
        self._held_from = self.next - len(self._decoder.getstate()[0])
        self._give(text, start)

    def end(self) -> None:
        self._give(self._decoder.decode(b"", True), self._held_from)

    def _give(self, text: str, position: int) -> None:
        if text and self._handler:
            self._handler(text, position)


def poll(app_name: str, process_uuid: str, handler: Handler, timeout: float) -> Flow[Optional[int]]:
    """By long polls; the exit code, or None when the time is up."""
    deadline = Deadline(timeout)
    sink = Output(handler)
    position = 0
    while True:
        left = deadline.left()
        wait = POLL_SECONDS if left is None else int(min(POLL_SECONDS, max(1.0, left + 0.5)))
        piece = _good(
            app_name, (yield from app_calls.output_bytes(app_name, position, 0, CHUNK, process_uuid, wait))
        )
        following = position if piece.next_position is None else piece.next_position
        if piece.data:
            # The oldest output may have been given up: what came may begin later than was asked for.
            sink.put(piece.data, following - len(piece.data))
        advanced, position = following > position, following
        if piece.exit_code is not None and not advanced:
            sink.end()
            return piece.exit_code
        if piece.exit_code is None and deadline.passed():
            return None


class Watch:
    """Puts events of one run and reads of its output together: each byte reaches the handler once and in order.

    Positions are bytes. A read says exactly where it ended, so what it gave is taken from events that overlap it."""

    def __init__(self, app_name: str, process_uuid: str, handler: Handler) -> None:
        self._app_name = app_name
        self._process_uuid = process_uuid
        self._sink = Output(handler)
        self._read_to = 0
        """Everything before this byte came by a read."""
        self._finished = False
        """The event that ends the output has come."""
        self._ended_with: Optional[int] = None
        self.exit_code: Optional[int] = None

    @property
    def lacks_output(self) -> bool:
        """The run has ended, but not its output: what is missing wants a read."""
        return self._ended_with is not None and self.exit_code is None

    def back_fill(self) -> Flow[None]:
        """Reads what there was before the subscription, or what was lost since. Finds the exit of a run that has ended."""
        position = self._sink.next
        while True:
            read = app_calls.output_bytes(self._app_name, position, 0, CHUNK, self._process_uuid, 0)
            piece = _good(self._app_name, (yield from read))
            following = position if piece.next_position is None else piece.next_position
            if piece.data:
                self._sink.put(piece.data, following - len(piece.data))
            advanced, position = following - position, following
            self._read_to = position
            if self._ended_with is not None and not advanced:
                self.end(self._ended_with)
                return
            # A read that was not full ended where the output ended.
            if piece.exit_code is not None and not advanced:
                self.end(piece.exit_code)
                return
            if piece.exit_code is None and advanced < CHUNK and self._ended_with is None:
                return

    def take(self, event_type: str, data: Dict[str, Any]) -> None:
        """One event, in the order of arrival. Raises when there will be no exit code."""
        if event_type == "STDOUT":
            # Events follow each other without gap or overlap. Only a read may have given a part of one already. Their
            # lengths are not added up: bytes that are no UTF-8 have another length as text.
            raw, position = str(data.get("output") or "").encode(), int(data.get("position") or 0)
            skip = max(0, self._read_to - position)
            if skip < len(raw):
                self._sink.put(raw[skip:], position + skip)
            self._finished = self._finished or bool(data.get("finished"))
        elif event_type == "EXIT":
            code = data.get("exit_code")
            if not isinstance(code, int):
                raise AppMeshRequestError(f"the exit of {self._app_name} came without a code")
            self._ended_with = code
            if self._finished:
                self.end(code)
        elif event_type == "REMOVED":
            raise removed(self._app_name)
        elif event_type == DISCONNECTED:
            raise AppMeshDisconnectedError(f"the connection ended while waiting for {self._app_name}")

    def end(self, exit_code: int) -> None:
        self._sink.end()
        self.exit_code = exit_code
