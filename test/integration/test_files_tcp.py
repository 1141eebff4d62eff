"""Files over the TCP side channel: docs/wire.md#tcp-files."""
import base64
import os
import secrets
import pathlib

import pytest
from harness.daemon import ADMIN_PASSWORD, Daemon, in_own_mounts
from harness.tcp import TcpClient, frame
from harness.waiting import eventually

CHUNK = 16 * 1024 - 128


@pytest.fixture
def client(daemon):
    with TcpClient(daemon) as client:
        client.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
        yield client


def download(client, path, **headers):
    return client.request("GET", "/appmesh/file/download", headers={"X-File-Path": str(path), "X-Recv-File-Socket": "true", **headers})


def upload(client, path, **headers):
    return client.request("POST", "/appmesh/file/upload", headers={"X-File-Path": str(path), "X-Send-File-Socket": "true", **headers})


def receive_file(client):
    frames = []
    while piece := client.receive_frame():
        frames.append(piece)
    return frames


def send_file(client, content, chunk=CHUNK):
    for start in range(0, len(content), chunk):
        client.socket.sendall(frame(content[start:start + chunk]))
    client.socket.sendall(frame(b""))


@pytest.mark.parametrize("size", [0, 1, 16_128, 16_129, 5_000_000])
def test_a_download_follows_its_answer_in_chunks(client, tmp_path, size):
    content = secrets.token_bytes(size)
    (tmp_path / "data").write_bytes(content)
    (tmp_path / "data").chmod(0o640)
    reply = download(client, tmp_path / "data")
    assert reply.status == 200, reply
    assert reply.headers["x-recv-file-socket"] == base64.b64encode(str(tmp_path / "data").encode()).decode()
    assert reply.headers["x-file-mode"] == str(0o640)
    assert isinstance(reply.json, dict)
    frames = receive_file(client)
    assert b"".join(frames) == content
    assert all(len(piece) <= 16_128 for piece in frames)
    assert client.ok("GET", "/appmesh/applications").status == 200


@pytest.mark.parametrize("size, chunk", [(0, CHUNK), (1, 1), (5_000_000, CHUNK), (5_000_000, 16_128), (3_000_000, 1_000_000)])
def test_an_upload_is_there_before_the_next_request_is_handled(client, tmp_path, size, chunk):
    content = secrets.token_bytes(size)
    reply = upload(client, tmp_path / "data", **{"X-File-Mode": "420"})
    assert reply.status == 200, reply
    assert reply.headers["x-send-file-socket"] == base64.b64encode(str(tmp_path / "data").encode()).decode()
    send_file(client, content, chunk)
    # Sent at once, and handled when the file has its name.
    assert download(client, tmp_path / "data").status == 200
    assert b"".join(receive_file(client)) == content
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("split", [1, 3, 7, 8, 9, 15, 100])
def test_frames_of_an_upload_may_be_cut_anywhere(client, tmp_path, split):
    content = secrets.token_bytes(1000)
    assert upload(client, tmp_path / "data").status == 200
    stream = b"".join(frame(content[start:start + 99]) for start in range(0, len(content), 99)) + frame(b"")
    for start in range(0, len(stream), split):  # a record each
        client.socket.sendall(stream[start:start + split])
    assert client.ok("GET", "/appmesh/applications").status == 200
    assert (tmp_path / "data").read_bytes() == content


def test_what_is_no_frame_behind_an_upload_ends_the_connection_alone(client, daemon, admin, tmp_path):
    assert upload(client, tmp_path / "data").status == 200
    client.socket.sendall(frame(b"content") + frame(b"") + b"this is no frame")
    with pytest.raises((ConnectionError, OSError, EOFError)):
        client.receive_frame()
    assert (tmp_path / "data").read_bytes() == b"content"
    assert admin.ok("GET", "/appmesh/applications").status == 200, "the daemon is there"


def test_many_files_over_one_connection(client, tmp_path):
    for number in range(20):
        content = secrets.token_bytes(number * 1000)
        assert upload(client, tmp_path / str(number)).status == 200
        send_file(client, content)
        assert download(client, tmp_path / str(number)).status == 200
        assert b"".join(receive_file(client)) == content


def test_refusals_are_answers_and_no_stream_follows(client, tmp_path):
    (tmp_path / "there").touch()
    for reply, status in ((download(client, tmp_path / "missing"), 404), (download(client, tmp_path), 400),
                          (download(client, "/tmp/../etc/hosts"), 403), (upload(client, tmp_path / "there"), 409),
                          (upload(client, "/etc/appmesh-test"), 403), (upload(client, tmp_path / "no/folder"), 404)):
        assert reply.status == status, reply
        assert "x-recv-file-socket" not in reply.headers and "x-send-file-socket" not in reply.headers
    assert client.ok("GET", "/appmesh/applications").status == 200


def test_the_path_is_taken_as_it_is(client, tmp_path):
    (tmp_path / "a%20b").write_text("literally")
    assert download(client, tmp_path / "a%20b").status == 200
    assert receive_file(client) == [b"literally"]


def test_answers_to_other_requests_do_not_come_between_the_chunks(client, tmp_path):
    content = secrets.token_bytes(30_000_000)
    (tmp_path / "data").write_bytes(content)
    file = client.send("GET", "/appmesh/file/download", headers={"X-File-Path": str(tmp_path / "data"), "X-Recv-File-Socket": "true"})
    others = []
    assert client.receive(file).status == 200
    for _ in range(50):
        others.append(client.send("GET", "/appmesh/applications"))
    assert b"".join(receive_file(client)) == content
    for other in others:
        assert client.receive(other).status == 200


def test_an_upload_that_breaks_off_leaves_nothing(daemon, tmp_path):
    client = TcpClient(daemon)
    client.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
    assert upload(client, tmp_path / "data").status == 200
    client.socket.sendall(frame(b"x" * CHUNK) * 100)
    client.close()
    with TcpClient(daemon) as other:
        other.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
        assert upload(other, tmp_path / "data").status == 200
        send_file(other, b"whole")
        assert other.ok("GET", "/appmesh/applications").status == 200
    assert os.listdir(tmp_path) == ["data"] and (tmp_path / "data").read_bytes() == b"whole"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk_closes_the_connection_and_says_why_in_the_log(homes, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    daemon = Daemon(homes / "full-tcp")
    daemon.launcher = in_own_mounts(f"mount -t tmpfs -o size=2m tmpfs {small}")
    daemon.start()
    try:
        client = TcpClient(daemon)
        client.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
        assert upload(client, small / "data").status == 200
        try:
            send_file(client, b"x" * 8_000_000)
        except (OSError, ConnectionError):
            pass
        assert client.is_closed()
        eventually(lambda: "was not stored" in daemon.log_tail() and "No space left" in daemon.log_tail(), "the reason is in the log")
        assert os.listdir(pathlib.Path(f"/proc/{daemon.pid}/root{small}")) == []
    finally:
        daemon.close()
