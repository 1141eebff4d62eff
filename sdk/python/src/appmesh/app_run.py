"""A run that was started on demand."""

import contextlib
import sys
from typing import Callable, Iterator, Optional, Protocol

__all__ = ["AppRun", "OutputHandler", "print_output_handler"]

OutputHandler = Callable[[str, int], None]
"""Takes a piece of output and the byte position where it begins."""


def print_output_handler(data: str, position: int) -> None:
    """Prints output as it is, without a newline of its own."""
    sys.stdout.write(data)
    sys.stdout.flush()


class _Waiter(Protocol):
    forward_to: str

    def _wait_run(self, run: "AppRun", handler: Optional[OutputHandler], timeout: float) -> Optional[int]: ...


class AppRun:
    """What `run_app_async` returns: one run of one program."""

    def __init__(self, client: _Waiter, app_name: str, process_id: str) -> None:
        self.app_name = app_name
        self.proc_uid = process_id
        self._client = client
        self._forward_to = client.forward_to

    @contextlib.contextmanager
    def forward_to(self) -> Iterator[None]:
        """For the body of a `with`, the client forwards to where it did when the run was started."""
        before = self._client.forward_to
        self._client.forward_to = self._forward_to
        try:
            yield
        finally:
            self._client.forward_to = before

    def wait(self, stdout_handler: Optional[OutputHandler] = None, timeout: float = 0) -> Optional[int]:
        """Waits for the end of the run, at most `timeout` seconds (0: for ever), and returns its exit code or None.

        After a real exit the temporary app is removed. A removal by somebody else raises `AppMeshAppRemovedError`."""
        with self.forward_to():
            return self._client._wait_run(self, stdout_handler, timeout)

    def __repr__(self) -> str:
        return f"AppRun(app_name={self.app_name!r}, proc_uid={self.proc_uid!r})"
