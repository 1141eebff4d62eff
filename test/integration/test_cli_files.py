"""appc get and appc put against the real daemon."""
import os
import pty
import re
import secrets
import select
import signal
import stat
import time
import urllib.parse

import pytest
from harness.daemon import ADMIN_PASSWORD, binaries
from harness.waiting import eventually

from test_cli import Cli, appc, stranger  # noqa: F401: fixtures
from test_files import IN_CONTAINER, open_temporaries

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
LARGE = 50_000_000
HUGE = 1 << 30  # sparse, and too long to be through before anybody can interrupt it


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def there(tmp_path):
    """A directory of the host that no rule refuses."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def here(appc):
    """Where appc runs."""
    return appc.folder


def test_fifty_megabytes_go_there_and_come_back(appc, here, there):
    content = secrets.token_bytes(LARGE)
    (here / "large").write_bytes(content)
    out, err = appc("put", "-l", "large", "-r", there / "large")
    assert out == "" and err == f"{there}/large is there\n", "no bar without a terminal"
    assert (there / "large").read_bytes() == content
    _, err = appc("get", "-r", there / "large", "-l", "back")
    assert "back is here: 50000000 bytes" in err
    assert (here / "back").read_bytes() == content


def test_an_empty_file_is_a_file(appc, here, there):
    (here / "empty").touch()
    appc("put", "-l", "empty", "-r", there / "empty")
    appc("get", "-r", there / "empty", "-l", "back")
    assert (there / "empty").stat().st_size == 0 and (here / "back").stat().st_size == 0


def test_names_default_to_the_same_name_in_work_tmp_and_here(appc, here, daemon):
    name = f"grün {secrets.token_hex(4)} 100%"
    (here / name).write_text("content")
    appc("put", "-l", name)
    target = daemon.home / "work/tmp" / name
    assert target.read_text() == "content"
    (here / name).unlink()
    appc("get", "-r", name)
    assert (here / name).read_text() == "content"
    (here / "folder").mkdir()
    appc("get", "-r", name, "-l", "folder")
    assert (here / "folder" / name).read_text() == "content"
    target.unlink()


# Attributes.
@pytest.mark.parametrize("flag", ["-a", "--no-attr"])
def test_permissions_go_along_unless_they_shall_not(appc, here, there, flag):
    os.umask(0o022)
    (here / "file").write_text("x")
    (here / "file").chmod(0o751)
    appc("put", "-l", "file", "-r", there / "with")
    appc("put", "-l", "file", "-r", there / "without", flag)
    assert mode(there / "with") == 0o751
    assert mode(there / "without") != 0o751
    appc("get", "-r", there / "with", "-l", "got")
    appc("get", "-r", there / "with", "-l", "plain", flag)
    assert mode(here / "got") == 0o751
    assert mode(here / "plain") != 0o751


@needs_root
def test_the_owner_comes_along_unless_it_shall_not(appc, here, there):
    (there / "file").write_text("x")
    os.chown(there / "file", 1, 2)  # daemon and bin on every Debian
    appc("get", "-r", there / "file", "-l", "got")
    appc("get", "-r", there / "file", "-l", "plain", "-a")
    assert ((here / "got").stat().st_uid, (here / "got").stat().st_gid) == (1, 2)
    assert (here / "plain").stat().st_uid == 0


@needs_root
@pytest.mark.skipif(IN_CONTAINER, reason="in a container the daemon sets no owner")
def test_the_owner_goes_along_unless_it_shall_not(appc, here, there):
    (here / "file").write_text("x")
    os.chown(here / "file", 1, 2)
    appc("put", "-l", "file", "-r", there / "with")
    appc("put", "-l", "file", "-r", there / "without", "-a")
    assert ((there / "with").stat().st_uid, (there / "with").stat().st_gid) == (1, 2)
    assert (there / "without").stat().st_uid == 0


# What is refused.
def test_put_replaces_nothing(appc, here, there):
    (here / "new").write_text("new")
    (there / "file").write_text("old")
    assert "exist" in appc("put", "-l", "new", "-r", there / "file", code=1)[1]
    assert (there / "file").read_text() == "old"
    (there / "link").symlink_to("elsewhere")
    appc("put", "-l", "new", "-r", there / "link", code=1)
    assert not (there / "elsewhere").exists()


def test_get_replaces_what_is_here_only_when_all_has_come(appc, here, there):
    (here / "file").write_text("old and longer than the new one")
    (there / "file").write_text("new")
    appc("get", "-r", there / "none", "-l", "file", code=1)
    assert (here / "file").read_text() == "old and longer than the new one"
    appc("get", "-r", there / "file", "-l", "file")
    assert (here / "file").read_text() == "new"


def test_what_is_missing_is_named_and_leaves_nothing(appc, here, there):
    before = set(os.listdir(here))
    assert "none" in appc("get", "-r", there / "none", code=1)[1]
    assert "none" in appc("put", "-l", "none", "-r", there / "file", code=2)[1]
    assert "regular" in appc("put", "-l", ".", "-r", there / "file", code=2)[1]
    assert "missing" in appc("put", "-l", binaries() / "appc", "-r", there / "missing/file", code=1)[1]
    assert "no-folder" in appc("get", "-r", binaries() / "appc", "-l", "no-folder/file", code=2)[1]
    assert set(os.listdir(here)) == before and os.listdir(there) == []


def test_what_is_forbidden_stays_so(appc, here, daemon):
    (here / "file").write_text("x")
    for path in ("/etc/appmesh-test", daemon.home / "ssl/appmesh-test"):
        assert "Invalid file path" in appc("put", "-l", "file", "-r", path, code=1)[1], path
    assert "Invalid file path" in appc("get", "-r", daemon.home / "ssl/server-key.pem", "-l", "key", code=1)[1]
    assert "Invalid file path" in appc("get", "-r", "../config/security.yaml", "-l", "key", code=1)[1]
    assert not (here / "key").exists()


def test_a_user_without_the_permission_is_told_which_one(stranger, daemon, admin, there, name):
    admin.ok("PUT", f"/appmesh/user/{name}", body={"key": "Pass-word-1", "roles": ["view"]})
    stranger("-H", daemon.url, "logon", "-U", name, environment={"APPMESH_PASSWORD": "Pass-word-1"})
    (there / "file").write_text("x")
    assert "file-download" in stranger("get", "-r", there / "file", "-l", "got", code=1)[1]
    assert "file-upload" in stranger("put", "-l", there / "file", "-r", there / "put", code=1)[1]
    assert not (stranger.folder / "got").exists() and os.listdir(there) == ["file"]
    admin.ok("DELETE", f"/appmesh/user/{name}")


# The bar.
def on_terminal(appc, *words):
    """Runs appc on a pseudo-terminal: exit code and all that it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(appc.folder)
        words = ["appc", *map(str, words)]
        os.execve(binaries() / "appc", words, {**appc.environment, "TERM": "xterm"})
    screen, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the program has closed its end
            break
        if not piece:
            break
        screen += piece
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode(errors="replace")


