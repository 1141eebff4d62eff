"""A daemon that is stopped and started again finds everything where it was."""
from harness import processes
from harness.waiting import eventually


def test_a_planned_restart_leaves_the_apps_and_knows_them_again(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("steady", "sleep 100000", env={"A": "1"}, description="stays", permission=12, behavior={"exit": "keepalive"})
    admin.add("off", "sleep 100000", status=0)
    admin.add("done", "echo all said; exit 3", shell=True)
    run = admin.run(name="ondemand", command="echo early; sleep 1000", shell=True).json
    eventually(lambda: admin.app("done").get("return_code") == 3, "one has exited")
    eventually(lambda: admin.output("ondemand").body == b"early\n", "the run has spoken")
    before = eventually(lambda: (apps := admin.apps())["steady"].get("pid") and apps, "it runs")
    keeper = fresh_daemon.keeper_pid()

    assert fresh_daemon.stop() == 0
    assert processes.alive(before["steady"]["pid"]) and processes.alive(before["ondemand"]["pid"])
    fresh_daemon.start()

    after = admin.apps()  # with the token of before
    assert set(after) == set(before)
    volatile = {"memory", "cpu", "fd", "pstree"}
    for name in before:
        old = {key: value for key, value in before[name].items() if key not in volatile}
        assert {key: value for key, value in after[name].items() if key not in volatile} == old
    assert fresh_daemon.keeper_pid() == keeper, "the keeper is the same"
    assert admin.output("done").body == b"all said\n"
    assert admin.output("ondemand", process_uuid=run["process_uuid"]).body == b"early\n"
    assert len(admin.runs("steady")) == 1
    admin.disable("steady")
    admin.delete("ondemand")
    eventually(lambda: not fresh_daemon.processes_of("steady") + fresh_daemon.processes_of("ondemand"), "both are stopped")


def test_a_daemon_that_ends_amid_exits_loses_no_output(fresh_daemon, tmp_path):
    """The end of a run is on record before the keeper may forget it: a daemon that ends in between finds the run again."""
    names = [f"short{number}" for number in range(12)]
    admin = fresh_daemon.client()
    for attempt in range(6):
        gate = tmp_path / f"gate{attempt}"
        for name in names:
            admin.add(name, f"echo {attempt}; while [ ! -e {gate} ]; do sleep 0.01; done; echo of {name}", shell=True)
        eventually(lambda: all(app.get("pid") for app in admin.apps().values()), "all run")
        pids = [app["pid"] for app in admin.apps().values()]
        gate.touch()
        eventually(lambda: not any(processes.alive(pid) for pid in pids[:1 + 2 * attempt]), "some have ended")
        if attempt % 2:
            fresh_daemon.kill()
        else:
            fresh_daemon.stop()
        fresh_daemon.start()
        eventually(lambda: not any(app.get("pid") for app in admin.apps().values()), "all have ended")
        for name in names:
            assert admin.output(name).body.decode() == f"{attempt}\nof {name}\n"
            runs = admin.runs(name)
            assert runs[0]["return_code"] == 0 and len({run["process_uuid"] for run in runs}) == len(runs)
            admin.delete(name)


def test_what_exits_while_the_daemon_is_away_is_accounted_for(fresh_daemon, tmp_path):
    gate = tmp_path / "gate"
    admin = fresh_daemon.client()
    wait = f"until [ -e {gate} ]; do sleep 0.05; done;"
    admin.add("standby", f"{wait} echo last words; exit 41", shell=True)
    admin.add("alive", f"{wait} kill -9 $$", shell=True, behavior={"exit": "keepalive"})
    run = admin.run(name="ondemand", command=f"{wait} echo bye; exit 6", shell=True).json
    pids = [eventually(lambda: admin.app(name).get("pid"), "it runs") for name in ("standby", "alive", "ondemand")]
    fresh_daemon.kill()
    gate.touch()
    eventually(lambda: not any(map(processes.alive, pids)), "all three have exited")
    gate.unlink()
    fresh_daemon.start()
    assert eventually(lambda: admin.app("standby").get("return_code"), "its code is known") == 41
    assert admin.output("standby").body == b"last words\n"
    assert admin.wait_exit(run) == (6, b"bye\n")
    again = eventually(lambda: (app := admin.app("alive")).get("pid") and app, "it was started again")
    assert again["return_code"] == -9 and again["starts"] == 2 and again["pid"] not in pids
    assert [each["return_code"] for each in admin.runs("alive") if each.get("end_time")] == [-9]


def test_a_second_daemon_on_the_same_home_is_refused(fresh_daemon, new_daemon):
    second = new_daemon()
    own_home, second.home = second.home, fresh_daemon.home
    try:
        second.start(wait=False)
        assert second.process.wait(timeout=30) != 0
    finally:
        second.home = own_home
        own_home.mkdir(exist_ok=True)
    assert fresh_daemon.client().apps() == {}


def test_a_definition_edited_by_hand_is_read_at_the_next_start_and_a_broken_one_stops_nobody(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("good", "sleep 1000", description="before")
    admin.add("bad", "sleep 1000", status=0)
    fresh_daemon.stop()
    folder = fresh_daemon.home / "work/apps"
    text = (folder / "good.yaml").read_text()
    assert "before" in text
    (folder / "good.yaml").write_text(text.replace("before", "after"))
    (folder / "bad.yaml").write_text("command: [unclosed\n")
    fresh_daemon.start()
    assert admin.app("good")["description"] == "after"
    assert "invalid" in admin.app("bad") and "pid" not in admin.app("bad")
    assert (folder / "bad.yaml").read_text() == "command: [unclosed\n", "the file is left alone"
    assert "bad.yaml" in fresh_daemon.log_tail(400)
