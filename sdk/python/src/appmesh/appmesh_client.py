"""The place where very old programs look for the client."""

from .app import App
from .app_output import AppOutput
from .client_http import AppMeshClient

__all__ = ["App", "AppMeshClient", "AppOutput"]
