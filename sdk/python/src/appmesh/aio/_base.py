"""What every asyncio client is: a session, and a way to carry out calls."""

import asyncio
from typing import Awaitable, Callable, Dict, Optional

from .._base import AGENT, RETRIES, make_headers, with_port
from .._core.message import Flow, Request, Response, T
from .._core.session import Session

Transfer = Callable[[Request, Dict[str, str]], Awaitable[Response]]


class ClientBase:
    """Belongs to one event loop; any number of its tasks may use it at once."""

    _agent = AGENT

    def __init__(self, session: Session, own_port: int) -> None:
        self._session = session
        self._own_port = own_port
        self._renewal: Optional[asyncio.Task[None]] = None

    @property
    def forward_to(self) -> str:
        """"" or the `host:port` of another daemon that shall answer. Without a port this client's own is added."""
        return self._session.forward_to

    @forward_to.setter
    def forward_to(self, target: Optional[str]) -> None:
        self._session.forward_to = with_port(target, self._own_port)

    async def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        raise NotImplementedError

    async def _send(self, request: Request, transfer: Optional[Transfer] = None, target: Optional[str] = None) -> Response:
        transfer = transfer or self._transfer
        token = self._session.token if request.signed else None
        where = self._session.forward_to if target is None else target
        response = await transfer(request, make_headers(request, token, where, self._agent))
        for _ in range(RETRIES):
            token = await self._newer_token(token) if response.status == 401 and token is not None else None
            if token is None:
                break
            response = await transfer(request, make_headers(request, token, where, self._agent))
        return response

    async def _newer_token(self, token: str) -> Optional[str]:
        """A token that replaced this one while a request was on its way: the daemon refuses the old one at once."""
        renewal = self._renewal
        if renewal is not None and renewal is not asyncio.current_task():
            await asyncio.wait([renewal])
        newest = self._session.token
        return newest if newest != token else None

    async def _run(
        self, flow: "Flow[T]", transfer: Optional[Transfer] = None, target: Optional[str] = None
    ) -> T:
        """target: forward there instead of to `forward_to`."""
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._send(request, transfer, target))
        except StopIteration as stop:
            result: T = stop.value
            return result
