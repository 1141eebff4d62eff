"""Files beside a WebSocket: a one-time token over it, the bytes over HTTPS on the same port (docs/wire.md#websocket)."""
import base64
import json
import secrets

import pytest
from harness.client import Client
from harness.daemon import ADMIN_PASSWORD
from harness.websocket import WebSocketClient


@pytest.fixture
def socket(daemon):
    with WebSocketClient(daemon) as client:
        client.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
        yield client


@pytest.fixture(params=["websocket port", "HTTPS port"])
def https(daemon, request):
    return Client(daemon.ws_port if request.param == "websocket port" else daemon.port, daemon.ca_file)


def ask(socket, path, upload=False, **headers):
    method, verb = ("POST", "upload") if upload else ("GET", "download")
    return socket.request(method, f"/appmesh/file/{verb}", headers={"X-File-Path": str(path), **headers})


def token_for(socket, path, upload=False, **headers):
    reply = ask(socket, path, upload, **headers)
    assert reply.status == 200, reply
    return reply.headers["authorization"]


def get(https, path, token, **headers):
    return https.request("GET", "/appmesh/file/download/ws", token=None, headers={"Authorization": token, "X-File-Path": str(path), **headers})


def put(https, path, token, body=b"content", **headers):
    return https.request("POST", "/appmesh/file/upload/ws", token=None, body=body,
                         headers={"Authorization": token, "X-File-Path": str(path), **headers})


def test_a_download_with_a_token(socket, https, tmp_path):
    content = secrets.token_bytes(2_000_000)
    (tmp_path / "data").write_bytes(content)
    reply = ask(socket, tmp_path / "data")
    assert reply.headers["x-file-mode"] and "x-recv-file-socket" not in reply.headers
    token = reply.headers["authorization"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["aud"], claims["exp"] - claims["iat"], claims["sub"]) == ("appmesh-file-service", 30, "admin")
    answer = get(https, tmp_path / "data", token)
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="data"'


def test_an_upload_with_a_token(socket, https, tmp_path):
    assert put(https, tmp_path / "mode", token_for(socket, tmp_path / "mode", upload=True), **{"X-File-Mode": "420"}).status == 200
    assert (tmp_path / "mode").read_bytes() == b"content" and (tmp_path / "mode").stat().st_mode & 0o777 == 0o644
    # Some clients send the attributes with the question only.
    token = token_for(socket, tmp_path / "asked", upload=True, **{"X-File-Mode": "416"})
    assert put(https, tmp_path / "asked", token).status == 200
    assert (tmp_path / "asked").stat().st_mode & 0o777 == 0o640


def test_a_token_is_good_for_one_use_one_path_and_one_direction(socket, https, tmp_path):
    (tmp_path / "data").write_text("x")
    (tmp_path / "other").write_text("x")
    used = token_for(socket, tmp_path / "data")
    assert get(https, tmp_path / "data", used).status == 200
    for answer in (get(https, tmp_path / "data", used),
                   get(https, tmp_path / "other", token_for(socket, tmp_path / "data")),
                   get(https, tmp_path / "data", token_for(socket, tmp_path / "new", upload=True)),
                   put(https, tmp_path / "new", token_for(socket, tmp_path / "data")),
                   get(https, tmp_path / "data", socket.token),
                   get(https, tmp_path / "data", "nonsense"), put(https, tmp_path / "new", "nonsense")):
        assert (answer.status, answer.text) == (401, "Authentication failed")
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert not (tmp_path / "new").exists()


def test_clients_of_3_show_their_sessions_bearer_token_and_need_the_permission(socket, https, admin, tmp_path, name):
    """They ask over the WebSocket too, and pass the answer's token by."""
    (tmp_path / "a file").write_text("x")
    path = str(tmp_path / "a file").replace(" ", "%20")
    assert get(https, path, f"Bearer {socket.token}").body == b"x"
    assert put(https, tmp_path / "new", f"Bearer {socket.token}").status == 200
    assert get(https, path, "Bearer nonsense").status == 401

    user = name[-20:]
    admin.ok("PUT", f"/appmesh/user/{user}", body={"key": "Pass-word-1", "roles": ["view"]})
    token = Client(https.port, https.ca_file).login(user, "Pass-word-1").json["access_token"]
    assert get(https, path, f"Bearer {token}").status == 403
    assert put(https, tmp_path / "other", f"Bearer {token}").status == 403 and not (tmp_path / "other").exists()
    admin.ok("DELETE", f"/appmesh/user/{user}")


def test_a_file_token_opens_nothing_else(socket, https, tmp_path):
    (tmp_path / "data").write_text("x")
    token = token_for(socket, tmp_path / "data")
    assert https.request("GET", "/appmesh/applications", token=token).status == 401
    assert https.request("GET", "/appmesh/file/download", token=token, headers={"X-File-Path": str(tmp_path / "data")}).status == 401


def test_refusals_come_with_the_question(socket, tmp_path):
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert ask(socket, tmp_path / "missing").status == 404
    assert ask(socket, tmp_path).status == 400
    assert ask(socket, "/tmp/../etc/hosts").status == 403
    assert ask(socket, tmp_path / "there", upload=True).status == 409
    assert ask(socket, tmp_path / "link", upload=True).status == 400
    assert ask(socket, "/etc/appmesh-test", upload=True).status == 403
    assert ask(socket, tmp_path / "there", **{"X-Recv-File-Socket": "true"}).status == 400


def test_errors_of_the_data_routes_are_plain_text(socket, https, tmp_path):
    (tmp_path / "data").write_text("x")
    token = token_for(socket, tmp_path / "data")
    answer = https.request("GET", "/appmesh/file/download/ws", token=None, headers={"Authorization": token})
    assert (answer.status, answer.text) == (400, "header 'X-File-Path' not found")
    (tmp_path / "data").unlink()
    answer = get(https, tmp_path / "data", token)
    assert answer.status == 404 and answer.headers["Content-Type"].startswith("text/plain")
    token = token_for(socket, tmp_path / "new", upload=True)
    (tmp_path / "new").touch()
    answer = put(https, tmp_path / "new", token)
    assert answer.status == 409 and answer.headers["Content-Type"].startswith("text/plain")
