"""Workers over HTTPS."""

import logging
from typing import Optional, Tuple, Union

from ._core import tls
from ._worker import Worker
from .client_http import AppMeshClient

__all__ = ["AppMeshWorker"]


class AppMeshWorker(Worker):
    """Gets tasks and gives results over HTTPS."""

    def __init__(
        self,
        base_url: str = "https://127.0.0.1:6060",
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = tls.DEFAULT_CERTIFICATE,
        request_timeout: Tuple[float, float] = (60, 300),
        *,
        client: Optional[AppMeshClient] = None,
        logger_: Optional[logging.Logger] = None,
        logger: Optional[logging.Logger] = None,
    ) -> None:
        """client: one to use instead of a new one."""
        made = client or AppMeshClient(base_url, ssl_verify, ssl_client_cert, request_timeout)
        super().__init__(made, logger or logger_)
