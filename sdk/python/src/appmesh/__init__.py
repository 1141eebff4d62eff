"""App Mesh: run, schedule, watch and call programs on a host, from anywhere.

`AppMeshClient` talks HTTPS; `AppMeshClientTCP` and `AppMeshClientWSS` keep one connection and receive events;
`AppMeshWorker` is for programs that answer tasks; `appmesh.aio` has the clients as coroutines. Names are imported when they
are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, List

_WHERE = {
    "App": "app",
    "AppEvent": "subscribe",
    "AppMeshAppRemovedError": "exceptions",
    "AppMeshAuthError": "exceptions",
    "AppMeshClient": "client_http",
    "AppMeshClientOAuth": "client_http_oauth",
    "AppMeshClientTCP": "client_tcp",
    "AppMeshClientWSS": "client_wss",
    "AppMeshConnectionError": "exceptions",
    "AppMeshDisconnectedError": "exceptions",
    "AppMeshError": "exceptions",
    "AppMeshProcessSupersededError": "exceptions",
    "AppMeshRequestError": "exceptions",
    "AppMeshRequestTimeoutError": "exceptions",
    "AppMeshServer": "server_http",
    "AppMeshServerTCP": "server_tcp",
    "AppMeshServerWSS": "server_wss",
    "AppMeshTimeoutError": "exceptions",
    "AppMeshWorker": "worker_http",
    "AppMeshWorkerTCP": "worker_tcp",
    "AppMeshWorkerWSS": "worker_wss",
    "AppOutput": "app_output",
    "AppRun": "app_run",
    "OutputHandler": "app_run",
    "RequestMessage": "tcp_messages",
    "ResponseMessage": "tcp_messages",
    "SubscriptionResult": "subscribe",
    "TCPTransport": "tcp_transport",
    "TransportClientMixin": "transport_mixin",
    "WSSTransport": "wss_transport",
    "print_output_handler": "app_run",
}

__all__ = [
    "App",
    "AppEvent",
    "AppMeshAppRemovedError",
    "AppMeshAuthError",
    "AppMeshClient",
    "AppMeshClientOAuth",
    "AppMeshClientTCP",
    "AppMeshClientWSS",
    "AppMeshConnectionError",
    "AppMeshDisconnectedError",
    "AppMeshError",
    "AppMeshProcessSupersededError",
    "AppMeshRequestError",
    "AppMeshRequestTimeoutError",
    "AppMeshServer",
    "AppMeshServerTCP",
    "AppMeshServerWSS",
    "AppMeshTimeoutError",
    "AppMeshWorker",
    "AppMeshWorkerTCP",
    "AppMeshWorkerWSS",
    "AppOutput",
    "AppRun",
    "OutputHandler",
    "RequestMessage",
    "ResponseMessage",
    "SubscriptionResult",
    "TCPTransport",
    "TransportClientMixin",
    "WSSTransport",
    "print_output_handler",
]

if TYPE_CHECKING:
    from .app import App
    from .app_output import AppOutput
    from .app_run import AppRun, OutputHandler, print_output_handler
    from .client_http import AppMeshClient
    from .client_http_oauth import AppMeshClientOAuth
    from .client_tcp import AppMeshClientTCP
    from .client_wss import AppMeshClientWSS
    from .exceptions import (
        AppMeshAppRemovedError,
        AppMeshAuthError,
        AppMeshConnectionError,
        AppMeshDisconnectedError,
        AppMeshError,
        AppMeshProcessSupersededError,
        AppMeshRequestError,
        AppMeshRequestTimeoutError,
        AppMeshTimeoutError,
    )
    from .server_http import AppMeshServer
    from .server_tcp import AppMeshServerTCP
    from .server_wss import AppMeshServerWSS
    from .subscribe import AppEvent, SubscriptionResult
    from .tcp_messages import RequestMessage, ResponseMessage
    from .tcp_transport import TCPTransport
    from .transport_mixin import TransportClientMixin
    from .worker_http import AppMeshWorker
    from .worker_tcp import AppMeshWorkerTCP
    from .worker_wss import AppMeshWorkerWSS
    from .wss_transport import WSSTransport


def __getattr__(name: str) -> Any:
    try:
        module = _WHERE[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *_WHERE})
