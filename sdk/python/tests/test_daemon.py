"""The clients against the real daemon, over each transport: what the scenarios of the contract leave out."""

import errno
import json
import resource
import stat
import threading

import pytest
from harness.daemon import ADMIN_PASSWORD

from appmesh import (
    App,
    AppMeshAuthError,
    AppMeshClient,
    AppMeshDisconnectedError,
    AppMeshError,
    AppMeshRequestError,
    AppMeshRequestTimeoutError,
    AppMeshWorker,
    RequestMessage,
    ResponseMessage,
    TCPTransport,
)


def test_login(new_client, client):
    assert client.login("admin", ADMIN_PASSWORD, token_expire="PT1H") is None
    assert client.get_current_user()["name"] == "admin"


def test_a_wrong_password_is_an_auth_error_and_keeps_no_token(new_client, client):
    with pytest.raises(AppMeshAuthError) as caught:
        client.login("admin", "wrong")
    assert caught.value.status_code == 401
    assert client.get_current_user()["name"] == "admin", "the session before is still there"


def test_without_login_nothing_but_health(client, new_client):
    client._session.token = None
    with pytest.raises(AppMeshAuthError):
        client.list_apps()
    with pytest.raises(AppMeshAuthError):
        client.renew_token()
    assert client.logout() is False


def test_logout_ends_the_token(client, new_client):
    token = client._session.token
    assert client.logout() is True
    other = new_client("https", login=False, jwt_token=token)
    with pytest.raises(AppMeshAuthError):
        other.list_apps()


def test_authenticate(client):
    token = client._session.token
    good, text = client.authenticate(token, "app-view", update_session=False)
    assert good
    assert "access_token" in text
    assert client.authentication(token, "no-such-permission")[0] is False
    assert client.authenticate("nonsense")[0] is False
    assert client._session.token == token


def test_the_life_of_an_app(client, name):
    app = App({"name": name, "command": "echo there; sleep 1000", "shell": True, "description": "for a test"})
    app.set_env("A", "b")
    added = client.add_app(app)
    assert (added.name, added.owner, added.env) == (name, "admin", {"A": "b"})
    assert name in [each.name for each in client.list_apps()]
    found = client.get_app(name)
    assert found.pid
    assert found.command == "echo there; sleep 1000"
    assert client.check_app_health(name) is True
    output = client.get_app_output(name, timeout="PT10S")
    assert (output.output, output.out_position, output.exit_code) == ("there\n", 6, None)
    assert client.get_app_output(name, stdout_position=6).output == ""
    assert client.get_app_output("nobody-at-all").status_code == 404
    client.disable_app(name)
    assert client.get_app(name).status == 0
    client.enable_app(name)
    assert client.get_app(name).status == 1
    assert client.delete_app(name) is True
    assert client.delete_app(name) is False
    with pytest.raises(AppMeshRequestError) as caught:
        client.get_app(name)
    assert caught.value.status_code == 404


def test_a_bad_definition_says_which_field(client, name):
    with pytest.raises(AppMeshRequestError, match="stdout_cache_num") as caught:
        client.add_app(App({"name": name, "command": "true", "stdout_cache_num": -1}))
    assert caught.value.status_code == 400


def test_runs(client, name):
    assert client.run_app_sync("echo grün; exit 7") == (7, "grün\n")
    assert client.run_app_sync(App({"command": "cat", "metadata": "from stdin"})) == (0, "from stdin")
    client.add_app(App({"name": name, "command": "echo a copy", "status": 0}))
    assert client.run_app_sync(App({"name": name})) == (0, "a copy\n")
    code, _ = client.run_app_sync("sleep 1000", max_time=1)
    assert code == -15
    client.delete_app(name)


def test_a_run_is_removed_after_its_exit_and_its_output_comes_whole(client):
    run = client.run_app_async("i=0; while [ $i -lt 3000 ]; do echo line $i of the output; i=$((i+1)); done; exit 2")
    seen = []
    assert run.wait(lambda text, position: seen.append((text, position)), timeout=60) == 2
    text = "".join(each for each, _ in seen)
    assert text == "".join(f"line {number} of the output\n" for number in range(3000))
    position = 0
    for each, start in seen:
        assert start == position
        position += len(each.encode())
    with pytest.raises(AppMeshRequestError):
        client.get_app(run.app_name)


