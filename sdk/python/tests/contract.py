#!/usr/bin/env python3
"""The scenarios of sdk/CONTRACT.md for the Python SDK. The same program serves `sdk/contract_tests` and pytest.

  contract.py --list
  contract.py HOST HTTPS_PORT,TCP_PORT,WSS_PORT SCENARIO TRANSPORT
  contract.py --worker TRANSPORT HOST PORT    an app of the daemon that serves four slots, for scenario 13
"""

import hashlib
import os
import pathlib
import secrets
import shlex
import socket
import stat
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import appmesh
from appmesh import App, AppMeshClient, AppMeshClientTCP, AppMeshClientWSS
from appmesh._core.message import Request

NOT_APPLICABLE = 77
EVERYWHERE = ("https", "tcp", "wss")
LASTING = ("tcp", "wss")


class Place(NamedTuple):
    """Where the daemon is, and who may log on."""

    host: str
    ports: Tuple[int, int, int]
    ca_file: str
    user: str
    password: str
    scratch: pathlib.Path

    def port(self, transport: str) -> int:
        return self.ports[EVERYWHERE.index(transport)]

    def client(self, transport: str, port: Optional[int] = None, login: bool = True, **options: Any) -> Any:
        address = (self.host, port or self.port(transport))
        made: Any
        if transport == "https":
            made = AppMeshClient(f"https://{address[0]}:{address[1]}", self.ca_file, None, **options)
        elif transport == "tcp":
            made = AppMeshClientTCP(address, self.ca_file, **options)
        else:
            made = AppMeshClientWSS(address, self.ca_file, **options)
        if login:
            assert made.login(self.user, self.password) is None
        return made

    def worker(self, transport: str, port: Optional[int] = None) -> Any:
        return make_worker(transport, self.host, port or self.port(transport), self.ca_file)


def make_worker(transport: str, host: str, port: int, ca_file: str) -> Any:
    if transport == "https":
        return appmesh.AppMeshWorker(f"https://{host}:{port}", ca_file, None)
    if transport == "tcp":
        return appmesh.AppMeshWorkerTCP(ca_file, None, (host, port))
    return appmesh.AppMeshWorkerWSS((host, port), ca_file)


SCENARIOS: Dict[int, Tuple[Callable[[Place, str], None], Tuple[str, ...]]] = {}


def scenario(number: int, transports: Tuple[str, ...] = EVERYWHERE) -> Callable[[Any], Any]:
    def keep(function: Any) -> Any:
        SCENARIOS[number] = (function, transports)
        return function

    return keep


def fresh(prefix: str) -> str:
    return f"contract-{prefix}-{secrets.token_hex(4)}"


def eventually(check: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.01)


class Relay:
    """Carries bytes between one client and the real daemon until it is cut."""

    def __init__(self, target: Tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: List[socket.socket] = []
        self._lock = threading.Lock()
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._pairs += [near, far]
                if self._cut:
                    self._close()
                    return
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass

    def _close(self) -> None:
        for each in self._pairs:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._pairs = []

    def drop(self) -> None:
        """Ends the connections that there are; new ones come through."""
        with self._lock:
            self._close()

    def cut(self) -> None:
        """For good."""
        with self._lock:
            self._cut = True
            self._listener.close()
            self._close()


@scenario(1)
def slow_request(place: Place, transport: str) -> None:
    """A request that takes longer than the receive time-out is answered all the same."""
    appmesh.TCPTransport.TCP_MESSAGE_TIMEOUT = 0.3
    appmesh.WSSTransport.WSS_MESSAGE_TIMEOUT = 0.3  # type: ignore[assignment]
    options = {"request_timeout": (60, 0.3)} if transport == "https" else {}
    try:
        with place.client(transport, login=False, **options) as client:
            # Hashing a password may itself take longer than that.
            with place.client("https") as patient:
                client.set_token(patient._session.token)
            assert client.run_app_sync("sleep 1.5; echo done", max_time=60) == (0, "done\n")
            assert client.get_user_permissions()
    finally:
        appmesh.TCPTransport.TCP_MESSAGE_TIMEOUT = None
        appmesh.WSSTransport.WSS_MESSAGE_TIMEOUT = 60


@scenario(2)
def disconnect_while_waiting(place: Place, transport: str) -> None:
    """A connection that ends in the middle of a wait is a typed error, and the run is left alone."""
    relay = Relay((place.host, place.port(transport)))
    with place.client("https") as other, place.client(transport, port=relay.port) as client:
        run = client.run_app_async("echo here; sleep 1000", max_time=120)
        try:
            run.wait(lambda text, position: relay.cut(), timeout=60)
        except appmesh.AppMeshDisconnectedError:
            pass
        else:
            raise AssertionError("the wait did not notice")
        assert other.get_app(run.app_name).pid, "the run was not left alone"
        assert other.delete_app(run.app_name)


@scenario(3)
def callers_time_out(place: Place, transport: str) -> None:
    """The caller's time-out ends the wait, not the run; a later wait gets the exit code."""
    go = place.scratch / fresh("go")
    with place.client(transport) as client:
        run = client.run_app_async(f"echo one; until [ -e {go} ]; do sleep 0.05; done; echo two; exit 4", max_time=120)
        seen: List[str] = []
        assert run.wait(lambda text, position: seen.append(text), timeout=1) is None
        assert client.get_app(run.app_name).pid, "the run did not live on"
        go.touch()
        again: List[str] = []
        assert run.wait(lambda text, position: again.append(text), timeout=60) == 4
        assert "".join(seen) == "one\n", seen
        assert "".join(again) == "one\ntwo\n", again


@scenario(4, LASTING)
def atomic_subscription(place: Place, transport: str) -> None:
    """With a subscription made by the registration no event of the fastest app is missed."""
    with place.client(transport) as client:
        for turn in range(10):
            name = fresh(f"fast{turn}")
            seen: List[appmesh.AppEvent] = []
            app = client.add_app(
                App({"name": name, "command": "echo quick"}), ["START", "STDOUT", "EXIT"], callback=seen.append
            )
            assert app.subscription_id
            eventually(lambda seen=seen: any(event.event_type == "EXIT" for event in seen), "its EXIT")
            kinds = [event.event_type for event in seen]
            assert kinds[0] == "START" and kinds[-1] == "EXIT" and set(kinds[1:-1]) == {"STDOUT"}, kinds
            assert "".join(event.data["output"] for event in seen if event.event_type == "STDOUT") == "quick\n"
            assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})
            client.delete_app(name)


