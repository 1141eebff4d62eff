"""A definition that cannot be read, or is refused, was not deleted: the app goes on with the last good one, keeps what it
has, says what is wrong, and heals when its file does."""
import os
import signal
import sqlite3

import pytest
from harness import processes
from harness.waiting import eventually, stays

DAMAGES = {
    "misspelt key": lambda path: path.write_text(path.read_text() + "comand: sleep 1\n"),
    "empty": lambda path: path.write_text(""),
    "comments only": lambda path: path.write_text("# nothing\n"),
    "field of a newer version": lambda path: path.write_text(path.read_text() + "gpu_share: 3\n"),
    "wrong type": lambda path: path.write_text(path.read_text().replace("status: 1", "status: on")),
    "no YAML": lambda path: path.write_text("command: [sleep\n"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7] + b"\xff"),
    "no text": lambda path: path.write_bytes(bytes(range(256))),
    "another name": lambda path: path.write_text(path.read_text().replace("name: web", "name: other")),
    "no command": lambda path: path.write_text("description: x\n"),
    "too large": lambda path: path.write_text("command: " + "x" * (8 << 20)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "wrong ending": lambda path: path.rename(path.with_suffix(".yml")),
}
LINES = {"misspelt key", "field of a newer version", "wrong type", "no YAML", "another name", "no text", "cut short"}


def remove(path):
    for each in (path, path.with_suffix(".yml")):
        if each.is_dir() and not each.is_symlink():
            each.rmdir()
        else:
            each.unlink(missing_ok=True)


def restart(daemon):
    assert daemon.stop() == 0
    return daemon.start()


@pytest.fixture
def web(fresh_daemon):
    """(daemon, client, pid, file) of a running app with output and history."""
    admin = fresh_daemon.client()
    admin.add("web", "echo first line; exec sleep 100000", shell=True, behavior={"exit": "keepalive"}, stdout_cache_num=3,
              sec_env={"SECRET": "s3cret"}, description="the app", permission=12)
    admin.add("other", "sleep 100000")
    pid = eventually(lambda: admin.app("web").get("pid"), "it runs")
    eventually(lambda: admin.output("web").body == b"first line\n", "it has spoken")
    return fresh_daemon, admin, pid, fresh_daemon.home / "work/apps/web.yaml"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_stops_nothing_and_heals_with_the_file(web, damage):
    daemon, admin, pid, file = web
    good = file.read_text()
    before = admin.app("web")
    daemon.stop()
    DAMAGES[damage](file)
    broken = file.read_bytes() if file.is_file() else None
    daemon.start()

    app = admin.app("web")
    assert app["pid"] == pid and processes.alive(pid), "it runs on"
    assert app["invalid"]["file"].startswith(str(daemon.home)) and app["invalid"]["reason"]
    assert ("line" in app["invalid"]) == (damage in LINES), app["invalid"]
    assert "definition invalid: " in app["last_error"] and app["invalid"]["reason"] in app["last_error"]
    for field in ("command", "status", "behavior", "description", "owner", "permission", "starts", "process_uuid"):
        assert app[field] == before[field], field
    assert "invalid" in admin.apps()["web"] and "invalid" not in admin.apps()["other"]
    assert admin.output("web").body == b"first line\n"
    assert len(admin.runs("web")) == 1
    for verb in ("disable", "enable"):
        answer = admin.request("POST", f"/appmesh/app/web/{verb}")
        assert answer.status == 412 and "invalid" in answer.message
    assert (file.read_bytes() if file.is_file() else None) == broken, "nobody writes over it"

    # It is supervised by what was known of it.
    processes.kill_exactly(pid, lambda each: True)
    second = eventually(lambda: (now := admin.app("web").get("pid")) and now != pid and now, "it is started again")
    assert "invalid" in admin.app("web")
    assert len(admin.output("web", stdout_index=1).body) > 0, "the run before keeps its output"
    restart(daemon)
    assert admin.app("web")["pid"] == second and "invalid" in admin.app("web")

    remove(file)
    file.write_text(good)
    eventually(lambda: "invalid" not in admin.app("web"), "it heals with its file")
    assert admin.app("web")["pid"] == second, "the same definition restarts nothing"
    restart(daemon)
    assert admin.app("web")["pid"] == second and "invalid" not in admin.app("web")


def test_it_heals_by_another_definition_by_sighup_by_put_and_by_delete(web):
    daemon, admin, pid, file = web
    good = file.read_text()
    daemon.stop()
    DAMAGES["misspelt key"](file)
    daemon.start()

    file.write_text(good.replace("sleep 100000", "sleep 200000"))  # mended, and changed
    changed = eventually(lambda: (now := admin.app("web").get("pid")) and now != pid and now, "the new command runs")
    eventually(lambda: "sleep 200000" in processes.command_line(changed), "with what the file says now")

    daemon.stop()
    target = file.with_suffix(".elsewhere")
    file.rename(target)
    file.symlink_to("gone/web.yaml")
    daemon.start()
    assert "invalid" in admin.app("web")
    (file.parent / "gone").mkdir()
    target.rename(file.parent / "gone/web.yaml")  # where no watch is
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "invalid" not in admin.app("web"), "SIGHUP looks again")
    assert admin.app("web")["pid"] == changed

    for attempt in ("put", "delete"):
        daemon.stop()
        file.unlink()
        file.write_text("what is this")
        daemon.start()
        assert "invalid" in admin.app("web")
        if attempt == "put":
            app = admin.add("web", **{key: admin.app("web")[key] for key in ("command", "shell", "behavior", "description",
                                                                              "permission", "stdout_cache_num")})
            assert "invalid" not in app and app["pid"] == changed, "the same definition restarts nothing"
            assert "command:" in file.read_text() and "sealed:v1:" in file.read_text()
    admin.delete("web")
    assert not file.exists()
    eventually(lambda: not processes.alive(changed), "and its run is stopped")
    restart(daemon)
    assert not admin.exists("web")