def test_a_run_prints_by_default(client, capfd):
    run = client.run_app_async("printf 'no newline'")
    assert client.wait_for_async_run(run, True, 60) == 0
    assert capfd.readouterr().out == "no newline"


def test_labels_with_any_letters(client, name):
    client.add_label(name, "a b/ü&=%")
    assert client.list_labels()[name] == "a b/ü&=%"
    client.delete_label(name)
    assert name not in client.list_labels()


def test_users_and_roles(client, name):
    client.update_role(name, ["app-view", "app-view-all"])
    assert sorted(client.list_roles()[name]) == ["app-view", "app-view-all"]
    client.add_user(name, {"key": "Secret-1-secret", "roles": [name], "group": "testers"})
    assert client.list_users()[name]["roles"] == [name]
    assert "testers" in client.list_groups()
    client.lock_user(name)
    client.unlock_user(name)
    assert client.login(name, "Secret-1-secret") is None
    assert sorted(client.get_user_permissions()) == ["app-view", "app-view-all"]
    with pytest.raises(AppMeshAuthError) as caught:
        client.list_users()
    assert caught.value.status_code == 403
    client.login("admin", ADMIN_PASSWORD)
    client.delete_user(name)
    client.delete_role(name)
    assert name not in client.list_users()
    assert "app-view" in client.list_permissions()


def test_a_password_is_changed(client, name):
    client.add_user(name, {"key": "Secret-1-secret", "roles": ["view"]})
    client.login(name, "Secret-1-secret")
    client.update_password("Secret-1-secret", "Secret-2-secret")
    with pytest.raises(AppMeshAuthError):
        client.list_apps()
    client.login(name, "Secret-2-secret")
    client.login("admin", ADMIN_PASSWORD)
    client.delete_user(name)


def test_the_host(client):
    assert client.get_host_resources()["cpu_cores"] > 0
    assert "BaseConfig" in client.get_config()
    assert client.set_log_level("INFO") == "INFO"
    assert "appmesh_process_id" in client.get_metrics()


def test_the_token_refresh_follows_the_token_and_stops(client):
    client.start_token_refresh()
    client.start_token_refresh()
    assert client._refresher.is_alive()
    client.renew_token(3600)
    refresher = client._refresher
    client.stop_token_refresh()
    client.stop_token_refresh()
    assert not refresher.is_alive()


def test_a_short_token_is_renewed_in_the_background(new_client):
    client = new_client("https", auto_refresh_token=True)
    changed = threading.Event()
    client.renew_token(20)
    first = client._session.token
    wake = client._session.on_token
    client._session.on_token = lambda: (wake(), changed.set())
    assert changed.wait(30)
    assert client._session.token != first


