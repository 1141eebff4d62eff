"""The worker side of tasks, as coroutines."""

import asyncio
import logging
import time
from typing import Optional, Tuple, Union

from .._core import app_calls, tls
from .._core.message import failure
from .._worker import RETRY_SECONDS, NoSlotsError, check_superseded, identity, taken
from ..exceptions import AppMeshError, AppMeshProcessSupersededError
from .client_http import AppMeshClient
from .client_tcp import AppMeshClientTCP
from .client_wss import AppMeshClientWSS

__all__ = ["AppMeshWorker", "AppMeshWorkerTCP", "AppMeshWorkerWSS"]

logger = logging.getLogger("appmesh")


class AppMeshWorker:
    """Gets tasks and gives results, over HTTPS unless another client is given.

    A worker has 64 slots. Each is a worker to itself: one fetch, one task in hand, one result. Coroutines may use the
    slots of one worker beside each other, each coroutine its own."""

    def __init__(
        self,
        base_url: str = "https://127.0.0.1:6060",
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = tls.DEFAULT_CERTIFICATE,
        request_timeout: Tuple[float, float] = (60, 300),
        *,
        client: Optional[AppMeshClient] = None,
    ) -> None:
        identity()
        self._client = client or AppMeshClient(base_url, ssl_verify, ssl_client_cert, request_timeout)
        self._slots_known = False

    async def fetch_task(self, *, slot: int = 0) -> bytes:
        """Waits for the next task and returns its payload; failures are tried again, at least 100 ms apart. slot: 0 to
        63, which the task comes to, and comes again to until it is answered; else `ValueError`. With a daemon too old to
        know slots, any but 0 raises `AppMeshError`. When a newer process has taken this one's place:
        `AppMeshProcessSupersededError`."""
        app_calls.check_slot(slot)
        name, key = identity()
        while True:
            began = time.monotonic()
            try:
                if slot != 0 and not self._slots_known:
                    if not await self._client._run(app_calls.knows_slots(name)):
                        raise NoSlotsError
                    self._slots_known = True
                response = await self._client._run(app_calls.fetch_task(name, key, slot))
                if response.status == 200:
                    return response.body
                check_superseded(response)
                problem = str(failure(response))
            except (AppMeshProcessSupersededError, NoSlotsError):
                raise
            except AppMeshError as error:
                problem = str(error)
            logger.warning("could not fetch a task, trying again: %s", problem)
            await asyncio.sleep(max(0.0, RETRY_SECONDS - (time.monotonic() - began)))

    async def send_task_result(self, result: Union[str, bytes], *, slot: int = 0) -> None:
        """Gives the result of the task that the slot fetched last, as it is, to whoever waits for it."""
        name, key = identity()
        response = await self._client._run(app_calls.return_task(name, key, result, slot))
        taken(response)

    async def task_fetch(self) -> bytes:
        """The same as `fetch_task`, by its older name."""
        return await self.fetch_task()

    async def task_return(self, result: Union[str, bytes]) -> None:
        """The same as `send_task_result`, by its older name."""
        await self.send_task_result(result)

    async def close(self) -> None:
        """Ends the connection."""
        await self._client.close()


class AppMeshWorkerTCP(AppMeshWorker):
    """Gets tasks and gives results over TCP."""

    def __init__(
        self,
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        tcp_address: Tuple[str, int] = ("127.0.0.1", 6059),
    ) -> None:
        super().__init__(client=AppMeshClientTCP(tcp_address, ssl_verify, ssl_client_cert))


class AppMeshWorkerWSS(AppMeshWorker):
    """Gets tasks and gives results over a WebSocket."""

    def __init__(
        self,
        wss_address: Tuple[str, int] = ("127.0.0.1", 6058),
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
    ) -> None:
        super().__init__(client=AppMeshClientWSS(wss_address, ssl_verify, ssl_client_cert))
