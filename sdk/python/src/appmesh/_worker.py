"""The worker side of tasks: what a program that the daemon runs uses to get work and give it back."""

import logging
import os
import threading
import time
from typing import Optional, Tuple, Union

from ._core import app_calls
from ._core.message import Response, failure
from .client_http import AppMeshClient
from .exceptions import AppMeshError, AppMeshProcessSupersededError

RETRY_SECONDS = 0.1

logger = logging.getLogger("appmesh")


def identity() -> Tuple[str, str]:
    """The app that this process runs as, and the key of this run."""
    # APP_MESH_PROCESS_ID is what old daemons call it.
    key = os.environ.get("APP_MESH_PROCESS_KEY") or os.environ.get("APP_MESH_PROCESS_ID")
    name = os.environ.get("APP_MESH_APPLICATION_NAME")
    if not key:
        raise AppMeshError("APP_MESH_PROCESS_KEY is not set: a worker has to be started by App Mesh")
    if not name:
        raise AppMeshError("APP_MESH_APPLICATION_NAME is not set: a worker has to be started by App Mesh")
    return name, key


class NoSlotsError(AppMeshError):
    """The daemon is an older one."""

    def __init__(self) -> None:
        super().__init__("the daemon knows no slots: use slot 0 alone")


def check_superseded(response: Response) -> None:
    if response.status == 412:
        raise AppMeshProcessSupersededError(f"this process was superseded: {response.message}", 412)


def taken(response: Response) -> None:
    """Looks at the answer to a result."""
    if response.status == 417:
        # The caller's time-out must not end a worker that serves others.
        logger.warning("nobody waits for the result any more: %s", response.message)
    elif response.status != 200:
        check_superseded(response)
        raise failure(response)


class Worker:
    """Needs no login: the key of this very process, which the daemon put into its environment, is the permission.

    A worker has 64 slots. Each is a worker to itself: one fetch, one task in hand, one result. Threads may use the slots
    of one worker beside each other, each thread its own."""

    def __init__(self, client: AppMeshClient, log: Optional[logging.Logger]) -> None:
        self._client = client
        self._logger = log or logger
        self._slots_known = False
        identity()

    def fetch_task(
        self,
        *,
        stop_event: Optional[threading.Event] = None,
        max_retries: Optional[int] = None,
        slot: int = 0,
    ) -> bytes:
        """Waits for the next task and returns its payload. A failure (the daemon is restarting, say) is tried again, for
        ever and at least 100 ms apart.

        stop_event: give up when it is set. max_retries: so many tries after the first. Both then raise `AppMeshError`.
        slot: 0 to 63, which the task comes to, and comes again to until it is answered; else `ValueError`. With a daemon
        too old to know slots, any but 0 raises `AppMeshError`.
        When a newer process has taken this one's place: `AppMeshProcessSupersededError`."""
        app_calls.check_slot(slot)
        name, key = identity()
        tries = 0
        while True:
            began = time.monotonic()
            if stop_event is not None and stop_event.is_set():
                raise AppMeshError("stopped while waiting for a task")
            try:
                if slot != 0 and not self._slots_known:
                    if not self._client._run(app_calls.knows_slots(name)):
                        raise NoSlotsError
                    self._slots_known = True
                response = self._client._run(app_calls.fetch_task(name, key, slot))
                if response.status == 200:
                    return response.body
                check_superseded(response)
                problem = str(failure(response))
            except (AppMeshProcessSupersededError, NoSlotsError):
                raise
            except AppMeshError as error:
                problem = str(error)
            tries += 1
            if max_retries is not None and tries > max_retries:
                raise AppMeshError(f"no task: {problem}")
            self._logger.warning("could not fetch a task, trying again: %s", problem)
            left = RETRY_SECONDS - (time.monotonic() - began)
            if left > 0:
                (stop_event or threading.Event()).wait(left)

    def send_task_result(self, result: Union[str, bytes], *, slot: int = 0) -> None:
        """Gives the result of the task that the slot fetched last, as it is, to whoever waits for it. Where nobody does
        any more it is dropped."""
        name, key = identity()
        response = self._client._run(app_calls.return_task(name, key, result, slot))
        taken(response)

    def task_fetch(self) -> Union[str, bytes]:
        """The same as `fetch_task`, by its older name."""
        return self.fetch_task()

    def task_return(self, result: Union[str, bytes]) -> None:
        """The same as `send_task_result`, by its older name."""
        self.send_task_result(result)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()
