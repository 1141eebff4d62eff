"""What every blocking client is: a session, and a way to carry out calls."""

import threading
from typing import Callable, Dict, Optional

from ._core.message import Flow, Request, Response, T, split_address
from ._core.session import Session

AGENT = "appmesh/python"
RETRIES = 10

Transfer = Callable[[Request, Dict[str, str]], Response]


class ClientBase:
    """Safe to use from several threads at once, but for `forward_to`, which counts for all of them."""

    _agent = AGENT

    def __init__(self, session: Session, own_port: int) -> None:
        self._session = session
        self._own_port = own_port
        self._renewing = threading.RLock()

    @property
    def forward_to(self) -> str:
        """"" or the `host:port` of another daemon that shall answer. Without a port this client's own is added."""
        return self._session.forward_to

    @forward_to.setter
    def forward_to(self, target: Optional[str]) -> None:
        self._session.forward_to = with_port(target, self._own_port)

    def _transfer(self, request: Request, headers: Dict[str, str]) -> Response:
        """Sends one request and returns its answer, whatever the status."""
        raise NotImplementedError

    def _send(self, request: Request, transfer: Optional[Transfer] = None) -> Response:
        transfer = transfer or self._transfer
        token = self._session.token if request.signed else None
        response = transfer(request, self._headers(request, token))
        # As often as the token is another one by now; a limit, in case somebody renews in a circle.
        for _ in range(RETRIES):
            token = self._newer_token(token) if response.status == 401 and token is not None else None
            if token is None:
                break
            response = transfer(request, self._headers(request, token))
        return response

    def _newer_token(self, token: str) -> Optional[str]:
        """A token that replaced this one while a request was on its way: the daemon refuses the old one at once."""
        with self._renewing:
            newest = self._session.token
        return newest if newest != token else None

    def _headers(self, request: Request, token: Optional[str]) -> Dict[str, str]:
        return make_headers(request, token, self._session.forward_to, self._agent)

    def _run(self, flow: "Flow[T]", transfer: Optional[Transfer] = None) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(self._send(request, transfer))
        except StopIteration as stop:
            result: T = stop.value
            return result


def make_headers(request: Request, token: Optional[str], forward_to: str, agent: str) -> Dict[str, str]:
    headers = {"User-Agent": agent}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if forward_to:
        headers["X-Target-Host"] = forward_to
    if request.body:
        headers["Content-Type"] = "application/json"
    headers.update(request.headers)
    return headers


def with_port(target: Optional[str], port: int) -> str:
    if not target:
        return ""
    host, own = split_address(target)
    if own is not None:
        return target
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