def test_a_cookie_file_keeps_the_session(new_client, tmp_path):
    place = tmp_path / "cookies"
    first = new_client("https", cookie_file=str(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    second = new_client("https", login=False, cookie_file=str(place))
    assert second.get_current_user()["name"] == "admin"
    first.logout()
    assert new_client("https", login=False, cookie_file=str(place))._session.token is None


def test_closing_twice_is_fine_and_a_closed_connection_is_not_used(lasting):
    lasting.close()
    lasting.close()
    with pytest.raises(AppMeshError):
        lasting.list_apps()


def test_forward_to_gets_this_clients_port(client):
    client.forward_to = "elsewhere"
    assert client.forward_to.startswith("elsewhere:")
    client.forward_to = "elsewhere:1234"
    assert client.forward_to == "elsewhere:1234"
    client.forward_to = "::1"
    assert client.forward_to.startswith("[::1]:")
    client.forward_to = ""
    assert client.forward_to == ""


def test_a_run_remembers_where_it_was_forwarded_to(client):
    run = client.run_app_async("true")
    client.forward_to = "elsewhere:1"
    with run.forward_to():
        assert client.forward_to == ""
        assert client.get_user_permissions()
    assert client.forward_to == "elsewhere:1"
    assert run.wait(timeout=30) == 0


def test_a_daemon_that_is_not_there():
    for client in (AppMeshClient("https://127.0.0.1:1", False, None),):
        with pytest.raises(AppMeshDisconnectedError), client:
            client.list_apps()


def test_a_stranger_of_a_certificate_is_refused(daemon):
    with AppMeshClient(daemon.url, True, None) as client, pytest.raises(AppMeshRequestError, match="certificate"):
        client.list_apps()


def test_an_answer_that_does_not_come_is_a_time_out_of_its_own(daemon, new_client, name):
    patient = new_client("https")
    patient.add_app(App({"name": name, "command": "sleep 1000"}))
    key = patient.run_app_sync("true")  # the connection is warm
    assert key == (0, "")
    hasty = new_client("https", login=False, request_timeout=(60, 0.2), jwt_token=patient._session.token)
    process_key = "x" * 32
    with pytest.raises((AppMeshRequestTimeoutError, AppMeshRequestError)):
        hasty._run(_fetch_for_ever(name, process_key))
    assert isinstance(hasty.list_apps(), list)
    patient.delete_app(name)


def _fetch_for_ever(name, process_key):
    from appmesh._core import app_calls

    response = yield from app_calls.fetch_task(name, process_key)
    raise AppMeshRequestError(response.message, response.status)


def test_no_event_comes_before_the_answer_that_names_its_subscription(daemon, token, name):
    """A client that sends and then takes the next message for its answer must not get an event instead."""
    transport = TCPTransport(("127.0.0.1", daemon.tcp_port), daemon.ca_file)
    transport.connect()
    headers = {"Authorization": token()}
    for number in range(20):
        app = App({"name": f"{name}-{number}", "command": "echo quick"})
        request = RequestMessage("mine", f"/appmesh/app/{app.name}", "PUT", "", str(app).encode(), headers)
        request.query = {"subscribe_events": "START,STDOUT,EXIT"}
        transport.send_message(request.serialize())
        assert ResponseMessage.from_bytes(transport.receive_message()).uuid == "mine"
        while ResponseMessage.from_bytes(transport.receive_message()).headers["X-Event-Type"] != "EXIT":
            pass
        transport.send_message(RequestMessage("gone", f"/appmesh/app/{app.name}", "DELETE", headers=headers).serialize())
        assert ResponseMessage.from_bytes(transport.receive_message()).uuid == "gone"
    transport.close()


def test_a_worker_outside_of_the_daemon_says_so_at_once(monkeypatch):
    monkeypatch.delenv("APP_MESH_PROCESS_KEY", raising=False)
    monkeypatch.delenv("APP_MESH_PROCESS_ID", raising=False)
    with pytest.raises(AppMeshError, match="APP_MESH_PROCESS_KEY"):
        AppMeshWorker()


def test_a_missing_local_file_is_the_callers_mistake(client, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.upload_file(str(tmp_path / "nobody"), "/tmp/nobody")


def test_a_full_local_disk_says_so_and_leaves_nothing(client, tmp_path):
    remote, local = tmp_path / "remote", tmp_path / "local"
    remote.write_bytes(bytes(4_000_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # this process's files alone
    try:
        with pytest.raises(OSError) as caught:
            client.download_file(str(remote), str(local))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert [each.name for each in tmp_path.iterdir()] == ["remote"]
    client.download_file(str(remote), str(local))
    assert local.stat().st_size == 4_000_000


@pytest.mark.parametrize("metadata", [{"price": 19.99, "list": [1.5, 0.1, 12345678901234567890123]},
                                      '{"price": 19.990,  "n": 1.10}', "1.10", "text"])
def test_metadata_reaches_the_run_as_it_is_spelled(client, name, metadata):
    sent = metadata if isinstance(metadata, str) else json.dumps(metadata)
    assert client.run_app_sync(App({"command": "cat", "metadata": metadata})) == (0, sent)
    client.add_app(App({"name": name, "command": "sleep 1000", "metadata": metadata}))
    shown = client.get_app(name)
    assert shown.metadata == (json.loads(sent) if sent.startswith("{") else sent)
    again = client.add_app(shown)
    assert again.pid == client.get_app(name).pid, "what is read and written back restarts nothing"
    assert again.starts == 1
    client.delete_app(name)