def test_an_app_that_was_never_known_is_shown_and_starts_when_it_is_mended(fresh_daemon):
    admin = fresh_daemon.client()
    fresh_daemon.stop()
    file = fresh_daemon.home / "work/apps/new.yaml"
    file.write_text("command: sleep 100000\ncolour: blue\n")
    fresh_daemon.start()
    app = admin.app("new")
    assert app["invalid"]["line"] == 2 and "colour" in app["invalid"]["reason"] and "pid" not in app
    assert admin.request("POST", "/appmesh/app/new/restart").status == 412
    stays(lambda: not fresh_daemon.processes_of("new"), "nothing is started", seconds=0.5)
    file.write_text("command: sleep 100000\ncolor: blue\n")
    eventually(lambda: "'color'" in admin.app("new")["invalid"]["reason"], "another mistake is told")
    file.write_text("command: sleep 100000\n")
    eventually(lambda: admin.app("new").get("pid"), "the good one starts")
    assert "invalid" not in admin.app("new")


def test_a_row_of_an_older_version_keeps_its_run(web):
    """No copy of the definition is known then: what runs is watched, and goes on with the file when that is mended."""
    daemon, admin, pid, file = web
    good = file.read_text()
    daemon.stop()
    with sqlite3.connect(daemon.home / "work/state.db") as database:
        database.execute("UPDATE apps SET definition='' WHERE name='web'")
    DAMAGES["empty"](file)
    daemon.start()
    app = admin.app("web")
    assert app["pid"] == pid and app["invalid"]["reason"] == "the file is empty"
    assert admin.output("web").body == b"first line\n"
    file.write_text(good)
    eventually(lambda: "invalid" not in admin.app("web"), "it heals")
    assert admin.app("web")["pid"] == pid and processes.alive(pid), "it was started with this definition"
    restart(daemon)
    assert admin.app("web")["pid"] == pid


FOLDERS = {
    "missing": lambda apps, aside: None,
    "a file": lambda apps, aside: apps.write_text("x"),
    "a link to nowhere": lambda apps, aside: apps.symlink_to("nowhere"),
    "a loop": lambda apps, aside: apps.symlink_to("apps"),
}


@pytest.mark.parametrize("damage", FOLDERS)
def test_a_folder_that_cannot_be_read_deletes_nothing(web, damage):
    daemon, admin, pid, file = web
    run = admin.run(name="job", command="echo job; sleep 100000", shell=True).json
    admin.add("three", "sleep 100000", instances=3)
    eventually(lambda: len(daemon.processes_of("three")) == 3, "all instances run")
    three = sorted(daemon.processes_of("three"))
    apps = daemon.home / "work/apps"
    daemon.stop()
    aside = daemon.home / "aside"
    apps.rename(aside)
    FOLDERS[damage](apps, aside)
    daemon.start()
    shown = admin.apps()
    assert set(shown) == {"web", "other", "three", "job"}
    for name in ("web", "other", "three"):
        assert shown[name]["invalid"]["file"] == str(apps), shown[name]
    assert shown["web"]["pid"] == pid and "invalid" not in shown["job"]
    assert sorted(daemon.processes_of("three")) == three
    assert admin.output("web").body == b"first line\n"
    assert admin.output("job", process_uuid=run["process_uuid"]).body == b"job\n"
    assert admin.request("PUT", "/appmesh/app/x", body={"name": "x", "command": "sleep 1"}).status == 500
    assert not admin.exists("x")
    restart(daemon)
    assert admin.app("web")["pid"] == pid, "the second start deletes nothing either"

    if apps.is_symlink() or apps.exists():
        apps.unlink()
    aside.rename(apps)
    eventually(lambda: not any("invalid" in app for app in admin.apps().values()), "all heal")
    assert admin.app("web")["pid"] == pid and sorted(daemon.processes_of("three")) == three
    restart(daemon)
    assert admin.app("web")["pid"] == pid


@pytest.mark.parametrize("column, text", [("definition", '{"name": 5'), ("definition", '{"name": "job", "status": 2}x'),
                                          ("state", "{")])
def test_a_damaged_row_of_an_on_demand_run_keeps_its_run(fresh_daemon, column, text):
    admin = fresh_daemon.client()
    run = admin.run(name="job", command="echo said; sleep 100000", shell=True).json
    pid = admin.app("job")["pid"]
    eventually(lambda: admin.output("job").body == b"said\n", "it has spoken")
    fresh_daemon.stop()
    with sqlite3.connect(fresh_daemon.home / "work/state.db") as database:
        assert database.execute(f"UPDATE apps SET {column}=? WHERE name='job'", (text,)).rowcount == 1
    fresh_daemon.start()
    app = admin.app("job")
    assert app["pid"] == pid and processes.alive(pid) and app["status"] == 2
    assert app["invalid"]["file"].endswith("state.db") and "job" in app["invalid"]["reason"]
    assert admin.output("job", process_uuid=run["process_uuid"]).body == b"said\n"
    admin.delete("job")
    eventually(lambda: not processes.alive(pid), "DELETE ends it")
    restart(fresh_daemon)
    assert not admin.exists("job")


def test_a_file_that_is_gone_is_a_deletion(web):
    daemon, admin, pid, file = web
    daemon.stop()
    file.unlink()
    daemon.start()
    assert not admin.exists("web")
    eventually(lambda: not processes.alive(pid), "its run is stopped")
