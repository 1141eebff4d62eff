"""The asyncio clients against the real daemon, over each transport."""

import asyncio

import pytest
from harness.daemon import ADMIN_PASSWORD

from appmesh import App, AppMeshAppRemovedError, AppMeshAuthError, AppMeshDisconnectedError, AppMeshRequestError, aio


def connect(daemon, transport):
    if transport == "https":
        return aio.AppMeshClient(daemon.url, daemon.ca_file, None)
    if transport == "tcp":
        return aio.AppMeshClientTCP(("127.0.0.1", daemon.tcp_port), daemon.ca_file)
    return aio.AppMeshClientWSS(("127.0.0.1", daemon.ws_port), daemon.ca_file)


@pytest.fixture(params=["https", "tcp", "wss"])
def with_client(request, daemon, token):
    """with_client(coroutine function of a client) runs it, logged on."""

    def run(body):
        async def main():
            async with connect(daemon, request.param) as client:
                client.set_token(token())
                return await asyncio.wait_for(body(client), 40)

        return asyncio.run(main())

    run.transport = request.param
    return run


def test_login(with_client):
    async def body(client):
        assert await client.login("admin", ADMIN_PASSWORD) is None
        assert (await client.get_current_user())["name"] == "admin"
        with pytest.raises(AppMeshAuthError):
            await client.login("admin", "wrong")

    with_client(body)


def test_calls_run_beside_each_other(with_client):
    async def body(client):
        slow = asyncio.ensure_future(client.run_app_sync("sleep 1; echo slow"))
        answers = await asyncio.gather(*(client.get_app_output(f"nobody-{number}") for number in range(50)))
        assert all(f"nobody-{number}>" in answer.output for number, answer in enumerate(answers))
        assert not slow.done()
        assert await slow == (0, "slow\n")

    with_client(body)


def test_the_life_of_an_app(with_client, name):
    async def body(client):
        await client.add_app(App({"name": name, "command": "sleep 1000"}))
        assert (await client.get_app(name)).pid
        assert await client.delete_app(name) is True
        assert await client.delete_app(name) is False
        with pytest.raises(AppMeshRequestError):
            await client.get_app(name)

    with_client(body)


def test_a_run_with_its_output(with_client):
    async def body(client):
        run = await client.run_app_async("for i in a b c; do echo $i; sleep 0.1; done; kill -9 $$")
        seen = []
        assert await run.wait(lambda text, position: seen.append(text), timeout=30) == -9
        assert "".join(seen) == "a\nb\nc\n"

    with_client(body)


def test_a_wait_that_ends_early_and_one_whose_app_is_removed(with_client):
    async def body(client):
        run = await client.run_app_async("sleep 1000")
        assert await run.wait(timeout=0.5) is None
        waiting = asyncio.ensure_future(run.wait())
        await asyncio.sleep(0)
        await client.delete_app(run.app_name)
        with pytest.raises(AppMeshAppRemovedError):
            await waiting

    with_client(body)


def test_a_call_that_is_cancelled_leaves_the_client_whole(with_client):
    async def body(client):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.run_app_sync("sleep 3"), 0.3)
        assert await client.get_user_permissions()
        assert await client.run_app_sync("echo mine") == (0, "mine\n")

    with_client(body)


def test_renewal_amid_traffic(with_client):
    async def body(client):
        over = False

        async def ask():
            while not over:
                await client.get_user_permissions()

        tasks = [asyncio.ensure_future(ask()) for _ in range(4)]
        for _ in range(10):
            await client.renew_token(3600)
        over = True
        await asyncio.gather(*tasks)

    with_client(body)


def test_the_host_and_the_session(with_client, name):
    async def body(client):
        await client.add_label(name, "x")
        assert (await client.list_labels())[name] == "x"
        await client.delete_label(name)
        client.start_token_refresh()
        await client.stop_token_refresh()
        assert await client.logout() is True
        with pytest.raises(AppMeshAuthError):
            await client.list_apps()

    with_client(body)


