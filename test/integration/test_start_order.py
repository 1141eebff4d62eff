"""Nothing is started, stopped or left behind by a start that is refused: everything is checked, opened and listened at
before the keeper is asked and before an app is touched."""
import socket

import pytest
from harness import processes
from harness.waiting import eventually

APP = "command: sleep 100000\n"


@pytest.fixture
def prepared(new_daemon):
    """A home that has run once, with one app that is to be started by the next daemon, and no keeper."""
    daemon = new_daemon(BaseConfig_StopGraceSeconds=1).start()
    daemon.stop()
    keeper = daemon.keeper_pid()
    processes.kill_exactly(keeper, lambda pid: processes.program(pid) == "appkeeper")
    eventually(lambda: not processes.alive(keeper), "the keeper is gone")
    (daemon.home / "work/apps/web.yaml").write_text(APP)
    return daemon


def refused(daemon):
    """What the daemon says when it ends at once."""
    said = daemon.home / "daemon.out"
    before = said.stat().st_size
    daemon.start(wait=False)
    assert daemon.process.wait(timeout=60) == 1
    assert daemon.keeper_pid() is None, "no keeper is left behind"
    assert not processes.marked(daemon.token), "nothing was started"
    with open(said) as file:
        file.seek(before)
        return file.read()


@pytest.mark.parametrize("which", ["port", "tcp_port", "ws_port"])
def test_a_port_that_is_taken(prepared, which):
    port = getattr(prepared, which)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        said = refused(prepared)
        assert f"127.0.0.1:{port}" in said and "in use" in said
    prepared.start()
    eventually(lambda: prepared.processes_of("web"), "with the port free the app starts")


@pytest.mark.parametrize("file", ["ssl/server.pem", "ssl/server-key.pem"])
def test_a_certificate_that_is_bad(prepared, file):
    (prepared.home / file).write_text("no certificate\n")
    assert (prepared.home / file).name in refused(prepared)


@pytest.mark.parametrize("file, text, expected", [
    ("config.yaml", "BaseConfig:\n  LogLevel: [\n", ["config.yaml", "line"]),
    ("config.yaml", "BaseConfig:\n  StopGraceSeconds: many\n", ["config.yaml", "line 2", "StopGraceSeconds"]),
    ("config.yaml", "REST:\n  JWT:\n    Audience: [other]\n", ["config.yaml", "line 3", "REST.JWT.Audience"]),
    ("config.yaml", "", ["config.yaml", "empty"]),
    ("security.yaml", "Users: [\n", ["security.yaml", "line"]),
    ("security.yaml", "", ["security.yaml", "empty"]),
])
def test_a_configuration_that_cannot_be_understood(prepared, file, text, expected):
    (prepared.home / "work/config" / file).write_text(text)
    said = refused(prepared)
    for part in expected:
        assert part in said, said
    assert (prepared.home / "work/config" / file).read_text() == text, "it is left alone"


@pytest.mark.parametrize("file", ["config.yaml", "security.yaml"])
def test_a_configuration_that_cannot_be_read(prepared, file):
    path = prepared.home / "work/config" / file
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")
    assert file in refused(prepared), "it is there, so defaults are not what was meant"


def test_a_living_app_does_not_notice_a_start_that_is_refused(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("web", "sleep 100000")
    pid = eventually(lambda: admin.app("web").get("pid"), "it runs")
    fresh_daemon.stop()
    good = (fresh_daemon.home / "work/apps/web.yaml").read_text()
    (fresh_daemon.home / "work/apps/web.yaml").write_text(good.replace("status: 1", "status: 0"))
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", fresh_daemon.port))
        holder.listen()
        fresh_daemon.start(wait=False)
        assert fresh_daemon.process.wait(timeout=60) == 1
    assert processes.alive(pid)
    fresh_daemon.start()
    eventually(lambda: not processes.alive(pid), "the first good start stops what its file has disabled")
