"""Methods of a client: applications, output, tasks."""

from typing import List, Optional, Tuple, Union

from ._base import ClientBase
from ._core import app_calls as calls
from ._core.session_calls import Duration
from .app import App
from .app_output import AppOutput


class AppMethods(ClientBase):
    """Applications, their output and their tasks."""

    def get_app(self, app_name: str) -> App:
        """One application: its definition and what it does now."""
        return self._run(calls.get(app_name))

    def list_apps(self) -> List[App]:
        """All applications that this user may read."""
        return self._run(calls.list_all())

    def get_app_output(
        self,
        app_name: str,
        stdout_position: int = 0,
        stdout_index: int = 0,
        stdout_maxsize: int = 10240,
        process_uuid: str = "",
        timeout: Duration = 0,
    ) -> AppOutput:
        """A piece of an app's output, from a byte position on. With a timeout it waits that long for news.

        `stdout_index` 0 is the current run, 1 the one before, and so on. A status other than 200 raises nothing: look at
        `status_code`."""
        return self._run(
            calls.output(app_name, stdout_position, stdout_index, stdout_maxsize, process_uuid, timeout)
        )

    def check_app_health(self, app_name: str) -> bool:
        """Whether the app is healthy. Needs no login."""
        return self._run(calls.health(app_name))

    def delete_app(self, app_name: str) -> bool:
        """Stops and forgets an app. False when there is none."""
        return self._run(calls.delete(app_name))

    def enable_app(self, app_name: str) -> None:
        """From now on the app runs when its schedule says so."""
        self._run(calls.control(app_name, "enable"))

    def disable_app(self, app_name: str) -> None:
        """Stops the app; it starts no more until it is enabled."""
        self._run(calls.control(app_name, "disable"))

    def run_app_sync(
        self, app: Union[App, str], max_time: Duration = "P2D", lifecycle: Duration = "P2DT12H"
    ) -> Tuple[Optional[int], str]:
        """Runs something once and waits for its end: (exit code, output). Exit code -N: killed by signal N.

        app: a shell command, or an App; one with nothing but a name runs a copy of that registered app. After
        `max_time` the process is stopped."""
        return self._run(calls.run_sync(app, max_time, lifecycle))

    def run_task(self, app_name: str, data: Union[str, bytes], timeout: Duration = 300) -> str:
        """Gives a task to the worker that runs as this app and returns its answer as text."""
        return self._run(calls.run_task(app_name, data, timeout)).decode("utf-8", "replace")

    def run_task_bytes(self, app_name: str, data: Union[str, bytes], timeout: Duration = 300) -> bytes:
        """As `run_task`, but the answer as the bytes that the worker sent."""
        return self._run(calls.run_task(app_name, data, timeout))

    def cancel_task(self, app_name: str) -> bool:
        """Cancels the task that the app works on. False when there is none."""
        return self._run(calls.cancel_task(app_name))
