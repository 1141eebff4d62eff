"""The clients as coroutines, on asyncio's own streams: no thread is used anywhere.

The methods are those of the blocking clients, to be awaited:

    async with AppMeshClientTCP() as client:
        await client.login("admin", password)
        run = await client.run_app_async("make test")
        code = await run.wait(print_output_handler)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "AppMeshClient": "client_http",
    "AppMeshClientTCP": "client_tcp",
    "AppMeshClientWSS": "client_wss",
    "AppMeshWorker": "worker",
    "AppMeshWorkerTCP": "worker",
    "AppMeshWorkerWSS": "worker",
    "AppRun": "app_run",
}

__all__ = [
    "AppMeshClient",
    "AppMeshClientTCP",
    "AppMeshClientWSS",
    "AppMeshWorker",
    "AppMeshWorkerTCP",
    "AppMeshWorkerWSS",
    "AppRun",
]

if TYPE_CHECKING:
    from .app_run import AppRun
    from .client_http import AppMeshClient
    from .client_tcp import AppMeshClientTCP
    from .client_wss import AppMeshClientWSS
    from .worker import AppMeshWorker, AppMeshWorkerTCP, AppMeshWorkerWSS


def __getattr__(name: str) -> Any:
    try:
        module = _WHERE[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value
