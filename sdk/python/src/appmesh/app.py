"""The definition of an application, and what the daemon tells about it."""

import json
from datetime import datetime
from enum import Enum, unique
from typing import Any, Dict, Mapping, Optional, Union

__all__ = ["App"]


def _text(data: Mapping[str, Any], key: str) -> Optional[str]:
    value = data.get(key)
    return None if value is None else str(value)


def _integer(data: Mapping[str, Any], key: str) -> Optional[int]:
    value = data.get(key)
    if value is None or value == "":
        return None
    return int(value)


def _number(data: Mapping[str, Any], key: str) -> Optional[float]:
    value = data.get(key)
    if value is None or value == "":
        return None
    return value if isinstance(value, (int, float)) else float(value)


def _flag(data: Mapping[str, Any], key: str) -> Optional[bool]:
    value = data.get(key)
    return None if value is None else bool(value)


def _mapping(data: Mapping[str, Any], key: str) -> Dict[str, Any]:
    value = data.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    """JSON-ready, without empty members at any depth."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (App, App.Behavior, App.DailyLimitation, App.ResourceLimitation)):
        value = vars(value)
    if isinstance(value, Mapping):
        members = {str(key): _plain(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in ("", None, {}, [])}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value


class App:
    """An application: set the fields that matter and give it to a client. A field that is None is left to the daemon.

    What a client returns is an `App` too, with the runtime fields (`pid`, `return_code`, `starts`, …) filled in.
    """

    @unique
    class Permission(Enum):
        """What users other than the owner may do with an app."""

        DENY = "1"
        READ = "2"
        WRITE = "3"

    class Behavior:
        """What the daemon does when the program ends."""

        @unique
        class Action(Enum):
            """What to do after an exit."""

            KEEPALIVE = "keepalive"
            REMOVE = "remove"
            RESTART = "restart"
            STANDBY = "standby"

        def __init__(self, data: Union[Dict[str, Any], str, None] = None) -> None:
            fields = _fields(data)
            self.exit: Optional[str] = _text(fields, "exit")
            """What to do after an exit that `control` does not name."""
            self.control: Dict[str, str] = {
                str(code): str(action) for code, action in _mapping(fields, "control").items()
            }
            """What to do after one exit code."""

        def set_exit_behavior(self, action: "App.Behavior.Action") -> None:
            """After any exit, do this."""
            self.exit = App.Behavior.Action(action).value

        def set_control_behavior(self, control_code: int, action: "App.Behavior.Action") -> None:
            """After this exit code, do this."""
            self.control[str(control_code)] = App.Behavior.Action(action).value

    class DailyLimitation:
        """The part of a day in which the app may run."""

        def __init__(self, data: Union[Dict[str, Any], str, None] = None) -> None:
            fields = _fields(data)
            self.daily_start: Optional[int] = _integer(fields, "daily_start")
            """First second of the window, as a time of day or an epoch time of which the day is ignored."""
            self.daily_end: Optional[int] = _integer(fields, "daily_end")
            """First second after the window."""

        def set_daily_range(self, start: datetime, end: datetime) -> None:
            """From one time of day to another; the dates do not matter. An end before the start is the next day."""
            self.daily_start = int(start.timestamp())
            self.daily_end = int(end.timestamp())

    class ResourceLimitation:
        """What a run may use."""

        def __init__(self, data: Union[Dict[str, Any], str, None] = None) -> None:
            fields = _fields(data)
            self.cpu_shares: Optional[int] = _integer(fields, "cpu_shares")
            """Relative weight, 2 to 262144; 1024 is everybody's."""
            self.memory_mb: Optional[int] = _integer(fields, "memory_mb")
            """Memory, in MiB."""
            self.memory_virt_mb: Optional[int] = _integer(fields, "memory_virt_mb")
            """Memory and swap together, in MiB."""

    def __init__(self, data: Union[Dict[str, Any], str, None] = None) -> None:
        """data: the daemon's JSON of an app, as text or parsed. Members that are not known are ignored."""
        fields = _fields(data)
        # What a user sets.
        self.name: Optional[str] = _text(fields, "name")
        self.command: Optional[str] = _text(fields, "command")
        self.shell: Optional[bool] = _flag(fields, "shell")
        self.session_login: Optional[bool] = _flag(fields, "session_login")
        self.description: Optional[str] = _text(fields, "description")
        self.metadata: Any = fields.get("metadata")
        self.working_dir: Optional[str] = _text(fields, "working_dir")
        self.status: Optional[int] = _integer(fields, "status")
        self.docker_image: Optional[str] = _text(fields, "docker_image")
        self.stdout_cache_num: Optional[int] = _integer(fields, "stdout_cache_num")
        self.stdout_cache_size: Optional[int] = _integer(fields, "stdout_cache_size")
        self.start_time: Optional[int] = _integer(fields, "start_time")
        self.end_time: Optional[int] = _integer(fields, "end_time")
        self.start_interval_seconds: Union[int, str, None] = fields.get("start_interval_seconds")
        self.cron: Optional[bool] = _flag(fields, "cron")
        self.retention: Union[int, str, None] = fields.get("retention")
        self.health_check_cmd: Optional[str] = _text(fields, "health_check_cmd")
        self.permission: Optional[int] = _integer(fields, "permission")
        self.env: Optional[Dict[str, str]] = _mapping(fields, "env") or None
        self.sec_env: Optional[Dict[str, str]] = _mapping(fields, "sec_env") or None
        self.behavior: App.Behavior = App.Behavior(fields.get("behavior"))
        self.daily_limitation: App.DailyLimitation = App.DailyLimitation(fields.get("daily_limitation"))
        self.resource_limit: App.ResourceLimitation = App.ResourceLimitation(fields.get("resource_limit"))
        self.pid: Optional[int] = _integer(fields, "pid")
        self.version: Optional[int] = _integer(fields, "version")
        # What the daemon tells.
        self.user: Optional[str] = _text(fields, "pid_user" if "pid_user" in fields else "user")
        self.owner: Optional[str] = _text(fields, "owner")
        self.pstree: Optional[str] = _text(fields, "pstree")
        self.container_id: Optional[str] = _text(fields, "container_id")
        self.memory: Optional[int] = _integer(fields, "memory")
        self.cpu: Optional[float] = _number(fields, "cpu")
        self.fd: Optional[int] = _integer(fields, "fd")
        self.health: Optional[int] = _integer(fields, "health")
        self.return_code: Optional[int] = _integer(fields, "return_code")
        self.starts: Optional[int] = _integer(fields, "starts")
        self.register_time: Optional[int] = _integer(fields, "register_time")
        self.last_start_time: Optional[int] = _integer(fields, "last_start_time")
        self.last_exit_time: Optional[int] = _integer(fields, "last_exit_time")
        self.next_start_time: Optional[int] = _integer(fields, "next_start_time")
        self.last_error: Optional[str] = _text(fields, "last_error")
        self.task_id: Optional[int] = _integer(fields, "task_id")
        self.task_status: Optional[str] = _text(fields, "task_status")
        self.subscription_id: Optional[str] = _text(fields, "subscription_id")

    def set_valid_time(self, start: Optional[datetime], end: Optional[datetime]) -> None:
        """The app runs from `start` on and until `end`; None leaves that side open."""
        self.start_time = int(start.timestamp()) if start else None
        self.end_time = int(end.timestamp()) if end else None

    def set_env(self, key: str, value: str, secure: bool = False) -> None:
        """An environment variable of the program. A secure one is stored encrypted and never given out again."""
        if secure:
            self.sec_env = {**(self.sec_env or {}), key: value}
        else:
            self.env = {**(self.env or {}), key: value}

    def set_permission(self, group_user: "App.Permission", others_user: "App.Permission") -> None:
        """What users of the owner's group may do, and what all others may."""
        self.permission = int(App.Permission(others_user).value + App.Permission(group_user).value)

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready; empty members are left out, at every depth."""
        result: Dict[str, Any] = _plain(self)
        return result

    def __str__(self) -> str:
        return json.dumps(self.to_dict())

    def __repr__(self) -> str:
        return f"App({self.to_dict()!r})"


def _fields(data: Union[Mapping[str, Any], str, None]) -> Mapping[str, Any]:
    if isinstance(data, str):
        data = json.loads(data) if data else None
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise TypeError(f"expected a JSON object, got {type(data).__name__}")
    return data
