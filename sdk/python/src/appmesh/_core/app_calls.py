"""Calls about applications, their output, their runs and their tasks."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..app import App
from ..app_output import AppOutput
from ..exceptions import AppMeshRequestError
from . import duration
from .message import Flow, Request, Response, check, failure, integer_header, json_body, status_of, to_bytes
from .session_calls import Duration, parameters, segment

MAX_TASK_SECONDS = 259_200
MAX_SLOTS = 64
"""Of one worker."""


def _path(app_name: str, tail: str = "") -> str:
    return f"/appmesh/app/{segment(app_name)}{tail}"


def get(app_name: str) -> Flow[App]:
    return App(check((yield Request("GET", _path(app_name)))).json())


def list_all() -> Flow[List[App]]:
    return [App(each) for each in check((yield Request("GET", "/appmesh/applications"))).json()]


class Piece(NamedTuple):
    """An answer of the output route, as bytes."""

    status: int
    data: bytes
    """Output; or, with another status than 200, the reason."""
    next_position: Optional[int]
    exit_code: Optional[int]


def output_bytes(
    app_name: str, position: int, index: int, maxsize: int, process_uuid: str, timeout: Duration
) -> Flow[Piece]:
    wait = duration.seconds(timeout)
    query = parameters(
        stdout_position=position,
        stdout_index=index,
        stdout_maxsize=maxsize,
        process_uuid=process_uuid,
        timeout=wait,
    )
    response = yield Request("GET", _path(app_name, "/output"), query=query, wait=float(wait) if wait > 0 else None)
    if response.status != 200:
        return Piece(response.status, response.message.encode(), None, None)
    # Where the daemon names no next position (nothing there yet), the next read goes on where this one began.
    following = integer_header(response, "X-Output-Position")
    code = integer_header(response, "X-Exit-Code")
    return Piece(response.status, response.body, position if following is None else following, code)


def output(
    app_name: str, position: int, index: int, maxsize: int, process_uuid: str, timeout: Duration
) -> Flow[AppOutput]:
    piece = yield from output_bytes(app_name, position, index, maxsize, process_uuid, timeout)
    text = piece.data.decode("utf-8", "replace")
    return AppOutput(status_of(piece.status), text, piece.next_position, piece.exit_code)


def health(app_name: str) -> Flow[bool]:
    response: Response = yield Request("GET", _path(app_name, "/health"))
    return check(response).text.strip() == "0"


def add(app: App, subscribe_events: Optional[Sequence[str]]) -> Flow[App]:
    query = {"subscribe_events": ",".join(subscribe_events)} if subscribe_events else {}
    request = Request("PUT", _path(app.name or ""), query=query, body=json_body(app.to_dict()))
    return App(check((yield request)).json())


def delete(app_name: str) -> Flow[bool]:
    return check((yield Request("DELETE", _path(app_name))), 404).status == 200


def control(app_name: str, action: str) -> Flow[None]:
    check((yield Request("POST", _path(app_name, f"/{action}"))))


def _on_demand(app: Union[App, str]) -> bytes:
    if isinstance(app, str):
        return json_body({"command": app, "shell": True})
    return json_body(app.to_dict())


def run_async(app: Union[App, str], max_time: Duration, lifecycle: Duration) -> Flow[Tuple[str, str]]:
    query = parameters(timeout=duration.seconds(max_time), lifecycle=duration.seconds(lifecycle))
    answer = check((yield Request("POST", "/appmesh/app/run", query=query, body=_on_demand(app)))).json()
    try:
        return str(answer["name"]), str(answer["process_uuid"])
    except (KeyError, TypeError):
        raise AppMeshRequestError(f"the answer names no run: {answer!r}") from None


def run_sync(app: Union[App, str], max_time: Duration, lifecycle: Duration) -> Flow[Tuple[Optional[int], str]]:
    limit = duration.seconds(max_time)
    query = parameters(timeout=limit, lifecycle=duration.seconds(lifecycle))
    request = Request("POST", "/appmesh/app/syncrun", query=query, body=_on_demand(app), wait=float(limit))
    response = check((yield request))
    return integer_header(response, "X-Exit-Code"), response.text


def run_task(app_name: str, data: Union[str, bytes], timeout: Duration) -> Flow[bytes]:
    limit = duration.seconds(timeout)
    request = Request(
        "POST",
        _path(app_name, "/task"),
        query=parameters(timeout=limit),
        headers={"Content-Type": "application/octet-stream"},
        body=to_bytes(data),
        wait=float(limit if limit > 0 else MAX_TASK_SECONDS),
    )
    return check((yield request)).body


def cancel_task(app_name: str) -> Flow[bool]:
    # 208: there was none.
    return check((yield Request("DELETE", _path(app_name, "/task"))), 208).status == 200


def knows_slots(app_name: str) -> Flow[bool]:
    """A daemon that knows none takes all slots of a worker for one, and would take the result of one for the task of
    another. Who knows slots refuses this one (400) before looking at the key; who does not, the key (412)."""
    query = {"process_key": "none", "slot": str(MAX_SLOTS)}
    response = yield Request("GET", _path(app_name, "/task"), query=query, signed=False)
    if response.status not in (400, 412):
        raise failure(response)
    return response.status == 400


def check_slot(slot: int) -> None:
    if not 0 <= slot < MAX_SLOTS:
        raise ValueError(f"slot: a number from 0 to {MAX_SLOTS - 1}, not {slot}")


def _worker_query(process_key: str, slot: int) -> Dict[str, str]:
    check_slot(slot)
    # Daemons that know no slots have this one.
    return {"process_key": process_key} if slot == 0 else {"process_key": process_key, "slot": str(int(slot))}


def fetch_task(app_name: str, process_key: str, slot: int = 0) -> Flow[Response]:
    request = Request("GET", _path(app_name, "/task"), query=_worker_query(process_key, slot), signed=False)
    response: Response = yield request
    return response


def return_task(app_name: str, process_key: str, result: Union[str, bytes], slot: int = 0) -> Flow[Response]:
    request = Request(
        "PUT",
        _path(app_name, "/task"),
        query=_worker_query(process_key, slot),
        headers={"Content-Type": "application/octet-stream"},
        body=to_bytes(result),
        signed=False,
    )
    response: Response = yield request
    return response


def subscribe(app_name: str, events: Optional[Sequence[str]]) -> Flow[Any]:
    path = "/appmesh/subscribe" if app_name == "*" else _path(app_name, "/subscribe")
    query = {"events": ",".join(events)} if events else {}
    return check((yield Request("POST", path, query=query))).json()


def unsubscribe(subscription_id: str) -> Flow[None]:
    check((yield Request("DELETE", "/appmesh/subscribe", query={"subscription_id": subscription_id})))
