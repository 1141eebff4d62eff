"""An app that keeps failing costs little: it waits longer and longer, says why and until when, and disturbs nobody."""
import itertools
import re

from harness import processes
from harness.waiting import eventually


def test_the_wait_doubles_and_says_its_reason_and_its_end(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "exit 41", shell=True, behavior={"exit": "restart"})
    seen = []

    def watch():
        app = admin.app(name)
        wait = re.search(r"exited with return code: 41; restart in (\d+) s \(back-off\)$", app.get("last_error", ""))
        if wait and (not seen or seen[-1] != int(wait[1])):
            seen.append(int(wait[1]))
            assert app["next_start_time"] >= app["last_exit_time"] + seen[-1] - 1
        return len(seen) >= 3
    eventually(watch, "three waits")
    assert all(later == 2 * sooner for sooner, later in itertools.pairwise(seen)), seen
    runs = sorted(run["start_time"] for run in admin.runs(name))
    assert len(runs) == admin.app(name)["starts"], "every run is in the history"


def test_a_failed_start_backs_off_too_and_counts_no_start(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "/no/such/program", behavior={"exit": "restart"})
    waiting = eventually(lambda: "restart in 2 s (back-off)" in (app := admin.app(name)).get("last_error", "") and app, "it waits")
    assert "exec: /no/such/program: No such file or directory" in waiting["last_error"] and waiting["next_start_time"]
    assert waiting["starts"] == 0 and waiting["health"] == 1 and "return_code" not in waiting and admin.runs(name) == []


def test_many_crash_loops_leave_the_daemon_as_it_was(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("good", "sleep 100000", behavior={"exit": "keepalive"})
    good = eventually(lambda: admin.app("good").get("pid"), "it runs")
    before = processes.descriptor_count(fresh_daemon.pid), processes.thread_count(fresh_daemon.pid)
    for number in range(50):
        admin.add(f"bad{number}", "exit 1" if number % 2 else "/no/such/program", shell=bool(number % 2), behavior={"exit": "restart"})
    eventually(lambda: all("back-off" in app.get("last_error", "") for name, app in admin.apps().items() if name != "good"), "all back off")
    assert admin.app("good")["pid"] == good and admin.app("good")["starts"] == 1
    for number in range(50):
        admin.delete(f"bad{number}")
    eventually(lambda: processes.descriptor_count(fresh_daemon.pid) <= before[0] + 4, "no descriptor is left")
    assert processes.thread_count(fresh_daemon.pid) <= before[1] + 1


def test_a_change_by_the_user_ends_the_wait(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "exit 41", shell=True, behavior={"exit": "restart"})
    eventually(lambda: "restart in 4 s (back-off)" in admin.app(name).get("last_error", ""), "it waits")
    admin.add(name, "sleep 100000", behavior={"exit": "restart"})
    eventually(lambda: admin.app(name).get("pid"), "it runs")
    assert "back-off" not in admin.app(name).get("last_error", "")
