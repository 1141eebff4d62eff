"""What can go wrong. Everything that this package raises on its own account is an `AppMeshError`."""

from typing import Optional

__all__ = [
    "AppMeshAppRemovedError",
    "AppMeshAuthError",
    "AppMeshConnectionError",
    "AppMeshDisconnectedError",
    "AppMeshError",
    "AppMeshProcessSupersededError",
    "AppMeshRequestError",
    "AppMeshRequestTimeoutError",
    "AppMeshTimeoutError",
]


class AppMeshError(Exception):
    """Base of all errors here. `status_code` is the daemon's HTTP status, or None where it gave none."""

    def __init__(self, message: str = "", status_code: Optional[int] = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class AppMeshAuthError(AppMeshError):
    """401 or 403: not logged on, or not allowed to."""


class AppMeshConnectionError(AppMeshError):
    """The connection could not be made, or ended."""


class AppMeshTimeoutError(AppMeshConnectionError):
    """Nothing was received in time on a healthy connection. It is safe to go on."""


class AppMeshRequestError(AppMeshError):
    """The daemon refused a request, or a request could not be carried to it."""


class AppMeshDisconnectedError(AppMeshConnectionError, AppMeshRequestError):
    """The request found no connection, or lost it: whether the daemon has acted on it is unknown."""


class AppMeshRequestTimeoutError(AppMeshTimeoutError, AppMeshRequestError):
    """No answer within the client's own `request_timeout`. The daemon may still act on the request."""


class AppMeshAppRemovedError(AppMeshError):
    """The app was removed while somebody waited for it; there is no exit code."""


class AppMeshProcessSupersededError(AppMeshError):
    """A newer run of the app has taken this worker process's place (412): end, do not ask again."""
