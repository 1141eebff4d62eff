"""`depends_on` (docs/wire.md#own-fields): who waits for whom and for what, what is refused, and what a restart makes of it."""
import pytest
from harness.notifier import Notifier
from harness.waiting import eventually, stays


def put(client, name, **fields):
    return client.request("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "sleep 100000", **fields})


def runs(client, name):
    return client.app(name).get("pid")


def test_five_apps_start_in_their_order_each_when_the_one_before_is_ready(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    names = ["one", "two", "three", "four", "five"]
    apps = {name: Notifier(tmp_path, name) for name in names}
    for position, name in enumerate(names):
        needs = {"depends_on": {names[position - 1]: "ready"}} if position else {}
        admin.add(name, apps[name].command, readiness={"by": "notify"}, **needs)
    for position, name in enumerate(names):
        apps[name].started()
        eventually(lambda: runs(admin, name), f"{name} runs")
        for other in names[position + 1:]:
            shown = admin.app(other)
            before = names[names.index(other) - 1]
            assert shown["waiting_for"] == {before: "ready"} and "pid" not in shown
            assert shown["last_error"].endswith(f"waiting for {before} (ready)")
        if position + 1 < len(names):
            stays(lambda: not runs(admin, names[position + 1]), "the next waits", seconds=0.3)
        apps[name].say("send READY=1")
    eventually(lambda: all(admin.app(name).get("ready") for name in names), "all are ready")
    five = admin.app("five")
    assert "waiting_for" not in five and "last_error" not in five

    # What an app depends on may end without it; its own next start waits again.
    admin.disable("four")
    eventually(lambda: not runs(admin, "four"), "four has stopped")
    stays(lambda: runs(admin, "five") == five["pid"], "five goes on", seconds=0.5)
    admin.request("POST", "/appmesh/app/five/restart")
    eventually(lambda: admin.app("five").get("waiting_for") == {"four": "ready"}, "five waits")


@pytest.mark.parametrize("condition", ["started", "healthy", "completed"])
def test_each_condition_holds_the_start_until_it_is_met(condition, new_daemon, tmp_path):
    admin = new_daemon(BaseConfig_HealthCheckSeconds=1).start().client()
    first = Notifier(tmp_path, "first")
    extra = {"health_check_cmd": f"test -e {tmp_path}/well"} if condition == "healthy" else {}
    admin.add("first", first.command, status=0, **extra)
    assert put(admin, "second", depends_on={"first": condition}).json["waiting_for"] == {"first": condition}
    stays(lambda: not runs(admin, "second"), "nothing of the first yet", seconds=0.3)
    admin.enable("first")
    first.started()
    if condition != "started":
        stays(lambda: not runs(admin, "second"), "not yet", seconds=0.5)
    if condition == "healthy":
        (tmp_path / "well").touch()
    if condition == "completed":
        first.say("exit 3", wait=False)
        eventually(lambda: admin.app("first").get("return_code") == 3, "it failed")
        stays(lambda: not runs(admin, "second"), "a failure is no completion", seconds=0.5)
        admin.request("POST", "/appmesh/app/first/restart")
        first.started(times=2)
        first.say("exit 0", wait=False)
    eventually(lambda: runs(admin, "second"), "it starts")


def test_unknown_names_and_cycles_are_refused_with_the_path(fresh_daemon):
    admin = fresh_daemon.client()
    answer = put(admin, "a", depends_on={"nobody": "ready"})
    assert answer.status == 400 and "depends_on" in answer.message and "a -> nobody" in answer.message
    assert not admin.exists("a")
    assert put(admin, "a").status == 200
    assert put(admin, "b", depends_on={"a": "started"}).status == 200
    assert put(admin, "c", depends_on={"b": "started"}).status == 200
    answer = put(admin, "a", depends_on={"c": "started"})
    assert answer.status == 400 and "a -> c -> b -> a" in answer.message
    assert put(admin, "a", depends_on={"a": "started"}).status == 400
    assert runs(admin, "a") and "depends_on" not in admin.app("a"), "what was refused changed nothing"
    run = admin.run(command="sleep 1000", name="once").json
    assert put(admin, "d", depends_on={run["name"]: "started"}).status == 400, "on-demand runs come and go"
    # A cycle that was broken is none any more.
    assert put(admin, "b").status == 200
    assert put(admin, "a", depends_on={"c": "started"}).status == 200


def test_an_app_that_others_depend_on_is_removed_only_by_force(fresh_daemon):
    admin = fresh_daemon.client()
    put(admin, "db")
    put(admin, "web", depends_on={"db": "started"})
    put(admin, "api", depends_on={"db": "ready"})
    answer = admin.request("DELETE", "/appmesh/app/db")
    assert answer.status == 409 and "api, web" in answer.message
    assert admin.request("DELETE", "/appmesh/app/db", query={"force": "perhaps"}).status == 400
    assert runs(admin, "db")
    assert admin.request("DELETE", "/appmesh/app/db", query={"force": "true"}).status == 200
    pid = runs(admin, "web")
    assert pid, "what runs goes on"
    admin.request("POST", "/appmesh/app/web/restart")
    waiting = eventually(lambda: (now := admin.app("web")).get("waiting_for") and now, "it waits")
    assert waiting["waiting_for"] == {"db": "started"} and "db (no such application)" in waiting["last_error"]
    put(admin, "db")
    eventually(lambda: runs(admin, "web") not in (None, pid), "a new one of the name will do")
    assert admin.request("DELETE", "/appmesh/app/web").status == 200
    assert admin.request("DELETE", "/appmesh/app/api").status == 200
    assert admin.request("DELETE", "/appmesh/app/db").status == 200, "nobody depends on it any more"


def test_whatever_the_files_say_the_daemon_starts_and_what_cannot_start_says_why(fresh_daemon):
    admin = fresh_daemon.client()
    put(admin, "db")
    put(admin, "web", depends_on={"db": "started"}, status=0)
    put(admin, "lost", depends_on={"db": "started"}, status=0)
    fresh_daemon.stop()
    definitions = fresh_daemon.home / "work/apps"
    (definitions / "db.yaml").unlink()
    lost = definitions / "lost.yaml"
    lost.write_text(lost.read_text().replace("status: 0", "status: 1").replace("db:", "web:"))
    web = definitions / "web.yaml"
    web.write_text(web.read_text().replace("status: 0", "status: 1").replace("db:", "lost:"))
    fresh_daemon.start()
    assert set(admin.apps()) == {"web", "lost"}
    for name, other in (("web", "lost"), ("lost", "web")):
        eventually(lambda: admin.app(name).get("waiting_for") == {other: "started"}, f"{name} waits for ever")
    assert put(admin, "web").status == 200, "and can be put right"
    eventually(lambda: runs(admin, "web") and runs(admin, "lost"), "both run")


def test_waiting_goes_on_and_ends_over_deaths_of_the_daemon(fresh_daemon, tmp_path):
    admin = fresh_daemon.client()
    db = Notifier(tmp_path, "db")
    admin.add("db", db.command, readiness={"by": "notify"})
    put(admin, "web", depends_on={"db": "ready"}, behavior={"exit": "keepalive"})
    db.started()
    fresh_daemon.kill()
    fresh_daemon.start()
    stays(lambda: admin.app("web").get("waiting_for") == {"db": "ready"}, "it waits", seconds=0.5)
    fresh_daemon.kill()
    db.say("send READY=1")
    fresh_daemon.start()
    eventually(lambda: runs(admin, "web"), "what was said meanwhile ends the waiting")
    assert admin.app("web")["starts"] == 1
    pid = runs(admin, "web")
    fresh_daemon.kill()
    fresh_daemon.start()
    stays(lambda: runs(admin, "web") == pid, "a running app is left alone", seconds=0.5)
