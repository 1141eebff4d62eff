"""Secrets belong to the owner of an app, an edit changes no owner, and nobody becomes root because nobody said whom they shall be."""
import os
import pwd

import pytest
from harness.waiting import eventually

PASSWORD = "Secret-of-user-1"
ROLES = ["manage", "shell", "view"]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def people(daemon):
    """owner and mate have one OS user, stranger has another."""
    admin = daemon.client()
    for user, exec_user in (("owner", "daemon"), ("mate", "daemon"), ("stranger", "nobody"), ("nobodys", "")):
        admin.ok("PUT", f"/appmesh/user/{user}", body={"key": PASSWORD, "roles": ROLES, "group": "g", "exec_user": exec_user})
    return {user: daemon.client(user, PASSWORD) for user in ("owner", "mate", "stranger", "nobodys")}


def output(client, name):
    return client.whole_output(name).decode()


@pytest.fixture
def app(people, name, cleaned):
    cleaned.append(name)
    people["owner"].add(name, "printenv SECRET OPEN", env={"OPEN": "seen"}, sec_env={"SECRET": "owner-only"}, permission=33, working_dir="/")
    return name


def test_a_copy_by_another_has_no_secrets(people, app):
    for how in ("run", "syncrun"):
        def copy(client, **more):
            if how == "syncrun":
                return client.syncrun(name=app, **more).text
            run = client.run(name=app, **more).json
            client.wait_exit(run)
            return output(client, run["name"])
        assert copy(people["owner"]) == "owner-only\nseen\n"
        for other in ("mate", "stranger"):
            assert "owner-only" not in copy(people[other])
            assert copy(people[other], sec_env={"SECRET": "mine"}) == "mine\nseen\n"


def test_the_administrator_may_copy_with_the_secrets(admin, app):
    assert admin.syncrun(name=app).text == "owner-only\nseen\n"


CHANGES = [{"command": "sh -c 'printenv SECRET; sleep 1'"}, {"shell": True}, {"working_dir": "/tmp"}, {"env": {"LD_PRELOAD": "/x"}},
           {"metadata": "cat"}, {"session_login": True}, {"health_check_cmd": "true"}, {"pid": os.getpid()}]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_what_it_runs_is_for_its_owner_to_change(people, admin, app, change):
    whole = {"name": app, "command": "printenv SECRET OPEN", "env": {"OPEN": "seen"}, "permission": 33, "working_dir": "/"}
    for other, reason in (("mate", "sec_env"), ("stranger", "OS user")):
        before = admin.app(app)
        answer = people[other].request("PUT", f"/appmesh/app/{app}", body={**whole, **change})
        assert answer.status == 403 and reason in answer.message, answer
        after = admin.app(app)
        assert {key: after[key] for key in ("command", "owner", "starts")} == {key: before[key] for key in ("command", "owner", "starts")}


def test_an_edit_changes_no_owner_and_keeps_the_secrets(people, admin, app):
    whole = {"name": app, "command": "printenv SECRET OPEN", "env": {"OPEN": "seen"}, "permission": 33, "working_dir": "/"}
    for client in (people["mate"], people["stranger"], admin, people["owner"]):
        client.ok("PUT", f"/appmesh/app/{app}", body={**whole, "description": str(id(client))})
        assert admin.app(app)["owner"] == "owner"
    admin.ok("PUT", f"/appmesh/app/{app}", body={**whole, "command": "sh -c 'printenv SECRET; id -un'"})
    user = "daemon" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    eventually(lambda: output(admin, app) == f"owner-only\n{user}\n", "it keeps the secrets and its owner's OS user")


def test_an_editor_with_secrets_of_their_own_sees_no_other(people, admin, app):
    people["mate"].ok("PUT", f"/appmesh/app/{app}",
                      body={"name": app, "command": "sh -c 'env; exit 0'", "sec_env": {"OTHER": "mine"}, "permission": 33,
                            "working_dir": "/"})
    eventually(lambda: "OTHER=mine" in output(admin, app), "it ran anew")
    assert "owner-only" not in output(admin, app)
    assert admin.app(app)["owner"] == "owner"


def test_an_app_is_given_away_by_who_may(people, admin, app):
    give = f"/appmesh/app/{app}/owner"
    assert people["owner"].request("POST", give, query={"user": "mate"}).status == 403, "app-chown is in no role of theirs"
    admin.ok("POST", "/appmesh/role/giver", body=["app-chown", "app-view", "app-reg", "app-output-view"])
    admin.ok("PUT", "/appmesh/user/giver", body={"key": PASSWORD, "roles": ["giver"], "group": "g", "exec_user": "nobody"})
    giver = people["owner"].__class__(people["owner"].port, people["owner"].ca_file)
    giver.login("giver", PASSWORD)
    assert giver.request("POST", give).status == 400
    assert giver.request("POST", give, query={"user": "no-such-user"}).status == 404
    if os.geteuid() == 0:
        refused = giver.request("POST", give, query={"user": "admin"})
        assert refused.status == 403 and "OS user" in refused.message, refused
    given = giver.ok("POST", give, query={"user": "mate"})
    assert given.headers["X-Omitted-Fields"] == "sec_env"
    assert admin.app(app)["owner"] == "mate"
    people["mate"].ok("PUT", f"/appmesh/app/{app}", body={"name": app, "command": "sh -c 'env; exit 0'", "working_dir": "/"})
    eventually(lambda: "APP_MESH_APPLICATION_NAME" in output(admin, app), "it ran")
    assert "owner-only" not in output(admin, app)


def test_the_administrator_gives_an_app_away_with_its_secrets(people, admin, app):
    given = admin.ok("POST", f"/appmesh/app/{app}/owner", query={"user": "stranger"})
    assert "X-Omitted-Fields" not in given.headers
    assert people["stranger"].syncrun(name=app).text == "owner-only\nseen\n"
    assert "owner-only" not in people["owner"].syncrun(name=app).text


@root_only
def test_an_account_without_an_os_user_runs_nothing_as_root(new_daemon):
    daemon = new_daemon().start()
    admin = daemon.client()
    admin.ok("PUT", "/appmesh/user/plain", body={"key": PASSWORD, "roles": ROLES})
    plain = daemon.client("plain", PASSWORD)
    for how in ("run", "syncrun"):
        answer = plain.request("POST", f"/appmesh/app/{how}", body={"command": "id -un"})
        assert answer.status == 400 and "exec_user" in answer.message and "DefaultExecUser" in answer.message, answer
    plain.add("works-never", "id -un")
    eventually(lambda: "exec_user" in plain.app("works-never").get("last_error", ""), "its start fails with the reason")
    assert admin.syncrun(command="id -un", working_dir="/").text == "root\n"
    admin.ok("PUT", "/appmesh/user/plain", body={"roles": ROLES, "exec_user": "daemon"})
    assert plain.syncrun(command="id -un", working_dir="/").text == "daemon\n"


@root_only
def test_a_default_is_for_all_who_have_none(new_daemon):
    daemon = new_daemon(BaseConfig_DefaultExecUser=pwd.getpwuid(1).pw_name).start()
    admin = daemon.client()
    admin.ok("PUT", "/appmesh/user/plain", body={"key": PASSWORD, "roles": ROLES})
    assert daemon.client("plain", PASSWORD).syncrun(command="id -u", working_dir="/").text == "1\n"
