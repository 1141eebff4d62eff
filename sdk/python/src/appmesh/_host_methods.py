"""Methods of a client: the host, users and roles."""

from typing import Any, Dict, List, Sequence

from ._base import ClientBase
from ._core import host_calls as calls


class HostMethods(ClientBase):
    """The host, its configuration, its users and roles."""

    def get_host_resources(self) -> Dict[str, Any]:
        """What the host has and how much of it is in use."""
        result: Dict[str, Any] = self._run(calls.read("/appmesh/resources"))
        return result

    def get_config(self) -> Dict[str, Any]:
        """The daemon's configuration, without its secrets."""
        result: Dict[str, Any] = self._run(calls.read("/appmesh/config"))
        return result

    def set_config(self, config: Dict[str, Any]) -> Dict[str, Any]:
        """Merges this into the configuration and returns all of it."""
        return self._run(calls.set_config(config))

    def set_log_level(self, level: str = "DEBUG") -> str:
        """DEBUG, INFO, NOTICE, WARN or ERROR; returns the one that is in force."""
        return self._run(calls.set_log_level(level))

    def get_metrics(self) -> str:
        """Metrics in the text format of Prometheus."""
        return self._run(calls.text("/appmesh/metrics"))

    def add_label(self, label_name: str, label_value: str) -> None:
        """Sets a label of this host."""
        self._run(calls.act("PUT", calls.label_path(label_name), query={"value": label_value}))

    def delete_label(self, label_name: str) -> None:
        """Removes a label, if there is one."""
        self._run(calls.act("DELETE", calls.label_path(label_name)))

    def list_labels(self) -> Dict[str, str]:
        """All labels of this host."""
        result: Dict[str, str] = self._run(calls.read("/appmesh/labels"))
        return result

    def update_password(self, old_password: str, new_password: str, username: str = "self") -> None:
        """Changes a password. All tokens of that user end."""
        self._run(calls.update_password(old_password, new_password, username))

    def add_user(self, username: str, user_data: Dict[str, Any]) -> None:
        """Adds or replaces a user: `key` (password), `roles`, `group`, `exec_user`, `email`, …"""
        self._run(calls.act("PUT", calls.user_path(username), body=user_data))

    def delete_user(self, username: str) -> None:
        """Removes a user."""
        self._run(calls.act("DELETE", calls.user_path(username)))

    def lock_user(self, username: str) -> None:
        """The user cannot log on, and existing tokens count no more."""
        self._run(calls.act("POST", calls.user_path(username, "/lock")))

    def unlock_user(self, username: str) -> None:
        """Undoes `lock_user`."""
        self._run(calls.act("POST", calls.user_path(username, "/unlock")))

    def list_users(self) -> Dict[str, Any]:
        """All users by name."""
        result: Dict[str, Any] = self._run(calls.read("/appmesh/users"))
        return result

    def get_current_user(self) -> Dict[str, Any]:
        """Who is logged on here."""
        result: Dict[str, Any] = self._run(calls.read("/appmesh/user/self"))
        return result

    def list_groups(self) -> List[str]:
        """The groups of all users."""
        result: List[str] = self._run(calls.read("/appmesh/user/groups"))
        return result

    def list_permissions(self) -> List[str]:
        """All permissions there are."""
        result: List[str] = self._run(calls.read("/appmesh/permissions"))
        return result

    def get_user_permissions(self) -> List[str]:
        """The permissions of who is logged on here."""
        result: List[str] = self._run(calls.read("/appmesh/user/permissions"))
        return result

    def list_roles(self) -> Dict[str, List[str]]:
        """All roles, with their permissions."""
        result: Dict[str, List[str]] = self._run(calls.read("/appmesh/roles"))
        return result

    def update_role(self, role_name: str, permission_set: Sequence[str]) -> None:
        """Adds or replaces a role."""
        self._run(calls.update_role(role_name, permission_set))

    def delete_role(self, role_name: str) -> None:
        """Removes a role, if there is one."""
        self._run(calls.act("DELETE", calls.role_path(role_name)))
