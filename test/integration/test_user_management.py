"""What may be changed of users and roles, and by whom: nobody gives or takes what they lack, what a request does not name stays,
somebody can always give permissions, and a second factor is changed with a factor."""
import base64
import hashlib
import hmac
import json
import secrets

import pytest
from harness.daemon import ADMIN_PASSWORD, Daemon
from harness.waiting import eventually
from test_totp import Authenticator, login, set_up

PASSWORD = "Pass-word-1"
KNOWN = ["app-view", "passwd-change-self", "user-list", "user-token-renew", "user-totp-active"]


@pytest.fixture
def people(daemon, admin):
    """make(permissions, **fields) is a client logged on as a new user with these."""
    key, made = secrets.token_hex(3), []

    def make(permissions, **fields):
        name = f"u{len(made)}-{key}"
        made.append(name)
        admin.ok("POST", f"/appmesh/role/{name}", body=[*permissions, "user-token-renew"])
        admin.ok("PUT", f"/appmesh/user/{name}", body={"key": PASSWORD, "roles": [name], **fields})
        client = daemon.client(name, PASSWORD)
        client.user = name
        return client
    yield make
    for name in made:
        admin.request("DELETE", f"/appmesh/user/{name}")
        admin.request("DELETE", f"/appmesh/role/{name}")


def user(admin, name):
    return admin.ok("GET", "/appmesh/users").json[name]


def refused(answer, status, *words):
    assert answer.status == status and all(word in answer.message for word in words), answer


def test_what_a_change_does_not_name_stays(admin, people):
    client = people(["app-view"], group="g", email="a@b", metadata="m", exec_user="nobody")
    before = user(admin, client.user)
    for body in ({}, {"email": None, "roles": None}, {"key": "Another-word-1"}):
        admin.ok("PUT", f"/appmesh/user/{client.user}", body=body)
        assert user(admin, client.user) == before
    admin.ok("PUT", f"/appmesh/user/{client.user}", body={"email": ""})
    assert user(admin, client.user) == {**before, "email": ""}


# field, its value, the permission that it takes beside user-add
@pytest.mark.parametrize("field,value,permission", [
    ("locked", True, "user-lock"), ("locked", False, "user-unlock"), ("mfa_enabled", False, "user-totp-disable")])
def test_a_switch_needs_its_own_permission(field, value, permission, admin, people):
    target = people(["user-totp-active", "passwd-change-self"])
    if field == "mfa_enabled":
        set_up(admin, target.user)
    elif value is False:
        admin.ok("POST", f"/appmesh/user/{target.user}/lock")
    before = user(admin, target.user)
    path = f"/appmesh/user/{target.user}"
    refused(people(["user-add"]).request("PUT", path, body={field: value}), 403, permission)
    assert user(admin, target.user) == before
    people(["user-add", permission]).ok("PUT", path, body={field: value})
    assert user(admin, target.user)[field] is value


def test_nobody_gives_or_takes_a_role_with_a_permission_that_they_lack(admin, people):
    manager = people(["user-add", "role-set", "role-delete", "app-view"])
    small, large, role = people(["app-view"]), people(["app-reg"]), f"role-{secrets.token_hex(3)}"
    for name in (manager.user, small.user, f"new-{role}"):
        refused(manager.request("PUT", f"/appmesh/user/{name}", body={"key": PASSWORD, "roles": [large.user]}), 403, "app-reg")
    refused(manager.request("PUT", f"/appmesh/user/{large.user}", body={"roles": []}), 403, "app-reg")
    refused(manager.request("POST", f"/appmesh/role/{manager.user}", body=["user-add", "role-set", "app-reg"]), 403, "app-reg")
    refused(manager.request("POST", f"/appmesh/role/{large.user}", body=["app-view"]), 403, "app-reg")
    refused(manager.request("POST", f"/appmesh/role/{large.user}", body=[]), 403, "app-reg")
    refused(manager.request("DELETE", f"/appmesh/role/{large.user}"), 403, "app-reg")
    for name, path in (("admin", "user/admin"), ("manage", "role/manage"), ("usermgr", "role/usermgr")):
        body = {"roles": []} if name == "admin" else []
        assert manager.request("PUT" if name == "admin" else "POST", f"/appmesh/{path}", body=body).status == 403
    assert user(admin, large.user)["roles"] == [large.user] and f"new-{role}" not in admin.ok("GET", "/appmesh/users").json

    manager.ok("POST", f"/appmesh/role/{role}", body=["app-view"])
    manager.ok("PUT", f"/appmesh/user/{small.user}", body={"roles": [small.user, role]})
    assert user(admin, small.user)["roles"] == [small.user, role]
    manager.ok("DELETE", f"/appmesh/role/{role}")


