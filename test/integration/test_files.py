"""Files over HTTPS: every rule of docs/wire.md#files, against the real daemon."""
import hashlib
import os
import pathlib
import secrets
import socket
import urllib.parse

import pytest
from harness.daemon import Daemon, in_own_mounts
from harness.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
IN_CONTAINER = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")


@pytest.fixture(scope="module")
def house(homes):
    daemon = Daemon(homes / "files").start()
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def client(house):
    return house.client()


@pytest.fixture
def folder(tmp_path):
    """A directory below none of the refused ones."""
    return tmp_path


def get(client, path, quote=True, **headers):
    name = urllib.parse.quote(str(path)) if quote else str(path)
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.request("GET", "/appmesh/file/download", headers={"X-File-Path": name, **headers})


def put(client, path, body=b"content", **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.request("POST", "/appmesh/file/upload", body=body,
                          headers={"X-File-Path": urllib.parse.quote(str(path)), **headers})


def multipart(body, name="file", boundary="b0undary"):
    return (f"--{boundary}\r\nContent-Disposition: form-data; name=\"filename\"\r\n\r\nany.bin\r\n"
            f"--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"any.bin\"\r\n"
            f"Content-Type: application/octet-stream\r\n\r\n").encode() + body + f"\r\n--{boundary}--\r\n".encode()


def open_temporaries(daemon):
    """Deleted or nameless regular files that the daemon holds open."""
    held = []
    for fd in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir():
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.endswith(" (deleted)") and not target.startswith("/memfd"):
            held.append(target)
    return held


# Download.
def test_a_file_comes_with_its_length_name_and_attributes(client, folder):
    content = secrets.token_bytes(3_000_000)
    (folder / "data.bin").write_bytes(content)
    (folder / "data.bin").chmod(0o640)
    answer = get(client, folder / "data.bin")
    assert answer.status == 200 and answer.body == content
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="data.bin"'
    assert answer.headers["X-File-Mode"] == str(0o640)
    path = folder / "data.bin"
    ids = path.stat()
    assert (answer.headers["X-File-User"], answer.headers["X-File-Group"]) == (str(ids.st_uid), str(ids.st_gid))
    assert (answer.headers["X-File-User-Name"], answer.headers["X-File-Group-Name"]) == (path.owner(), path.group())


def test_an_empty_file_is_an_empty_answer(client, folder):
    (folder / "empty").touch()
    answer = get(client, folder / "empty")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_names_with_anything_in_them_are_percent_encoded(client, folder):
    for name in ("a b", "per%cent", "plus+plus", "grün✓", 'quo"te', "new\nline"):
        (folder / name).write_text(name)
        answer = get(client, folder / name)
        assert (answer.status, answer.body.decode()) == (200, name), answer
        assert "\n" not in answer.headers["Content-Disposition"]
        uploaded = folder / f"up {name}"
        assert put(client, uploaded).status == 200
        assert uploaded.read_bytes() == b"content"
    assert "filename*=UTF-8''gr%C3%BCn%E2%9C%93" in get(client, folder / "grün✓").headers["Content-Disposition"]


@pytest.mark.parametrize("spec, status, expected, content_range", [
    ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
    ("bytes=-2", 206, b"89", "bytes 8-9/10"),
    ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
    ("bytes=0-1,4-5", 200, b"0123456789", None),
    ("bytes=x-y", 200, b"0123456789", None),
    ("bytes=10-", 416, None, "bytes */10"),
    ("bytes=-0", 416, None, "bytes */10"),
])
def test_ranges(client, folder, spec, status, expected, content_range):
    (folder / "digits").write_bytes(b"0123456789")
    answer = get(client, folder / "digits", Range=spec)
    assert answer.status == status
    assert answer.headers.get("Content-Range") == content_range
    if expected is not None:
        assert answer.body == expected


def test_relative_paths_begin_in_work_tmp(house, client):
    name = f"relative-{secrets.token_hex(4)}"
    assert put(client, name, b"here").status == 200
    assert (house.home / "work/tmp" / name).read_bytes() == b"here"
    assert get(client, f"./{name}").body == b"here"


# What is refused.
def test_a_missing_header_is_400(client):
    for method, path in (("GET", "download"), ("POST", "upload")):
        answer = client.request(method, f"/appmesh/file/{path}", body=b"x" if method == "POST" else None)
        assert (answer.status, answer.message) == (400, "header 'X-File-Path' not found")


@pytest.mark.parametrize("path", ["../../../etc/hosts", "/tmp/../etc/hosts", "a/..", "/tmp/a\0b"])
def test_dot_dot_and_nul_are_403(client, path):
    for answer in (get(client, path), put(client, path)):
        assert (answer.status, answer.message) == (403, "Invalid file path")


def test_download_of_a_missing_file_is_404_and_of_no_regular_file_400(client, folder):
    os.mkfifo(folder / "fifo")
    assert get(client, folder / "missing").status == 404
    assert get(client, folder / "no/such/folder").status == 404
    for path in (folder, folder / "fifo", "/"):
        assert get(client, path).status == 400, path
    answer = get(client, "per%zz", quote=False)
    assert answer.status == 400 and "percent" in answer.message


def test_upload_onto_something_is_409_and_onto_a_symlink_400(client, folder):
    (folder / "there").write_text("old")
    (folder / "link").symlink_to(folder / "nowhere")
    assert put(client, folder / "there").status == 409
    assert put(client, folder).status == 409
    assert put(client, folder / "link").status == 400
    assert (folder / "there").read_text() == "old" and not (folder / "nowhere").exists()


def test_upload_into_a_missing_directory_is_404(client, folder):
    assert put(client, folder / "no/such/file").status == 404
    (folder / "file").touch()
    assert put(client, folder / "file/child").status == 404


@pytest.mark.parametrize("directory", ["/etc", "/usr", "/usr/local/lib", "/bin", "/sbin", "/lib", "/proc", "/sys", "/boot", "/dev", "/dev/shm"])
def test_directories_of_the_system_take_no_upload_by_any_name(client, folder, directory):
    if not os.path.isdir(directory):
        pytest.skip(f"no {directory} here")
    name = f"appmesh-test-{secrets.token_hex(4)}"
    (folder / "way").symlink_to(directory)
    for path in (f"{directory}/{name}", folder / "way" / name, f"/./{directory}//{name}"):
        answer = put(client, path)
        assert (answer.status, answer.message) == (403, "Invalid file path"), path
    assert not os.path.exists(f"{directory}/{name}")


def test_the_daemons_own_home_takes_no_upload_but_in_work_tmp(house, client, folder):
    (folder / "home").symlink_to(house.home)
    for path in (house.home / "x", house.home / "work/x", house.home / "work/apps/x.yaml", house.home / "ssl/x", folder / "home/work/x"):
        assert put(client, path).status == 403, path
    assert put(client, folder / "home/work/tmp" / secrets.token_hex(4)).status == 200


def test_the_daemons_secrets_and_the_kernels_files_are_not_for_download(house, client, folder):
    (folder / "key").symlink_to(house.home / "work/config/secret.key")
    os.link(house.home / "ssl/server-key.pem", folder / "hard") if os.stat(folder).st_dev == os.stat(house.home).st_dev else None
    for path in (house.home / "work/config/secret.key", house.home / "work/config/jwt.secret", house.home / "ssl/server-key.pem",
                 house.home / "work/state.db", house.home / "run", folder / "key", "/proc/self/environ", "/proc/self/mem",
                 "/proc/self/root/etc/hostname", "/sys/kernel/uevent_seqnum"):
        assert get(client, path).status == 403, path
    assert get(client, house.home / "work/server.log").status == 200
    assert get(client, house.home / "ssl/ca.pem").status == 200


def test_permissions_are_checked_before_a_body_is_invited(house, client, folder):
    user = f"viewer-{secrets.token_hex(4)}"
    client.ok("PUT", f"/appmesh/user/{user}", body={"key": "Viewer-for-tests-1", "roles": ["view"]})
    viewer = house.client(user, "Viewer-for-tests-1")
    (folder / "file").touch()
    assert get(viewer, folder / "file").status == 403
    assert viewer.request("GET", "/appmesh/file/download", token=None).status == 401
    for token, status in ((viewer.token, b"403"), ("nonsense", b"401")):
        with client.connect().sock as connection:
            connection.sendall(f"POST /appmesh/file/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nX-File-Path: {folder}/x\r\n"
                               "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 " + status
    assert not (folder / "x").exists()


# Upload.
def test_raw_and_multipart_uploads_arrive_whole(client, folder):
    for size in (0, 1, 65_536, 3_000_001):
        body = secrets.token_bytes(size)
        assert put(client, folder / f"raw{size}", body).status == 200
        assert (folder / f"raw{size}").read_bytes() == body
        answer = put(client, folder / f"form{size}", multipart(body), Content_Type="multipart/form-data; boundary=b0undary")
        assert answer.status == 200, answer
        assert (folder / f"form{size}").read_bytes() == body


def test_a_body_in_chunks_is_taken(client, folder):
    pieces = [secrets.token_bytes(100_000) for _ in range(30)]
    answer = put(client, folder / "chunked", iter(pieces))
    assert answer.status == 200, answer
    assert (folder / "chunked").read_bytes() == b"".join(pieces)


def test_bad_multipart_bodies_are_400_and_leave_nothing(house, client, folder):
    for body, kind in ((b"nonsense", "multipart/form-data; boundary=b"), (multipart(b"abc")[:-10], "multipart/form-data; boundary=b0undary"),
                       (multipart(b"abc", name="other"), "multipart/form-data; boundary=b0undary"), (b"x", "multipart/form-data"),
                       (b"x", "multipart/mixed; boundary=b")):
        answer = put(client, folder / "bad", body, Content_Type=kind)
        assert answer.status == 400 and "multipart" in answer.message, (body, answer)
    assert os.listdir(folder) == []
    eventually(lambda: not open_temporaries(house), "the files are given up")


def test_a_new_file_is_0600_unless_a_mode_was_sent(client, folder):
    for value, mode in ((None, 0o600), ("420", 0o644), ("511", 0o777), ("0", 0o400 if IN_CONTAINER else 0), ("512", 0o600), ("abc", 0o600), ("-1", 0o600)):
        path = folder / f"mode-{value}"
        assert put(client, path, **({} if value is None else {"X_File_Mode": value})).status == 200
        assert path.stat().st_mode & 0o7777 == mode, value


@needs_root
def test_owner_and_group_are_applied_by_name_or_number(homes, folder):
    root = folder / "root"
    root.mkdir()
    # In a container owners are left alone, so the daemon gets a root directory that has no mark of one.
    daemon = Daemon(homes / "owners")
    daemon.launcher = in_own_mounts(
        f"for each in /*; do if [ -L $each ]; then cp -a $each {root}; elif [ -d $each ] && [ $each != /run ]; then mkdir {root}$each; mount --rbind $each {root}$each; fi; done\n"
        f"mkdir -p {root}/run; set -- chroot {root} \"$@\"")
    daemon.start()
    try:
        client = daemon.client()
        assert put(client, folder / "named", X_File_User="daemon", X_File_Group="bin", X_File_Mode="420").status == 200
        assert ((folder / "named").owner(), (folder / "named").group()) == ("daemon", "bin")
        assert (folder / "named").stat().st_mode & 0o7777 == 0o644
        assert put(client, folder / "numbered", X_File_User="61234", X_File_Group="61235").status == 200
        info = (folder / "numbered").stat()
        assert (info.st_uid, info.st_gid) == (61234, 61235)
        assert put(client, folder / "unknown", X_File_User="no-such-user", X_File_Group="no-such-group").status == 200
        assert (folder / "unknown").stat().st_uid == 0
    finally:
        daemon.close()


def test_an_announced_body_over_2_gib_is_413(client, folder):
    with client.connect().sock as connection:
        connection.sendall(f"POST /appmesh/file/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\nX-File-Path: {folder}/x\r\n"
                           f"Content-Length: {2 * 1024 ** 3 + 1}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_an_aborted_upload_leaves_nothing(house, client, folder):
    connection = client.connect().sock
    connection.sendall(f"POST /appmesh/file/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\nX-File-Path: {folder}/x\r\n"
                       "Content-Length: 10000000\r\n\r\n".encode() + b"x" * 3_000_000)
    eventually(lambda: open_temporaries(house), "the upload has begun")
    assert os.listdir(folder) == []
    connection.close()
    eventually(lambda: not open_temporaries(house), "the file is given up")
    assert os.listdir(folder) == []
    assert put(client, folder / "x").status == 200


def test_of_two_uploads_to_one_name_one_wins_whole(house, client, folder):
    head = (f"POST /appmesh/file/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\nX-File-Path: {folder}/x\r\n"
            "Content-Length: 1000000\r\n\r\n").encode()
    with client.connect().sock as first:
        first.sendall(head + b"1" * 600_000)
        eventually(lambda: open_temporaries(house), "the first has begun")
        assert put(client, folder / "x", b"2" * 1_000_000).status == 200
        first.sendall(b"1" * 400_000)
        assert first.recv(12) == b"HTTP/1.1 409"
    assert (folder / "x").read_bytes() == b"2" * 1_000_000


# FileAllowedBaseDir.
def test_nothing_outside_of_the_allowed_directory(homes, folder):
    base = folder / "base"
    (base / "sub").mkdir(parents=True)
    (folder / "outside").mkdir()
    (folder / "outside/secret").write_text("secret")
    (base / "inside").write_text("inside")
    (base / "out-absolute").symlink_to(folder / "outside")
    (base / "out-relative").symlink_to("../outside")
    (base / "fine").symlink_to("sub")
    daemon = Daemon(homes / "based", REST_FileAllowedBaseDir=base).start()
    try:
        client = daemon.client()
        assert get(client, base / "inside").text == "inside"
        assert put(client, base / "fine/new").status == 200
        assert (base / "sub/new").exists()
        for path in (folder / "outside/secret", base / "out-absolute/secret", base / "out-relative/secret", "relative", "/etc/hosts",
                     f"{base}2/x", base.parent):
            assert get(client, path).status == 403, path
        for path in (folder / "outside/new", base / "out-absolute/new", base / "out-relative/new", "relative"):
            assert put(client, path).status == 403, path
        assert os.listdir(folder / "outside") == ["secret"]
    finally:
        daemon.close()


# A full disk.
@needs_root
def test_a_full_disk_is_507_and_leaves_nothing(homes, folder):
    small = folder / "small"
    small.mkdir()
    folder.parent.chmod(0o755)
    daemon = Daemon(homes / "full")
    daemon.launcher = in_own_mounts(f"mount -t tmpfs -o size=4m tmpfs {small}")
    daemon.start()
    try:
        client = daemon.client()
        announced = put(client, small / "big", b"x" * 8_000_000)
        assert announced.status == 507 and "8000000" in announced.message, announced
        surprise = put(client, small / "big", iter([b"x" * 100_000] * 80))
        assert surprise.status == 507 and "No space left" in surprise.message, surprise
        eventually(lambda: not open_temporaries(daemon), "the file is given up")
        root = pathlib.Path(f"/proc/{daemon.pid}/root{small}")
        assert os.listdir(root) == []
        assert put(client, small / "fits", b"x" * 3_000_000).status == 200
    finally:
        daemon.close()


# Memory and neighbours.
def test_large_transfers_cost_no_memory_and_hold_nobody_up(house, client, folder):
    def rss():
        return int(next(line for line in open(f"/proc/{house.pid}/status") if line.startswith("VmRSS")).split()[1])

    block = secrets.token_bytes(1 << 20)
    before = rss()
    assert put(client, folder / "large", iter([block] * 300)).status == 200
    assert rss() - before < 16_384
    digest = hashlib.sha256(block * 300).hexdigest()
    assert hashlib.sha256((folder / "large").read_bytes()).hexdigest() == digest
    connection = client.connect()
    connection.request("GET", "/appmesh/file/download", headers={"X-File-Path": str(folder / "large"), "Authorization": f"Bearer {client.token}"})
    response, received = connection.getresponse(), hashlib.sha256()
    while piece := response.read(1 << 20):
        received.update(piece)
    assert received.hexdigest() == digest
    assert rss() - before < 16_384
    # A peer that takes nothing of its file holds its own connection only.
    silent = client.connect().sock
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    silent.sendall(f"GET /appmesh/file/download HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\nX-File-Path: {folder}/large\r\n\r\n".encode())
    for _ in range(8):
        assert house.client().ok("GET", "/appmesh/applications").status == 200
    silent.close()
    assert rss() - before < 16_384
