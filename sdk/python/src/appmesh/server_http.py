"""Workers by their older name."""

from .worker_http import AppMeshWorker

__all__ = ["AppMeshServer"]

AppMeshServer = AppMeshWorker