def test_nobody_gives_a_group_or_an_os_user_that_they_do_not_have(admin, people):
    manager = people(["user-add"], group="mine", exec_user="nobody")
    other = people(["app-view"], group=f"theirs-{manager.user}", exec_user="daemon")
    path = f"/appmesh/user/{other.user}"
    refused(manager.request("PUT", f"/appmesh/user/{manager.user}", body={"group": f"theirs-{manager.user}"}), 403, "group")
    refused(manager.request("PUT", f"/appmesh/user/{manager.user}", body={"exec_user": "root"}), 403, "exec_user")
    refused(manager.request("PUT", path, body={"exec_user": "nobody"}), 403, "exec_user")  # its apps would run as theirs
    refused(manager.request("PUT", f"/appmesh/user/x-{manager.user}", body={"key": PASSWORD, "exec_user": "root"}), 403, "exec_user")
    manager.ok("PUT", path, body={"group": "mine"})
    manager.ok("PUT", f"/appmesh/user/x-{manager.user}", body={"key": PASSWORD, "exec_user": "nobody", "group": "mine"})
    admin.ok("DELETE", f"/appmesh/user/x-{manager.user}")


def test_a_role_takes_no_permission_that_does_not_exist(admin, people):
    role = people(["app-view"]).user
    refused(admin.request("POST", f"/appmesh/role/{role}", body=["app-veiw"]), 400, "app-veiw", "'app-view'")
    refused(admin.request("POST", f"/appmesh/role/{role}", body=["app-view", "fly-to-the-moon"]), 400, "fly-to-the-moon")
    assert admin.ok("GET", "/appmesh/roles").json[role] == ["app-view", "user-token-renew"]
    assert not {"app-veiw", "fly-to-the-moon"} & set(admin.ok("GET", "/appmesh/permissions").json)


@pytest.mark.parametrize("method,path,body", [
    ("PUT", "user/admin", {"roles": []}), ("PUT", "user/admin", {"roles": ["manage", "view", "shell"]}),
    ("PUT", "user/admin", {"locked": True}), ("POST", "user/admin/lock", None), ("DELETE", "user/admin", None),
    ("POST", "role/usermgr", []), ("DELETE", "role/usermgr", None),
    ("POST", "role/usermgr", ["user-add", "user-delete"]), ("POST", "role/usermgr", ["role-set"])])
def test_the_administrator_is_not_shut_out(method, path, body, admin):
    users, roles = admin.ok("GET", "/appmesh/users").json, admin.ok("GET", "/appmesh/roles").json
    assert admin.request(method, f"/appmesh/{path}", body=body).status == 400
    assert admin.ok("GET", "/appmesh/users").json == users and admin.ok("GET", "/appmesh/roles").json == roles


def test_where_there_is_no_admin_the_last_who_can_give_permissions_stays(fresh_daemon):
    file = fresh_daemon.home / "work/config/security.yaml"
    fresh_daemon.kill()
    text = "Users: {boss: {key: %s, roles: [b]}, deputy: {key: %s, roles: [b]}}\nRoles: {b: [role-set, role-delete, " \
           "user-add, user-delete, user-lock, user-list]}\n" % (PASSWORD, PASSWORD)
    file.write_text(text)
    fresh_daemon.start()
    boss = fresh_daemon.client("boss", PASSWORD)
    refused(boss.request("PUT", "/appmesh/user/admin", body={"key": PASSWORD}), 403, "admin")
    boss.ok("POST", "/appmesh/user/deputy/lock")
    for method, path, body in (("DELETE", "user/boss", None), ("POST", "user/boss/lock", None), ("DELETE", "role/b", None),
                               ("PUT", "user/boss", {"roles": []}), ("PUT", "user/boss", {"locked": True})):
        refused(boss.request(method, f"/appmesh/{path}", body=body), 400, "nobody could give them back")
    boss.ok("DELETE", "/appmesh/user/deputy")


def alive(admin, token):
    return admin.request("GET", "/appmesh/user/self", token=token).status == 200


@pytest.fixture
def account(admin, people):
    return people(KNOWN).user


def test_a_factor_that_is_on_is_not_changed_by_a_session(daemon, admin, account):
    """A session without a factor cannot exist after it was switched on; this one has shown it too long ago."""
    authenticator, token = set_up(admin, account)
    old = with_old_factor(daemon, token)
    for path in ("secret", "self/disable"):
        refused(admin.request("POST", f"/appmesh/totp/{path}", token=old), 403, "X-Totp-Code")
        assert admin.request("POST", f"/appmesh/totp/{path}", token=old, headers={"X-Totp-Code": "000000"}).status == 401
        assert login(admin, account).status == 428, "it is still on"
    assert admin.request("POST", "/appmesh/totp/setup", token=old, headers={"X-Totp-Code": authenticator.code()}).status == 400
    answer = admin.request("POST", "/appmesh/totp/self/disable", token=old, headers={"X-Totp-Code": authenticator.code()})
    assert answer.status == 200 and login(admin, account).status == 200