@scenario(5, LASTING)
def flood_for_nobody(place: Place, transport: str) -> None:
    """Events that nobody takes hold up nothing and are bounded; a late callback gets the newest 1000."""
    with place.client(transport) as client, place.client("https") as other:
        name = fresh("flood")
        client.add_app(App({"name": name, "command": "true", "status": 0, "start_time": int(time.time()) + 86400}))
        subscription = client.subscribe(name, ["STATUS"])
        for _ in range(600):
            other.enable_app(name)
            other.disable_app(name)
        marker = client.subscribe(name, ["STATUS"])  # answered after the events before it
        assert client.get_app(name).status == 0
        seen: List[appmesh.AppEvent] = []
        client.set_event_callback(subscription.subscription_id, seen.append, name)
        eventually(lambda: len(seen) >= 1000, "a thousand events")
        assert len(seen) <= 1001, len(seen)
        assert [event.sequence for event in seen] == sorted({event.sequence for event in seen})
        assert seen[-1].data["status"] == "disabled"
        client.unsubscribe(marker.subscription_id)
        client.delete_app(name)


@scenario(6)
def exit_by_signal(place: Place, transport: str) -> None:
    """A process killed by signal N has exit code -N."""
    with place.client(transport) as client:
        assert client.run_app_sync("kill -KILL $$") == (-9, "")
        run = client.run_app_async("echo last words; kill -TERM $$; sleep 10")
        seen: List[str] = []
        assert run.wait(lambda text, position: seen.append(text), timeout=60) == -15
        assert "".join(seen) == "last words\n"


