"""Workers over TCP."""

import logging
from typing import Optional, Tuple, Union

from ._core import tls
from ._worker import Worker
from .client_tcp import AppMeshClientTCP
from .worker_http import AppMeshWorker

__all__ = ["AppMeshWorkerTCP"]


class AppMeshWorkerTCP(AppMeshWorker):
    """Gets tasks and gives results over TCP: the fastest way."""

    def __init__(
        self,
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        tcp_address: Tuple[str, int] = ("127.0.0.1", 6059),
        *,
        logger_: Optional[logging.Logger] = None,
        logger: Optional[logging.Logger] = None,
    ) -> None:
        Worker.__init__(self, AppMeshClientTCP(tcp_address, ssl_verify, ssl_client_cert), logger or logger_)
