"""History: every run of an app, over the API and as `appc history` shows it."""
import json
import subprocess

from harness.daemon import ADMIN_PASSWORD, binaries
from harness.waiting import eventually


def appc(daemon, *words, code=0):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(daemon.home), "APPMESH_USER": "admin",
                   "APPMESH_PASSWORD": ADMIN_PASSWORD}
    done = subprocess.run([binaries() / "appc", "-H", daemon.url, "--ca", daemon.ca_file, *words], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_every_run_is_told_newest_first_with_how_it_ended(daemon, admin, name, cleaned, tmp_path):
    cleaned.append(name)
    count = tmp_path / "count"
    admin.add(name, f"n=$(cat {count} 2>/dev/null || echo 0); echo $((n+1)) > {count}; [ $n -lt 2 ] || exec sleep 100000; exit $n",
              shell=True, behavior={"exit": "keepalive"})
    living = eventually(lambda: admin.app(name)["starts"] == 3 and (app := admin.app(name)).get("pid") and app, "run 3")
    eventually(lambda: len(admin.runs(name)) == 3, "two runs are stored and one lives")
    runs = admin.runs(name)
    assert [run.get("return_code") for run in runs] == [None, 1, 0]
    assert runs[0]["pid"] == living["pid"] and runs[0]["reason"] == "running" and "end_time" not in runs[0]
    for run in runs[1:]:
        assert run["end_time"] >= run["start_time"] and run["reason"] == "exited" and run["max_rss_bytes"] > 0
    assert runs[1]["start_time"] > runs[2]["start_time"]

    lines = appc(daemon, "history", "-a", name).stdout.splitlines()
    assert lines[0].split() == ["START", "END", "DURATION", "PID", "RETURN", "MEMORY", "CPU", "REASON"]
    assert [line.split()[-1] for line in lines[1:]] == ["running", "exited", "exited"]
    assert lines[1].split()[3] == str(living["pid"])
    as_json = json.loads(appc(daemon, "history", "-a", name, "--format", "json", "--limit", "2").stdout)
    assert as_json == runs[:2]

    admin.disable(name)
    stopped = eventually(lambda: (now := admin.runs(name))[0].get("end_time") and now, "the end is stored")
    assert stopped[0]["reason"] == "stopped: disabled" and stopped[0]["return_code"] == -15
    before = int(stopped[0]["start_time"])
    assert all(run["start_time"] < before for run in admin.runs(name, before=before))


def test_an_app_that_never_ran_has_no_history_and_one_that_is_not_there_is_an_error(daemon, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "true", status=0)
    assert admin.runs(name) == []
    assert len(appc(daemon, "history", "-a", name).stdout.splitlines()) == 1
    assert "nobody" in appc(daemon, "history", "-a", "nobody", code=1).stderr
    appc(daemon, "history", "-a", name, "--limit", "0", code=2)


def test_history_outlives_the_daemon(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("once", "exit 7", shell=True)
    told = eventually(lambda: (now := admin.runs("once")) and now[0].get("end_time") and now, "the run is stored")
    fresh_daemon.kill()
    fresh_daemon.start()
    assert fresh_daemon.client().runs("once") == told


def test_the_start_of_the_last_run_asks_for_the_next_page(fresh_daemon):
    admin = fresh_daemon.client()
    admin.add("tick", "true", start_interval_seconds=1)
    eventually(lambda: len(admin.runs("tick")) >= 3, "three runs")
    newest = admin.runs("tick", limit=1)
    older = admin.runs("tick", limit=1, before=repr(newest[0]["start_time"]))
    assert older[0]["start_time"] < newest[0]["start_time"]
    answer = admin.request("GET", "/appmesh/app/tick/runs", query={"before": "yesterday"})
    assert answer.status == 400 and "before" in answer.message
