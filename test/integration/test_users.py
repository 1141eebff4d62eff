"""Apps run as the OS user of their owner, with that user's groups and environment and nothing of root's.

The daemon of this file sees a passwd and a group file of its own, in a mount namespace, so that nothing here depends on
or changes the users of the machine.
"""
import os
import secrets

import pytest
from harness.daemon import Daemon, in_own_mounts
from harness.waiting import eventually, stays

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PASSWD = """root:x:0:0:root:/root:/bin/bash
toor:x:0:0:not root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
mesh-alice:x:61001:61001:Alice:/:/bin/bash
"""
GROUP = """root:x:0:
nogroup:x:65534:
mesh-alice:x:61001:
mesh-extra:x:61002:mesh-alice
mesh-more:x:61003:mesh-alice
"""
PASSWORD = "Owner-for-tests-1"
REPORT = "id -un; id -gn; id -G; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; env; pwd"


def with_users(daemon):
    folder = daemon.home.parent / f"users-{secrets.token_hex(4)}"
    folder.mkdir()
    daemon.home.parent.chmod(0o711)  # mkdtemp made it root's alone
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        (folder / name).write_text(text)
    daemon.launcher = in_own_mounts("\n".join(f"mount --bind {folder}/{name} /etc/{name}" for name in ("passwd", "group")))
    return daemon


@pytest.fixture(scope="module")
def house(homes):
    daemon = with_users(Daemon(homes / "users")).start()
    try:
        yield daemon
    finally:
        daemon.close()


def put_owner(daemon, user, os_user):
    daemon.client().ok("PUT", f"/appmesh/user/{user}", body={"key": PASSWORD, "exec_user": os_user, "roles": ["manage", "view", "shell"]})


@pytest.fixture
def owner(house, request):
    """owner("nobody") is a client logged on as a user whose apps run as nobody."""
    def make(os_user):
        user = f"user{secrets.token_hex(3)}"
        put_owner(house, user, os_user)
        client = house.client(user, PASSWORD)
        client.user = user
        return client
    return make


def report(client, **fields):
    answer = client.syncrun(timeout=30, command=REPORT, shell=True, **fields)
    assert answer.status == 200, answer
    lines = answer.text.splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    return {"user": lines[0], "group": lines[1], "groups": set(lines[2].split()), "status": status, "env": environment,
            "pwd": lines[-1]}


def no_capability(status, but=()):
    return all(int(value, 16) == 0 for name, value in status.items() if name.startswith("Cap") and name not in but)


def test_an_app_has_its_users_groups_and_environment_and_no_privilege(house, owner):
    seen = report(owner("mesh-alice"))
    assert (seen["user"], seen["group"], seen["groups"]) == ("mesh-alice", "mesh-alice", {"61001", "61002", "61003"})
    assert no_capability(seen["status"]) and seen["status"]["NoNewPrivs"] == "1"
    assert {key: seen["env"][key] for key in ("USER", "LOGNAME", "HOME", "SHELL")} == {
        "USER": "mesh-alice", "LOGNAME": "mesh-alice", "HOME": "/", "SHELL": "/bin/bash"}
    assert seen["pwd"] == str(house.home / "work/tmp")


def test_nobody_and_root_can_be_named(owner):
    seen = report(owner("nobody"))
    assert seen["user"] == "nobody" and seen["groups"] == {"65534"} and no_capability(seen["status"])
    assert seen["env"]["HOME"] == "/nonexistent"
    assert report(owner("root"))["user"] == "root"


def test_what_the_app_says_itself_wins_over_the_users_environment(owner):
    assert report(owner("nobody"), env={"HOME": "/tmp"})["env"]["HOME"] == "/tmp"


def test_the_administrator_without_an_os_user_runs_as_the_daemon(house):
    seen = report(house.client())
    assert seen["user"] == "root" and int(seen["status"]["CapEff"], 16) != 0


def test_output_may_be_opened_by_name(owner):
    answer = owner("nobody").syncrun(timeout=30, command="echo one >> /dev/stdout; echo two >> /dev/stderr", shell=True)
    assert set(answer.text.split()) == {"one", "two"} and answer.headers["X-Exit-Code"] == "0"


def test_a_login_session_runs_the_users_login_shell(owner):
    client = owner("mesh-alice")
    answer = client.syncrun(timeout=30, session_login=True,
                            command="shopt -q login_shell && echo login; id -un; grep -E '^(Cap|NoNewPrivs)' /proc/self/status")
    lines = answer.text.splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert lines[:2] == ["login", "mesh-alice"]
    # As after any login of that user: no capability, but sudo would work.
    assert no_capability(status, but=("CapBnd",)) and status["NoNewPrivs"] == "0" and int(status["CapBnd"], 16) != 0


