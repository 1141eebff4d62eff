"""What GET of an app shows is of the moment, however often it was asked for before: a change, an exit and growing output."""
from harness.waiting import eventually


def ask_often(client, name):
    return [client.app(name) for _ in range(5)][-1]


def test_a_change_is_shown_by_the_next_answer(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 100000", description="first")
    eventually(lambda: "pid" in ask_often(admin, name), "the app runs")
    for description in ("second", "third"):
        admin.add(name, "sleep 100000", description=description)
        assert ask_often(admin, name)["description"] == description
        assert admin.apps()[name]["description"] == description
    admin.ok("POST", f"/appmesh/app/{name}/disable")
    assert ask_often(admin, name)["status"] == 0
    admin.ok("POST", f"/appmesh/app/{name}/enable")
    assert ask_often(admin, name)["status"] == 1
    admin.delete(name)
    assert admin.request("GET", f"/appmesh/app/{name}").status == 404


def test_an_exit_and_the_output_of_a_running_app_are_shown(admin, name, cleaned, tmp_path):
    cleaned.append(name)
    go, end = tmp_path / "go", tmp_path / "end"
    admin.add(name, f"while [ ! -e {go} ]; do sleep 0.05; done; printf 12345; while [ ! -e {end} ]; do sleep 0.05; done; exit 7",
              shell=True)
    first = eventually(lambda: (app := ask_often(admin, name)).get("pid") and app, "the app runs")
    assert first["stdout_cache_size"] == 0 and first["memory"] > 0
    go.touch()
    eventually(lambda: ask_often(admin, name)["stdout_cache_size"] == 5, "the new size")
    end.touch()
    ended = eventually(lambda: (app := ask_often(admin, name)).get("return_code") == 7 and app, "the exit")
    assert "pid" not in ended and "memory" not in ended and ended["stdout_cache_size"] == 5
