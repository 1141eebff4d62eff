"""Workers by their older name."""

from .worker_wss import AppMeshWorkerWSS

__all__ = ["AppMeshServerWSS"]

AppMeshServerWSS = AppMeshWorkerWSS
