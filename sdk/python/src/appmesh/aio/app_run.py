"""A run that was started on demand."""

import contextlib
from typing import Iterator, Optional, Protocol

from ..app_run import OutputHandler

__all__ = ["AppRun"]


class _Waiter(Protocol):
    forward_to: str

    async def _wait_run(
        self, run: "AppRun", handler: Optional[OutputHandler], timeout: float, target: str
    ) -> Optional[int]: ...


class AppRun:
    """What `run_app_async` returns: one run of one program."""

    def __init__(self, client: _Waiter, app_name: str, process_id: str) -> None:
        self.app_name = app_name
        self.proc_uid = process_id
        self._client = client
        self._forward_to = client.forward_to

    @contextlib.contextmanager
    def forward_to(self) -> Iterator[None]:
        """For the body of a `with`, the client forwards to where it did when the run was started. That counts for every
        task that uses the client."""
        before = self._client.forward_to
        self._client.forward_to = self._forward_to
        try:
            yield
        finally:
            self._client.forward_to = before

    async def wait(self, stdout_handler: Optional[OutputHandler] = None, timeout: float = 0) -> Optional[int]:
        """Waits for the end of the run, at most `timeout` seconds (0: for ever), and returns its exit code or None.

        After a real exit the temporary app is removed. A removal by somebody else raises `AppMeshAppRemovedError`."""
        return await self._client._wait_run(self, stdout_handler, timeout, self._forward_to)

    def __repr__(self) -> str:
        return f"AppRun(app_name={self.app_name!r}, proc_uid={self.proc_uid!r})"
