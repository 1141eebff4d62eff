"""The file routes act as the OS user of their caller, over every transport, and the daemon's own files have no other name."""
import os
import pwd
import secrets
import threading
import urllib.parse

import pytest
from harness.tcp import TcpClient
from harness.websocket import WebSocketClient

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PASSWORD = "Files-for-tests-1"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(scope="module")
def person(daemon):
    """person("nobody") is a client who may move files and acts as nobody."""
    admin = daemon.client()
    admin.ok("POST", "/appmesh/role/mover", body=["file-download", "file-upload"])
    made = []

    def make(os_user):
        name = f"mover-{secrets.token_hex(3)}"
        made.append(name)
        admin.ok("PUT", f"/appmesh/user/{name}", body={"key": PASSWORD, "roles": ["mover"], "exec_user": os_user})
        return daemon.client(name, PASSWORD)
    yield make
    for name in made:
        admin.ok("DELETE", f"/appmesh/user/{name}")
    admin.ok("DELETE", "/appmesh/role/mover")


@pytest.fixture(scope="module")
def nobody(person):
    return person("nobody")


@pytest.fixture
def folder(daemon):
    """Outside of the home; everybody may pass through, nobody may write below `open`."""
    path = daemon.home.parent / f"files-{secrets.token_hex(4)}"
    path.mkdir()
    for parent in (daemon.home.parent, path):
        parent.chmod(0o711)
    (path / "open").mkdir()
    (path / "open").chmod(0o777)
    (path / "closed").mkdir()
    (path / "closed").chmod(0o755)
    (path / "of-root").write_text("of root")
    (path / "of-root").chmod(0o600)
    (path / "of-all").write_text("of all")
    (path / "of-all").chmod(0o644)
    return path


def get(client, path):
    return client.request("GET", "/appmesh/file/download", headers={"X-File-Path": urllib.parse.quote(str(path))})


def put(client, path, **headers):
    return client.request("POST", "/appmesh/file/upload", body=b"content",
                          headers={"X-File-Path": urllib.parse.quote(str(path)), **headers})


def test_a_download_is_what_the_os_user_may_read(nobody, admin, folder):
    assert get(nobody, folder / "of-all").text == "of all"
    assert get(nobody, "/etc/shadow").status == 403
    refused = get(nobody, folder / "of-root")
    assert refused.status == 403 and b"of root" not in refused.body
    (folder / "link").symlink_to(folder / "of-root")
    assert get(nobody, folder / "link").status == 403
    assert get(admin, folder / "of-root").text == "of root", "the administrator acts as the daemon"


def test_an_upload_is_the_os_users_and_only_where_they_may_write(nobody, admin, folder):
    refused = put(nobody, folder / "closed/file")
    assert refused.status == 403 and not (folder / "closed/file").exists()
    assert put(nobody, f"/root/{folder.name}").status == 403
    given = put(nobody, folder / "open/file", **{"X-File-User": "root", "X-File-Group": "root", "X-File-Mode": "420"})
    assert given.status == 200, given
    made = (folder / "open/file").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (NOBODY.pw_uid, NOBODY.pw_gid, 0o644)
    assert put(admin, folder / "closed/file").status == 200 and (folder / "closed/file").stat().st_uid == 0


@pytest.mark.parametrize("transport,headers", [(TcpClient, {"X-Recv-File-Socket": "true"}), (TcpClient, {}), (WebSocketClient, {})])
def test_it_is_so_over_messages_too(transport, headers, daemon, nobody, folder):
    client = transport(daemon)
    try:
        client.token = nobody.token
        for path in ("/etc/shadow", folder / "of-root"):
            assert client.request("GET", "/appmesh/file/download", headers={"X-File-Path": str(path), **headers}).status == 403
        send = {"X-Send-File-Socket": "true"} if headers else {}
        answer = client.request("POST", "/appmesh/file/upload", headers={"X-File-Path": str(folder / "closed/x"), **send})
        assert answer.status == 403, answer
    finally:
        client.close()


def test_many_users_at_once_never_act_as_one_another(nobody, admin, folder):
    wrong = []

    def ask(client, path, status):
        for _ in range(150):
            answer = get(client, path)
            if answer.status != status:
                wrong.append((path, answer))
        client.close()
    threads = [threading.Thread(target=ask, args=args) for args in
               [(nobody, folder / "of-root", 403), (admin, folder / "of-root", 200)] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_caller_without_an_os_user_moves_no_files(person, folder):
    client = person("")
    for answer in (get(client, folder / "of-all"), put(client, folder / "open/none")):
        assert answer.status == 403 and "exec_user" in answer.message, answer
    unknown = person("no-such-user")
    assert get(unknown, folder / "of-all").status == 403


@pytest.mark.parametrize("name", ["work/config/secret.key", "work/config/security.yaml", "work/config/jwt.secret", "ssl/server-key.pem",
                                  "work/state.db"])
def test_a_hard_link_to_a_file_of_the_daemon_is_that_file(name, daemon, admin):
    link = daemon.home / "work/tmp" / f"link-{secrets.token_hex(4)}"
    os.link(daemon.home / name, link)
    try:
        refused = get(admin, link)
        assert refused.status == 403 and refused.message == "Invalid file path"
    finally:
        link.unlink()
    (daemon.home / "work/tmp/one").write_text("one")
    os.link(daemon.home / "work/tmp/one", link)
    assert get(admin, link).text == "one", "a link is no sin"
    link.unlink()
    (daemon.home / "work/tmp/one").unlink()