def percentages(screen):
    return [int(each) for each in re.findall(r"\[#* *\] +(\d+)%", screen)]


def test_on_a_terminal_a_bar_grows_to_the_end_and_goes_away(appc, here, there):
    with open(here / "large", "wb") as file:
        file.truncate(LARGE)
    for words, target in ((("put", "-l", "large", "-r", there / "large"), there / "large"),
                          (("get", "-r", there / "large", "-l", "back"), here / "back")):
        code, screen = on_terminal(appc, *words)
        assert code == 0, screen
        shown = percentages(screen)
        assert shown and shown == sorted(shown) and shown[-1] == 100, (words[0], screen)
        assert shown[0] < 100, "it begins early"
        assert "47.7 MiB" in screen
        bar, said = screen.rsplit("\r\x1b[K", 1)
        assert "here" in said and "%" not in said, screen
        assert target.stat().st_size == LARGE


# Interrupted.
@pytest.fixture
def huge(tmp_path):
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(HUGE)
    return path


@pytest.fixture
def own(fresh_daemon, tmp_path):
    """appc at a daemon that may be held."""
    cli = Cli(fresh_daemon, tmp_path / "here")
    cli.folder.mkdir()
    cli("-H", fresh_daemon.url, "logon", "-U", "admin", environment={"APPMESH_PASSWORD": ADMIN_PASSWORD})
    return cli


def interrupt_held(daemon, process):
    """Ctrl-C in the middle: the daemon is held meanwhile, so that the end cannot come first."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        assert process.poll() is None, "it was through already"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert process.returncode == 130, (process.returncode, out, err)


def test_ctrl_c_amid_a_download_leaves_no_part_and_keeps_what_was_there(own, fresh_daemon, huge):
    (own.folder / "file").write_text("old")
    before = set(os.listdir(own.folder))
    process = own.start("get", "-r", str(huge), "-l", "file")
    eventually(lambda: set(os.listdir(own.folder)) - before, "the part is there")
    interrupt_held(fresh_daemon, process)
    assert set(os.listdir(own.folder)) == before
    assert (own.folder / "file").read_text() == "old"


def test_ctrl_c_amid_an_upload_leaves_nothing_on_the_host(own, fresh_daemon, huge, there):
    process = own.start("put", "-l", str(huge), "-r", str(there / "file"))
    eventually(lambda: open_temporaries(fresh_daemon), "it is being received")
    interrupt_held(fresh_daemon, process)
    eventually(lambda: not open_temporaries(fresh_daemon), "it is given up")
    assert os.listdir(there) == []
    answer = fresh_daemon.client().request("GET", "/appmesh/file/download",
                                           headers={"X-File-Path": urllib.parse.quote(str(there / "file"))})
    assert answer.status == 404