@pytest.mark.parametrize("with_client", ["tcp", "wss"], indirect=True)
def test_events(with_client, name):
    async def body(client):
        seen, ended = [], asyncio.Event()

        async def take(event):
            await asyncio.sleep(0)
            seen.append(event.event_type)
            if event.event_type == "EXIT":
                ended.set()

        await client.add_app(App({"name": name, "command": "echo quick"}), ["START", "STDOUT", "EXIT"], callback=take)
        await ended.wait()
        assert seen[0] == "START"
        assert set(seen[1:-1]) == {"STDOUT"}
        gone = asyncio.Event()
        await client.subscribe(name, ["REMOVED"], callback=lambda event: gone.set())
        await client.delete_app(name)
        await gone.wait()
        lost = asyncio.Event()
        await client.subscribe("*", callback=lambda event: event.event_type == "__disconnected__" and lost.set())
        await client.close()
        await lost.wait()

    with_client(body)


def test_files(with_client, tmp_path):
    async def body(client):
        source, remote, back = (tmp_path / each for each in ("source", "remote", "back"))
        source.write_bytes(b"\x00\xff" * 100_000)
        await client.upload_file(str(source), str(remote))
        await client.download_file(str(remote), str(back))
        assert back.read_bytes() == source.read_bytes()
        with pytest.raises(AppMeshRequestError):
            await client.download_file(str(tmp_path / "nobody"), str(tmp_path / "nothing"))
        assert not (tmp_path / "nothing").exists()

    with_client(body)


async def take_place_of(client, name, monkeypatch):
    """Registers an app whose process tells its key, and gives this process its identity."""
    await client.add_app(App({"name": name, "command": "echo $APP_MESH_PROCESS_KEY; sleep 1000", "shell": True}))
    key = (await client.get_app_output(name, timeout=10)).output.strip()
    monkeypatch.setenv("APP_MESH_PROCESS_KEY", key)
    monkeypatch.setenv("APP_MESH_APPLICATION_NAME", name)


def test_a_worker(with_client, daemon, name, monkeypatch):
    async def body(client):
        await take_place_of(client, name, monkeypatch)
        worker = aio.AppMeshWorker(client=connect(daemon, with_client.transport))

        async def work():
            while True:
                await worker.send_task_result((await worker.fetch_task())[::-1])

        working = asyncio.ensure_future(work())
        assert await client.run_task(name, "abc") == "cba"
        assert await client.run_task_bytes(name, b"\x00\xff") == b"\xff\x00"
        working.cancel()
        await worker.close()
        await client.delete_app(name)

    with_client(body)


def test_a_worker_with_slots(with_client, daemon, name, monkeypatch):
    async def body(client):
        await take_place_of(client, name, monkeypatch)
        worker = aio.AppMeshWorker(client=connect(daemon, with_client.transport))
        fetches = asyncio.gather(*(worker.fetch_task(slot=slot) for slot in (0, 1, 7, 63)))
        payloads = [b"a", b"b", b"c", b"d"]
        calls = asyncio.gather(*(client.run_task_bytes(name, payload) for payload in payloads))
        in_hand = dict(zip((0, 1, 7, 63), await fetches))
        assert sorted(in_hand.values()) == payloads
        for slot in (7, 0, 63, 1):
            assert await worker.fetch_task(slot=slot) == in_hand[slot]
            await worker.send_task_result(in_hand[slot] * 2, slot=slot)
        assert await calls == [payload * 2 for payload in payloads]
        for slot in (-1, 64):
            with pytest.raises(ValueError, match="0 to 63"):
                await worker.fetch_task(slot=slot)
            with pytest.raises(ValueError, match="0 to 63"):
                await worker.send_task_result("", slot=slot)
        await worker.close()
        await client.delete_app(name)

    with_client(body)


def test_a_daemon_that_is_not_there():
    async def main():
        async with aio.AppMeshClientTCP(("127.0.0.1", 1), False) as client:
            with pytest.raises(AppMeshDisconnectedError):
                await client.list_apps()

    asyncio.run(main())