@scenario(7)
def reply_racing_the_send(place: Place, transport: str) -> None:
    """However fast an answer is, and however many share the connection, each call gets its own."""
    problems: List[str] = []
    with place.client(transport) as client:

        def ask(thread: int) -> None:
            for turn in range(100):
                name = f"nobody-{thread}-{turn}"
                answer = client.get_app_output(name)
                if answer.status_code != 404 or name not in answer.output:
                    problems.append(f"asked for {name}, got {answer}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a call never returned"
    assert not problems, problems[:3]


@scenario(8)
def app_removed_while_waiting(place: Place, transport: str) -> None:
    """An app that is removed while somebody waits for it is a typed error of its own."""
    with place.client("https") as other, place.client(transport) as client:
        run = client.run_app_async("echo here; sleep 1000", max_time=120)
        try:
            run.wait(lambda text, position: other.delete_app(run.app_name), timeout=60)
        except appmesh.AppMeshAppRemovedError:
            pass
        else:
            raise AssertionError("the wait did not notice")
        assert client.get_user_permissions()


@scenario(9)
def renewal_amid_traffic(place: Place, transport: str) -> None:
    """The token may be renewed at any time: no call of another thread fails for it."""
    problems: List[BaseException] = []
    over = threading.Event()
    with place.client(transport) as client:

        def ask() -> None:
            while not over.is_set():
                try:
                    client.get_user_permissions()
                except BaseException as error:
                    problems.append(error)
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        first = client._session.token
        for _ in range(15):
            client.renew_token(3600)
        over.set()
        for thread in threads:
            thread.join(60)
        assert client._session.token != first
    assert not problems, problems[0]


def pose_as_worker(client: Any, name: str) -> None:
    """Takes the identity of a process that the daemon runs: its key, from its own environment."""
    client.add_app(App({"name": name, "command": "echo $APP_MESH_PROCESS_KEY; sleep 1000", "shell": True}))
    key = eventually(lambda: client.get_app_output(name, timeout=1).output.strip(), "the key of the process")
    os.environ["APP_MESH_PROCESS_KEY"] = key
    os.environ["APP_MESH_APPLICATION_NAME"] = name


@scenario(10)
def worker_superseded(place: Place, transport: str) -> None:
    """A worker whose place another process has taken ends with a typed error, at once and without exit()."""
    name = fresh("old")
    with place.client("https") as client:
        pose_as_worker(client, name)
        worker = place.worker(transport)
        found: List[BaseException] = []

        def work() -> None:
            try:
                worker.fetch_task()
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        client.disable_app(name)
        eventually(lambda: client.get_app(name).pid is None, "the old process is gone")
        client.enable_app(name)
        eventually(lambda: client.get_app(name).pid, "the new process is there")
        thread.join(60)
        assert found and isinstance(found[0], appmesh.AppMeshProcessSupersededError), found
        try:
            worker.send_task_result("too late")
        except appmesh.AppMeshProcessSupersededError:
            pass
        else:
            raise AssertionError("the result of a superseded worker was taken")
        worker.close()
        client.delete_app(name)


@scenario(11)
def binary_task(place: Place, transport: str) -> None:
    """A task's payload and result are bytes: any bytes, any length."""
    name = fresh("task")
    with place.client(transport) as client:
        pose_as_worker(client, name)
        worker = place.worker(transport)
        payloads = [bytes(range(256)) * 4096, b"\x00", b"\xff\xfe\r\n\x00", "grüße".encode()]

        def work() -> None:
            for _ in payloads:
                worker.send_task_result(worker.fetch_task()[::-1])

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        for payload in payloads:
            assert client.run_task_bytes(name, payload, timeout=60) == payload[::-1]
        thread.join(60)
        assert not thread.is_alive()
        worker.close()
        client.delete_app(name)


@scenario(12)
def file_round_trip(place: Place, transport: str) -> None:
    """A file comes back as it was, with mode and, where the daemon is root, owner; nothing is overwritten."""
    folder = place.scratch / fresh("files")
    folder.mkdir()
    folder.chmod(0o777)
    source, remote, back = folder / "source", folder / "there and grün", folder / "back"
    content = os.urandom(300_001) * 11
    source.write_bytes(content)
    me = (os.geteuid(), os.getegid())
    nobody = (65534, 65534) if me[0] == 0 else me
    os.chown(source, *nobody)
    source.chmod(0o640)
    with place.client(transport) as client:
        # In a container the daemon keeps what it stores as its own.
        owner = me if client.get_host_resources()["in_container"] else nobody
        client.upload_file(str(source), str(remote))
        for path in (remote, back):
            if path is back:
                client.download_file(str(remote), str(back))
            status = path.stat()
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest(), path
            assert stat.S_IMODE(status.st_mode) == 0o640, oct(status.st_mode)
            assert (status.st_uid, status.st_gid) == owner, (status.st_uid, status.st_gid)
        try:
            client.upload_file(str(source), str(remote))
        except appmesh.AppMeshRequestError as error:
            assert error.status_code == 409, error
        else:
            raise AssertionError("a file was overwritten")
        try:
            client.download_file(str(folder / "nobody"), str(folder / "nothing"))
        except appmesh.AppMeshRequestError as error:
            assert error.status_code == 404, error
        else:
            raise AssertionError("a file that does not exist was downloaded")
        assert not (folder / "nothing").exists()
        empty = folder / "empty"
        empty.touch()
        client.upload_file(str(empty), str(folder / "empty there"))
        client.download_file(str(folder / "empty there"), str(folder / "empty back"))
        assert (folder / "empty back").read_bytes() == b""
        assert {each.name for each in folder.iterdir()} == {
            "source", "there and grün", "back", "empty", "empty there", "empty back"
        }  # fmt: skip


SLOTS = 4


def tasks(client: Any, name: str, figure: str) -> int:
    """A figure of the app's tasks, from its JSON."""
    found = client._run(_view(name)).json().get("tasks", {})
    return int(found.get(figure, 0))


def _view(name: str) -> Any:
    response = yield Request("GET", f"/appmesh/app/{name}")
    return response


@scenario(13)
def worker_with_slots(place: Place, transport: str) -> None:
    """A worker has a task in hand for each of its slots, answers them in any order, and gets unanswered ones again."""
    with place.client(transport) as client, ThreadPoolExecutor(2 * SLOTS + 8) as pool:
        for check in (slots_of_threads, slots_of_a_process):
            name = fresh("slots")
            try:
                check(place, transport, client, name, pool)
            finally:  # and with it whoever waits for its tasks
                client.delete_app(name)


def slots_of_threads(place: Place, transport: str, client: Any, name: str, pool: ThreadPoolExecutor) -> None:
    """Threads share a worker, each with its slot."""
    relay = Relay((place.host, place.port(transport)))
    pose_as_worker(client, name)
    worker = place.worker(transport, relay.port)
    stop = threading.Event()
    fetches = [pool.submit(worker.fetch_task, slot=slot, stop_event=stop) for slot in range(SLOTS)]
    try:
        payloads = [f"task {number}".encode() for number in range(SLOTS)]
        calls = {payload: pool.submit(client.run_task_bytes, name, payload, timeout=60) for payload in payloads}
        in_hand = [fetch.result(60) for fetch in fetches]
        assert sorted(in_hand) == payloads, in_hand
        assert tasks(client, name, "active") == SLOTS
        relay.drop()
        again = [worker.fetch_task(slot=slot) for slot in range(SLOTS)]
        assert again == in_hand, (again, in_hand)
        for slot in (2, 0, 3, 1):
            worker.send_task_result(b"answer to " + in_hand[slot], slot=slot)
        for payload, call in calls.items():
            assert call.result(60) == b"answer to " + payload
    finally:
        stop.set()
        relay.cut()
        worker.close()


def be_worker(transport: str, host: str, port: str) -> None:
    """Answers nothing before every slot has a task in hand."""
    worker = make_worker(transport, host, int(port), os.environ["CONTRACT_CA"])
    all_busy = threading.Barrier(SLOTS)

    def work(slot: int) -> None:
        payload = worker.fetch_task(slot=slot)
        all_busy.wait()
        while True:
            worker.send_task_result(b"answer to " + payload, slot=slot)
            payload = worker.fetch_task(slot=slot)

    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(work, range(SLOTS)))