def test_a_login_session_of_a_user_who_cannot_log_in_ends_at_once(owner):
    answer = owner("nobody").syncrun(timeout=30, session_login=True, command="echo ran")
    assert "ran" not in answer.text and answer.headers["X-Exit-Code"] == "1"


def test_an_unknown_os_user_is_a_failed_start_until_the_owner_has_another(house, owner, name):
    client = owner("no-such-user")
    client.add(name, "sleep 100000", behavior={"exit": "restart"})
    failed = eventually(lambda: (app := client.app(name)).get("last_error") and app, "the failure is told")
    assert "user: no such OS user no-such-user" in failed["last_error"]
    assert "pid" not in failed and failed["starts"] == 0 and failed["health"] == 1 and "return_code" not in failed
    eventually(lambda: client.app(name).get("next_start_time"), "it waits for its next try")

    put_owner(house, client.user, "nobody")
    pid = eventually(lambda: client.app(name).get("pid"), "it runs as the user that is named now")
    assert os.stat(f"/proc/{pid}").st_uid == 65534
    client.delete(name)


def test_another_name_of_root_is_refused(owner):
    answer = owner("toor").syncrun(timeout=30, command="id -un")
    assert answer.status == 400 and "user: toor has uid 0 and is not root" in answer.message


def test_an_on_demand_run_of_an_unknown_user_is_refused_with_the_reason(owner):
    answer = owner("no-such-user").syncrun(timeout=30, command="true")
    assert answer.status == 400 and "no such OS user no-such-user" in answer.message


@pytest.mark.parametrize("what,app,words", [
    ("no command", {"command": "/no/such/program"}, "exec: /no/such/program: No such file or directory"),
    ("no directory", {"command": "true", "working_dir": "/no/such/folder"}, "chdir: /no/such/folder: No such file or directory"),
    ("a directory of root's alone", {"command": "true", "working_dir": "/root"}, "chdir: /root: Permission denied"),
    ("a file that is no program", {"command": "/etc/passwd"}, "exec: /etc/passwd: Permission denied"),
])
def test_a_failed_start_of_another_user_names_step_and_reason(what, app, words, owner, name):
    if what.endswith("alone") and os.stat("/root").st_mode & 0o001:
        pytest.skip("/root is open to all here")
    client = owner("nobody")
    client.add(name, **app)
    failed = eventually(lambda: (app := client.app(name)).get("last_error") and app, "the failure is told")
    assert words in failed["last_error"] and failed["starts"] == 0 and "pid" not in failed
    client.delete(name)


def test_an_app_of_a_deleted_owner_does_not_come_back_as_root(house, owner, name):
    client, admin = owner("nobody"), house.client()
    client.add(name, "sleep 100000", behavior={"exit": "restart"})
    pid = eventually(lambda: client.app(name).get("pid"), "it runs")
    admin.ok("DELETE", f"/appmesh/user/{client.user}")
    stays(lambda: admin.app(name).get("pid") == pid, "what runs goes on", seconds=0.3)
    admin.disable(name)
    eventually(lambda: "pid" not in admin.app(name), "it is stopped")
    admin.enable(name)
    eventually(lambda: f"user: the owner {client.user} is no user any more" in admin.app(name).get("last_error", ""), "refused")
    assert "pid" not in admin.app(name)
    admin.delete(name)


def test_the_run_of_another_user_is_found_again_and_stopped_whole(house, owner, name):
    client = owner("nobody")
    client.add(name, "setsid sleep 100000 & sleep 100000", shell=True)
    pid = eventually(lambda: client.app(name).get("pid"), "it runs")
    eventually(lambda: len(house.processes_of(name)) == 3, "and its child, away in a session of its own")
    house.kill()
    house.start()
    assert client.app(name)["pid"] == pid
    client.disable(name)
    eventually(lambda: not house.processes_of(name), "nothing is left")
    client.delete(name)


@pytest.mark.parametrize("disabled,expected", [(None, "nobody"), ("true", "root")])
def test_the_default_user_is_for_owners_without_one_and_may_be_disabled(disabled, expected, new_daemon):
    daemon = with_users(new_daemon(BaseConfig_DefaultExecUser="nobody", BaseConfig_DisableExecUser=disabled)).start()
    admin = daemon.client()
    assert report(admin)["user"] == expected
    put_owner(daemon, "ann", "mesh-alice")
    assert report(daemon.client("ann", PASSWORD))["user"] == ("root" if disabled else "mesh-alice")
