"""kill -9 of appkeeper: the apps live on, are adopted by the next keeper, and can be stopped."""
import pytest
from harness import processes
from harness.waiting import eventually


def managed(client, name):
    """The pid the daemon shows, once it speaks of the app as running."""
    return eventually(lambda: client.app(name).get("pid"), f"{name} runs")


@pytest.mark.parametrize("daemon_dies_too", [False, True])
def test_apps_outlive_the_keeper_and_are_adopted(daemon_dies_too, fresh_daemon, tmp_path):
    gate = tmp_path / "gate"
    admin = fresh_daemon.client()
    wait = f"until [ -e {gate} ]; do sleep 0.05; done;"
    admin.add("steady", "sleep 100000", behavior={"exit": "keepalive"})
    admin.add("ends", f"echo before; {wait} echo after; exit 41", shell=True)
    admin.add("again", f"{wait} exit 5", shell=True, behavior={"exit": "keepalive"})
    pids = {name: managed(admin, name) for name in ("steady", "ends", "again")}

    if daemon_dies_too:
        fresh_daemon.kill()
    old = fresh_daemon.kill_keeper()
    if daemon_dies_too:
        fresh_daemon.start()
    eventually(lambda: fresh_daemon.keeper_pid() not in (None, old), "a new keeper")
    assert all(map(processes.alive, pids.values()))

    def adopted():
        apps = admin.apps()
        return all(apps[name].get("pid") == pid for name, pid in pids.items())
    eventually(adopted, "the daemon shows the same pids")
    assert all(admin.app(name)["starts"] == 1 for name in pids), "none was started again"

    gate.touch()
    ended = eventually(lambda: (app := admin.app("ends")).get("return_code") is not None and app, "its exit is noticed")
    assert ended["return_code"] == 0 and "exit status unknown" in ended["last_error"]
    assert admin.output("ends").body == b"before\nafter\n"
    eventually(lambda: not processes.alive(pids["again"]), "the other one has seen the gate too")
    gate.unlink()
    new = eventually(lambda: admin.app("again").get("pid") not in (None, pids["again"]) and admin.app("again"), "it restarted")
    assert new["starts"] >= 2  # it may have seen the gate once more

    # What the new keeper starts is its own child again: codes are known.
    assert admin.syncrun(command="exit 9", shell=True).headers["X-Exit-Code"] == "9"
    admin.disable("steady")
    eventually(lambda: not processes.alive(pids["steady"]), "an adopted app is stoppable")
    eventually(lambda: not fresh_daemon.processes_of("steady"), "and leaves nothing")


@pytest.mark.timeout(300)
def test_killing_the_keeper_again_and_again_doubles_nothing(fresh_daemon):
    admin = fresh_daemon.client()
    names = [f"app{number}" for number in range(20)]
    for name in names:
        admin.add(name, "sleep 100000", behavior={"exit": "keepalive"})
    pids = {name: managed(admin, name) for name in names}
    for _ in range(5):
        old = fresh_daemon.kill_keeper()
        eventually(lambda: fresh_daemon.keeper_pid() not in (None, old), "a new keeper")
        run = admin.run(command="true")  # may meet the moment without a keeper; then it says so
        assert run.status in (200, 400, 412, 503), run
    eventually(lambda: all(admin.app(name).get("pid") == pid for name, pid in pids.items()), "all are as they were")
    for name in names:
        assert len(fresh_daemon.processes_of(name)) == 1, name
        assert admin.app(name)["starts"] == 1
