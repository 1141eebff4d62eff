"""Workers by their older name."""

from .worker_tcp import AppMeshWorkerTCP

__all__ = ["AppMeshServerTCP"]

AppMeshServerTCP = AppMeshWorkerTCP
