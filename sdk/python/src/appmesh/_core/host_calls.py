"""Calls about the host: labels, configuration, users and roles."""

import base64
from typing import Any, Dict, List, Optional, Sequence

from ..exceptions import AppMeshRequestError
from .message import Flow, Request, check, json_body
from .session_calls import segment


def read(path: str) -> Flow[Any]:
    """A route that answers JSON."""
    return check((yield Request("GET", path))).json()


def text(path: str) -> Flow[str]:
    return check((yield Request("GET", path))).text


def act(method: str, path: str, query: Optional[Dict[str, str]] = None, body: Any = None) -> Flow[None]:
    """A route of which only the success matters."""
    check((yield Request(method, path, query=query, body=b"" if body is None else json_body(body))))


def set_config(config: Dict[str, Any]) -> Flow[Dict[str, Any]]:
    result: Dict[str, Any] = check((yield Request("POST", "/appmesh/config", body=json_body(config)))).json()
    return result


def set_log_level(level: str) -> Flow[str]:
    config = yield from set_config({"BaseConfig": {"LogLevel": level}})
    try:
        return str(config["BaseConfig"]["LogLevel"])
    except (KeyError, TypeError):
        raise AppMeshRequestError("the answer names no log level") from None


def user_path(username: str, tail: str = "") -> str:
    return f"/appmesh/user/{segment(username)}{tail}"


def role_path(role_name: str) -> str:
    return f"/appmesh/role/{segment(role_name)}"


def label_path(label_name: str) -> str:
    return f"/appmesh/label/{segment(label_name)}"


def update_password(old_password: str, new_password: str, username: str) -> Flow[None]:
    body = {
        "old_password": base64.b64encode(old_password.encode()).decode(),
        "new_password": base64.b64encode(new_password.encode()).decode(),
    }
    yield from act("POST", user_path(username, "/passwd"), body=body)


def update_role(role_name: str, permission_set: Sequence[str]) -> Flow[None]:
    permissions: List[str] = list(permission_set)
    yield from act("POST", role_path(role_name), body=permissions)
