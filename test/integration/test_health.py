"""Health checks: they run while a process lives, as often as configured, and decide what the health route says."""
import pytest
from harness import processes
from harness.waiting import eventually, stays


@pytest.fixture
def quick(new_daemon):
    return new_daemon(BaseConfig_HealthCheckSeconds=1).start()


def health(client, name):
    return client.request("GET", f"/appmesh/app/{name}/health", token=None).text


def test_the_last_check_decides_and_its_directory_and_environment_are_the_apps(quick, tmp_path):
    admin = quick.client()
    admin.add("web", "sleep 100000", working_dir=str(tmp_path), env={"FLAG": "well"},
              health_check_cmd='pwd > seen; echo noise; test -e "$FLAG"', behavior={"exit": "keepalive"})
    assert health(admin, "web") == "1", "no check has passed yet"
    eventually(lambda: (tmp_path / "seen").exists(), "a check runs in the app's directory")
    assert (tmp_path / "seen").read_text().strip() == str(tmp_path)
    stays(lambda: health(admin, "web") == "1", "failing checks")

    (tmp_path / "well").touch()
    eventually(lambda: health(admin, "web") == "0", "a check passes")
    assert admin.app("web")["health"] == 0
    (tmp_path / "well").unlink()
    eventually(lambda: health(admin, "web") == "1", "a check fails")

    app = admin.app("web")
    assert app["starts"] == 1 and "return_code" not in app, "checks are no runs of the app"
    runs = admin.request("GET", "/appmesh/app/web/runs").json
    assert [run["pid"] for run in runs] == [app["pid"]]
    assert admin.output("web").body == b"", "what a check prints is nobody's"


def test_nothing_is_checked_while_nothing_runs(quick, tmp_path):
    admin = quick.client()
    count = tmp_path / "count"
    admin.add("web", "sleep 100000", health_check_cmd=f"echo x >> {count}")
    eventually(lambda: health(admin, "web") == "0", "a check passes")
    admin.disable("web")
    eventually(lambda: not quick.processes_of("web"), "it has stopped")
    assert health(admin, "web") == "1"
    before = count.read_text()
    stays(lambda: count.read_text() == before, "no check of a stopped app", seconds=2.5)


def test_a_check_that_hangs_is_killed_with_what_it_started(quick, tmp_path):
    admin = quick.client()
    (tmp_path / "well").touch()
    admin.add("web", "sleep 100000", working_dir=str(tmp_path),
              health_check_cmd="test -e well || { sleep 7777 & trap '' TERM; sleep 8888; }")
    app = eventually(lambda: health(admin, "web") == "0" and admin.app("web"), "a check passes")
    (tmp_path / "well").unlink()

    def hanging():
        return [pid for pid in quick.processes_of("web") if pid != app["pid"]]
    eventually(hanging, "a check hangs")
    eventually(lambda: health(admin, "web") == "1", "it counts as failed after its time", timeout=60)
    (tmp_path / "well").touch()
    eventually(lambda: health(admin, "web") == "0" and not hanging(), "the next one passes and nothing is left")
    assert admin.app("web")["pid"] == app["pid"]


def test_a_check_that_outlives_daemon_or_keeper_is_ended_and_forgotten(quick, tmp_path):
    admin = quick.client()
    admin.add("web", "sleep 100000", working_dir=str(tmp_path),
              health_check_cmd="test ! -e hang || exec sleep 9999")
    pid = eventually(lambda: health(admin, "web") == "0" and admin.app("web")["pid"], "a check passes")

    for end in (quick.kill, quick.kill_keeper):
        (tmp_path / "hang").touch()
        stray = eventually(lambda: [each for each in quick.processes_of("web")
                                    if "9999" in processes.command_line(each)], "a check hangs")[0]
        (tmp_path / "hang").unlink()
        end()
        if end == quick.kill:
            quick.start()
            eventually(lambda: not processes.alive(stray), "the new daemon ends the stray check", timeout=5)
        else:
            eventually(lambda: not processes.alive(stray), "it ends after its time", timeout=60)
        eventually(lambda: health(admin, "web") == "0", "checks go on")
        app = admin.app("web")
        assert app["pid"] == pid and app["starts"] == 1, "the app is as it was"


def test_a_command_may_be_added_and_taken_away_while_the_app_runs(quick):
    admin = quick.client()
    added = admin.add("web", "sleep 100000")
    eventually(lambda: health(admin, "web") == "0", "healthy because it runs")
    admin.add("web", "sleep 100000", health_check_cmd="false")
    eventually(lambda: health(admin, "web") == "1", "the check fails")
    admin.add("web", "sleep 100000")
    eventually(lambda: health(admin, "web") == "0", "healthy because it runs")
    assert admin.app("web")["pid"] == added["pid"] and admin.app("web")["starts"] == 1
