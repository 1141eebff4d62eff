"""Events that the daemon sends unasked."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List

__all__ = ["EVENT_TYPE_DISCONNECTED", "EVENT_URI", "AppEvent", "EventCallback", "SubscriptionResult"]

EVENT_URI = "/appmesh/event"
EVENT_TYPE_DISCONNECTED = "__disconnected__"
"""The type of the event that each callback gets when the connection ends."""


@dataclass
class AppEvent:
    """One event. `event_type` is START, EXIT, STDOUT, HEALTH, STATUS, REMOVED or `__disconnected__`."""

    subscription_id: str = ""
    event_type: str = ""
    app_name: str = ""
    timestamp: int = 0
    sequence: int = 0
    data: Dict[str, Any] = field(default_factory=dict)


@dataclass
class SubscriptionResult:
    """What was subscribed to."""

    subscription_id: str = ""
    app_name: str = ""
    events: List[str] = field(default_factory=list)


EventCallback = Callable[[AppEvent], None]
