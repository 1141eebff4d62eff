"""Made by tools/make_aio.py from _app_methods.py. Coroutines of a client: applications, output, tasks."""

from typing import List, Optional, Tuple, Union

from .._core import app_calls as calls
from .._core.session_calls import Duration
from ..app import App
from ..app_output import AppOutput
from ._base import ClientBase


class AppMethods(ClientBase):
    """Applications, their output and their tasks."""

    async def get_app(self, app_name: str) -> App:
        """One application: its definition and what it does now."""
        return await self._run(calls.get(app_name))

    async def list_apps(self) -> List[App]:
        """All applications that this user may read."""
        return await self._run(calls.list_all())

    async def get_app_output(
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
        return await self._run(
            calls.output(app_name, stdout_position, stdout_index, stdout_maxsize, process_uuid, timeout)
        )

    async def check_app_health(self, app_name: str) -> bool:
        """Whether the app is healthy. Needs no login."""
        return await self._run(calls.health(app_name))

    async def delete_app(self, app_name: str) -> bool:
        """Stops and forgets an app. False when there is none."""
        return await self._run(calls.delete(app_name))

    async def enable_app(self, app_name: str) -> None:
        """From now on the app runs when its schedule says so."""
        await self._run(calls.control(app_name, "enable"))

    async def disable_app(self, app_name: str) -> None:
        """Stops the app; it starts no more until it is enabled."""
        await self._run(calls.control(app_name, "disable"))

    async def run_app_sync(
        self, app: Union[App, str], max_time: Duration = "P2D", lifecycle: Duration = "P2DT12H"
    ) -> Tuple[Optional[int], str]:
        """Runs something once and waits for its end: (exit code, output). Exit code -N: killed by signal N.

        app: a shell command, or an App; one with nothing but a name runs a copy of that registered app. After
        `max_time` the process is stopped."""
        return await self._run(calls.run_sync(app, max_time, lifecycle))

    async def run_task(self, app_name: str, data: Union[str, bytes], timeout: Duration = 300) -> str:
        """Gives a task to the worker that runs as this app and returns its answer as text."""
        return (await self._run(calls.run_task(app_name, data, timeout))).decode("utf-8", "replace")

    async def run_task_bytes(self, app_name: str, data: Union[str, bytes], timeout: Duration = 300) -> bytes:
        """As `run_task`, but the answer as the bytes that the worker sent."""
        return await self._run(calls.run_task(app_name, data, timeout))

    async def cancel_task(self, app_name: str) -> bool:
        """Cancels the task that the app works on. False when there is none."""
        return await self._run(calls.cancel_task(app_name))
