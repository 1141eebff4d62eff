"""Workers over a WebSocket."""

import logging
from typing import Optional, Tuple, Union

from ._core import tls
from ._worker import Worker
from .client_wss import AppMeshClientWSS
from .worker_http import AppMeshWorker

__all__ = ["AppMeshWorkerWSS"]


class AppMeshWorkerWSS(AppMeshWorker):
    """Gets tasks and gives results over a WebSocket."""

    def __init__(
        self,
        wss_address: Tuple[str, int] = ("127.0.0.1", 6058),
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        *,
        logger_: Optional[logging.Logger] = None,
        logger: Optional[logging.Logger] = None,
    ) -> None:
        Worker.__init__(self, AppMeshClientWSS(wss_address, ssl_verify, ssl_client_cert), logger or logger_)