def with_old_factor(daemon, token):
    """The same session, with the time of its factor an hour ago: signed with the secret of the daemon's configuration."""
    def coded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    header, body, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["otp_time"] -= 3600
    claims["jti"] = secrets.token_hex(16)
    text = f"{header}.{coded(json.dumps(claims).encode())}"
    return f"{text}.{coded(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest())}"


SECRET = "a secret that the tests know, of 32 bytes or more"


@pytest.fixture(scope="module")
def daemon(homes):
    made = Daemon(homes / "user-management", REST_JWT_JWTSalt=SECRET)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def admin(daemon):
    return daemon.client()


def test_a_new_secret_changes_nothing_until_it_is_confirmed(admin, account):
    first, token = set_up(admin, account)
    second = Authenticator(admin.ok("POST", "/appmesh/totp/secret", token=token).json["mfa_uri"])
    assert login(admin, account).status == 428
    assert login(admin, account, X_Totp_Code=second.code()).status == 401
    assert login(admin, account, X_Totp_Code=first.code()).status == 200
    renewed = admin.request("POST", "/appmesh/totp/setup", token=token, headers={"X-Totp-Code": second.code()})
    assert renewed.status == 200 and alive(admin, renewed.json["access_token"])
    assert login(admin, account, X_Totp_Code=first.code()).status == 401
    assert login(admin, account, X_Totp_Code=second.code()).status == 200


def test_a_change_of_the_factor_ends_the_other_sessions_and_not_this_one(admin, account):
    other = login(admin, account).json["access_token"]
    own = login(admin, account, X_Refresh_Token_Request="true").json
    secret = Authenticator(admin.ok("POST", "/appmesh/totp/secret", token=own["access_token"]).json["mfa_uri"])
    assert alive(admin, other)
    token = admin.ok("POST", "/appmesh/totp/setup", token=own["access_token"],
                     headers={"X-Totp-Code": secret.code()}).json["access_token"]
    assert not alive(admin, other) and not alive(admin, own["access_token"]) and alive(admin, token)
    renewed = admin.ok("POST", "/appmesh/token/renew", token=token, headers={"X-Refresh-Token": own["refresh_token"]}).json
    assert alive(admin, renewed["access_token"]), "a refresh token is of the same session"

    other = login(admin, account, X_Totp_Code=secret.code()).json["access_token"]
    assert admin.request("POST", "/appmesh/totp/self/disable", token=token).status == 200
    assert alive(admin, token) and not alive(admin, other)
    assert alive(admin, admin.ok("POST", "/appmesh/token/renew", token=token).json["access_token"])


def test_an_administrator_who_switches_a_factor_off_ends_all_sessions(admin, account):
    _, token = set_up(admin, account)
    admin.ok("POST", f"/appmesh/totp/{account}/disable")
    assert not alive(admin, token) and login(admin, account).status == 200


def test_ones_own_factor_is_not_switched_off_as_a_user_manager(admin, people):
    manager = people([*KNOWN, "user-add", "user-totp-disable"])
    _, token = set_up(admin, manager.user)
    refused(admin.request("PUT", f"/appmesh/user/{manager.user}", token=token, body={"mfa_enabled": False}), 403, "disable")
    assert login(admin, manager.user).status == 428


def test_a_deleted_users_namesake_inherits_nothing(daemon, admin, name):
    user = f"ann-{secrets.token_hex(3)}"

    def make():
        admin.ok("PUT", f"/appmesh/user/{user}", body={"key": PASSWORD, "exec_user": "nobody", "roles": ["view", "manage", "shell"]})
        return log_on(daemon, user)
    first = make()
    first.add(name, "sleep 600", permission=11, sec_env={"SECRET": "of-the-first"})
    assert first.app(name)["owner"] == user
    first.ok("POST", f"/appmesh/app/{name}/disable")
    admin.ok("DELETE", f"/appmesh/user/{user}")
    second = make()
    assert first.request("GET", "/appmesh/user/self").status == 401
    for method, path in (("GET", ""), ("POST", "/enable"), ("DELETE", ""), ("GET", "/output")):
        assert second.request(method, f"/appmesh/app/{name}{path}").status == 403, path
    assert name not in second.apps() and admin.app(name)["owner"] == user

    admin.enable(name)
    eventually(lambda: "is no user any more" in admin.app(name).get("last_error", ""), "it does not run on the new account")
    daemon.kill()
    daemon.start()
    admin.close()
    admin.login("admin", ADMIN_PASSWORD)
    second = log_on(daemon, user)
    assert second.request("GET", f"/appmesh/app/{name}").status == 403, "nor after a restart"

    admin.ok("POST", f"/appmesh/app/{name}/owner", query={"user": user})
    assert second.app(name)["owner"] == user and "sec_env" not in second.app(name)
    second.delete(name)
    admin.ok("DELETE", f"/appmesh/user/{user}")


def log_on(daemon, user):
    return daemon.client(user, PASSWORD)