def slots_of_a_process(place: Place, transport: str, client: Any, name: str, pool: ThreadPoolExecutor) -> None:
    """A program that the daemon runs."""
    line = [sys.executable, __file__, "--worker", transport, place.host, str(place.port(transport))]
    app = App({"name": name, "command": " ".join(shlex.quote(word) for word in line)})
    app.set_env("CONTRACT_CA", place.ca_file)
    app.set_env("PYTHONPATH", str(pathlib.Path(appmesh.__file__).parents[1]))
    client.add_app(app)
    eventually(lambda: client.get_app(name).pid, "the worker runs")

    def call(number: int) -> None:
        payload = f"task {number}".encode()
        assert client.run_task_bytes(name, payload, timeout=60) == b"answer to " + payload

    first = [pool.submit(call, number) for number in range(SLOTS - 1)]
    eventually(lambda: tasks(client, name, "active") == SLOTS - 1, "three tasks are in hand")
    assert not any(each.done() for each in first)
    rest = [pool.submit(call, number) for number in range(SLOTS, 100)]
    for each in first + rest:
        each.result(60)


def main(arguments: List[str]) -> int:
    if arguments[:1] == ["--worker"]:
        be_worker(*arguments[1:])
        return 0
    if arguments == ["--list"]:
        for number, (_, transports) in sorted(SCENARIOS.items()):
            for transport in transports:
                print(number, transport)
        return 0
    host, ports, number, transport = arguments
    https, tcp, wss = (int(port) for port in ports.split(","))
    environment = os.environ
    place = Place(
        host,
        (https, tcp, wss),
        environment["APPMESH_CONTRACT_CA"],
        environment["APPMESH_CONTRACT_USER"],
        environment["APPMESH_CONTRACT_PASSWORD"],
        pathlib.Path(environment["APPMESH_CONTRACT_SCRATCH"]),
    )
    function, transports = SCENARIOS.get(int(number), (None, ()))
    if function is None or transport not in transports:
        return NOT_APPLICABLE
    try:
        function(place, transport)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
