"""Who may do what: login, tokens, logoff, cookies, roles and the two ownership digits."""
import base64
import json
import os
import pwd
import stat

import pytest
import yaml
from harness.daemon import ADMIN_PASSWORD
from harness.waiting import eventually


def decode(token):
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
    return json.loads(parts[0]), json.loads(parts[1])


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# Login.
def test_a_login_gives_a_token_object(daemon):
    client = daemon.client(login=False)
    answer = client.login("admin", ADMIN_PASSWORD)
    token = answer.json
    assert token["token_type"] == "Bearer" and token["expires_in"] == 604800
    assert token["expire_time"] - token["issued_at"] == 604800
    assert token["profile"]["name"] == "admin" and set(token["profile"]) == {"name", "group", "auth_time"}
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Pragma"] == "no-cache"
    assert "Set-Cookie" not in answer.headers
    header, claims = decode(token["access_token"])
    assert header["alg"] == "HS256"
    assert {"iss", "sub", "aud", "iat", "exp", "jti"} <= set(claims)
    assert claims["sub"] == "admin" and claims["aud"] == "appmesh-service" and claims["exp"] - claims["iat"] == 604800
    assert isinstance(claims["resource_access"]["appmesh-service"]["roles"], list)


def test_wrong_password_and_unknown_user_cannot_be_told_apart(daemon):
    client = daemon.client(login=False)
    wrong, unknown = client.try_login("admin", "nonsense"), client.try_login("nobody-here", "nonsense")
    assert wrong.status == unknown.status == 401
    assert wrong.body == unknown.body and "nobody-here" not in unknown.text


@pytest.mark.parametrize("asked,given", [("0", 604800), ("60", 60), ("2592000", 2592000)])
def test_the_life_of_a_token_is_what_was_asked_for_within_bounds(asked, given, daemon):
    answer = daemon.client(login=False).login("admin", ADMIN_PASSWORD, X_Expire_Seconds=asked)
    assert answer.json["expires_in"] == given


@pytest.mark.parametrize("headers", [
    {"Authorization": "Bearer x"}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()}, {},
])
def test_a_login_that_is_not_basic_is_refused(headers, daemon):
    answer = daemon.client(login=False).request("POST", "/appmesh/login", headers=headers)
    assert answer.status in ((400, 401) if "Basic" in headers.get("Authorization", "") else (400,)), answer
    assert answer.message


@pytest.mark.parametrize("header,value", [("X_Expire_Seconds", "soon"), ("X_Expire_Seconds", "-5"), ("X_Audience", "not-configured"),
                                          ("X_Audience", "appmesh-refresh"), ("X_Audience", "appmesh-file-service")])
def test_bad_login_headers_are_400(header, value, daemon):
    answer = daemon.client(login=False).try_login("admin", ADMIN_PASSWORD, **{header: value})
    assert answer.status == 400 and answer.message, answer


def test_the_first_start_makes_a_password_that_only_root_can_read(new_daemon):
    daemon = new_daemon(ADMIN_PASSWORD=None).start()
    file = daemon.home / "work/config/initial-admin-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip()
    assert len(password) >= 12
    client = daemon.client(password=password)
    assert client.apps() == {}
    assert client.try_login("admin", "admin123").status == 401 and client.try_login("admin", "").status in (400, 401)
    for private in [*daemon.home.glob("ssl/*key*.pem"), daemon.home / "work/config/security.yaml"]:
        assert stat.S_IMODE(private.stat().st_mode) == 0o600, private
    assert password not in (daemon.home / "work/config/security.yaml").read_text()


# Tokens.
def test_without_a_token_there_is_nothing_to_see(daemon):
    client = daemon.client(login=False)
    for method, path in (("GET", "/appmesh/applications"), ("PUT", "/appmesh/app/x"), ("POST", "/appmesh/app/run"),
                         ("GET", "/appmesh/labels"), ("GET", "/appmesh/user/self")):
        answer = client.request(method, path, body={"name": "x", "command": "true"} if method != "GET" else None)
        assert answer.status == 401 and answer.json == {"message": "No authentication token provided"}, (path, answer)


def test_forged_tokens_are_refused(admin):
    header, claims = decode(admin.token)
    signature = admin.token.split(".")[2]
    forged = {
        "another user": f"{encode(header)}.{encode({**claims, 'sub': 'root'})}.{signature}",
        "no algorithm": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}.",
        "another algorithm": f"{encode({'alg': 'HS512', 'typ': 'JWT'})}.{encode(claims)}.{signature}",
        "a cut signature": admin.token[:-6],
        "no signature": ".".join(admin.token.split(".")[:2]),
        "rubbish": "rubbish", "dots": "..", "long": "a" * 20000,
    }
    for what, token in forged.items():
        answer = admin.request("GET", "/appmesh/applications", token=token)
        assert answer.status == 401 and answer.message, (what, answer)


def test_auth_verifies_a_token_and_a_permission(admin):
    answer = admin.ok("POST", "/appmesh/auth", headers={"X-Permission": "app-view"})
    assert answer.json["access_token"] == admin.token and answer.json["profile"]["group"] == ""
    assert admin.request("POST", "/appmesh/auth", headers={"X-Permission": "no-such-permission"}).status == 403
    assert admin.request("POST", "/appmesh/auth", headers={"X-Audience": "your-service-api"}).status == 401
    assert admin.request("POST", "/appmesh/auth", token="x.y.z").status == 401


def test_renewing_gives_a_new_token_and_ends_the_old(daemon):
    client = daemon.client()
    old = client.token
    answer = client.ok("POST", "/appmesh/token/renew", headers={"X-Expire-Seconds": "120"}).json
    assert answer["access_token"] != old and answer["expires_in"] == 120
    assert client.request("GET", "/appmesh/applications", token=old).status == 401
    assert client.request("GET", "/appmesh/applications", token=answer["access_token"]).status == 200


def test_a_refresh_token_is_good_for_one_renewal(daemon):
    client = daemon.client(login=False)
    first = client.login("admin", ADMIN_PASSWORD, X_Refresh_Token_Request="true").json
    renewed = client.ok("POST", "/appmesh/token/renew", headers={"X-Refresh-Token": first["refresh_token"]}, token=None).json
    assert renewed["refresh_token"] != first["refresh_token"]
    again = client.request("POST", "/appmesh/token/renew", headers={"X-Refresh-Token": first["refresh_token"]}, token=None)
    assert again.status == 401 and again.message == "Refresh token has been revoked"
    assert client.request("GET", "/appmesh/applications", token=first["access_token"]).status == 200, "it was not revoked"
    assert client.request("GET", "/appmesh/applications", token=renewed["refresh_token"]).status == 401, "no access token"


def test_a_logoff_outlives_the_daemon(fresh_daemon):
    client = fresh_daemon.client()
    other = fresh_daemon.client()
    answer = client.ok("POST", "/appmesh/self/logoff")
    assert answer.body == b""
    for _ in range(2):
        assert client.request("GET", "/appmesh/applications").status == 401
        assert other.request("GET", "/appmesh/applications").status == 200
        assert client.request("POST", "/appmesh/self/logoff").status == 401
        fresh_daemon.kill()
        fresh_daemon.start()


def test_user_self_tells_who_one_is_without_secrets(admin):
    user = admin.ok("GET", "/appmesh/user/self").json
    assert user["name"] == "admin" and user["audience"] == "appmesh-service" and isinstance(user["roles"], list)
    assert not {"key", "mfa_key"} & set(user)


# Cookies.
def test_a_cookie_stands_for_the_token_and_is_cleared_at_logoff(daemon):
    client = daemon.client(login=False)
    cookie = client.login("admin", ADMIN_PASSWORD, X_Set_Cookie="true").headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    token, *attributes = [part.strip() for part in rest.split(";")]
    assert name == "appmesh_auth_token" and token == client.token
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure", "Max-Age=604800"}
    # One published client sends the whole Set-Cookie text back as its Cookie.
    for text in (f"appmesh_auth_token={token}", f"other=1; appmesh_auth_token={token}", cookie):
        assert client.request("GET", "/appmesh/applications", token=None, headers={"Cookie": text}).status == 200, text
    cleared = client.ok("POST", "/appmesh/self/logoff", token=None, headers={"Cookie": cookie}).headers["Set-Cookie"]
    assert "Max-Age=0" in cleared
    assert client.request("GET", "/appmesh/applications", token=None, headers={"Cookie": cookie}).status == 401


def test_a_foreign_origin_with_a_cookie_changes_nothing(daemon):
    client = daemon.client(login=False)
    cookie = client.login("admin", ADMIN_PASSWORD, X_Set_Cookie="true").headers["Set-Cookie"].split(";")[0]
    path = "/appmesh/app/no-such-app/disable"
    foreign = client.request("POST", path, token=None, headers={"Cookie": cookie, "Origin": "https://evil.example"})
    assert foreign.status == 403 and foreign.message == "CSRF validation failed: origin not allowed"
    own = client.request("POST", path, token=None, headers={"Cookie": cookie, "Origin": f"https://127.0.0.1:{daemon.port}"})
    assert own.status == 404, own
    assert client.request("POST", path, token=None, headers={"Cookie": cookie}).status == 404, "no Origin: no browser"


# Roles and ownership: users are written into the file that the daemon keeps, as an administrator would.
@pytest.fixture(scope="module")
def peopled(homes):
    from harness.daemon import Daemon
    daemon = Daemon(homes / "peopled").start()
    try:
        daemon.stop()
        file = daemon.home / "work/config/security.yaml"
        content = yaml.safe_load(file.read_text())
        for user, group, roles in (("ann", "dev", ["view", "manage", "shell"]), ("bob", "dev", ["view", "manage", "shell"]),
                                   ("cyd", "ops", ["view", "manage", "shell"]), ("eve", "ops", ["view"]), ("nil", "", [])):
            content["Users"][user] = {"key": f"{user}-password", "group": group, "roles": roles, "email": "", "locked": False,
                                        "exec_user": pwd.getpwuid(os.geteuid()).pw_name}
        content["Users"]["lou"] = {"key": "lou-password", "group": "", "roles": ["view"], "locked": True}
        file.write_text(yaml.safe_dump(content))
        yield daemon.start()
    finally:
        daemon.close()


def as_user(daemon, user):
    return daemon.client(user, f"{user}-password")


def test_a_plain_password_in_the_file_works_once_and_is_hashed(peopled):
    as_user(peopled, "ann")
    text = (peopled.home / "work/config/security.yaml").read_text()
    assert "ann-password" not in text and "$argon2id$" in text
    assert stat.S_IMODE((peopled.home / "work/config/security.yaml").stat().st_mode) == 0o600
    as_user(peopled, "ann")


def test_a_locked_user_cannot_log_in_and_looks_like_any_failure(peopled):
    client = peopled.client(login=False)
    assert client.try_login("lou", "lou-password").status == 401
    assert client.try_login("lou", "lou-password").body == client.try_login("nobody", "x").body


def test_a_missing_permission_is_403_and_named(peopled):
    eve, nil = as_user(peopled, "eve"), as_user(peopled, "nil")
    assert eve.request("GET", "/appmesh/applications").status == 200
    for client, user, method, path, body, permission in (
            (eve, "eve", "PUT", "/appmesh/app/x", {"name": "x", "command": "true"}, "app-reg"),
            (eve, "eve", "POST", "/appmesh/app/run", {"command": "true"}, "app-run-async"),
            (eve, "eve", "POST", "/appmesh/app/syncrun", {"command": "true"}, "app-run-sync"),
            (eve, "eve", "PUT", "/appmesh/label/x?value=1", None, "label-set"),
            (nil, "nil", "GET", "/appmesh/applications", None, "app-view-all")):
        answer = client.request(method, path, body=body)
        assert answer.status == 403, (path, answer)
        assert answer.message == f"Permission denied: user '{user}' lacks required permission '{permission}'"


# permission: (may the same group read, write; may others read, write)
@pytest.mark.parametrize("permission,group,others", [
    (11, (False, False), (False, False)), (12, (True, False), (False, False)), (13, (True, True), (False, False)),
    (21, (False, False), (True, False)), (33, (True, True), (True, True)), (0, (True, True), (True, True)),
    (3, (True, True), (True, True)),
])
def test_the_ownership_digits_hold_for_every_route(permission, group, others, peopled):
    ann, admin, name = as_user(peopled, "ann"), peopled.client(), f"owned{permission}"
    ann.add(name, "sleep 1000", permission=permission)
    eventually(lambda: ann.app(name).get("pid"), "it runs")
    for user, (may_read, may_write) in (("ann", (True, True)), ("bob", group), ("cyd", others), ("admin", (True, True))):
        client = admin if user == "admin" else as_user(peopled, user)
        read, write = (200 if may_read else 403), (200 if may_write else 403)
        answer = client.request("GET", f"/appmesh/app/{name}")
        assert answer.status == read, (user, answer)
        if not may_read:
            assert answer.message == f"User <{user}> is not allowed to <VIEW> app <{name}>"
        assert (name in client.apps()) == may_read, user
        assert client.output(name).status == read, user
        answer = client.request("POST", f"/appmesh/app/{name}/enable")
        assert answer.status == write, (user, answer)
        if not may_write:
            assert answer.message == f"User <{user}> is not allowed to <EDIT> app <{name}>"
            same = {"name": name, "command": "sleep 1000", "permission": permission}
            assert client.request("PUT", f"/appmesh/app/{name}", body=same).status == 403
            assert client.request("DELETE", f"/appmesh/app/{name}").status == 403
    assert ann.app(name)["owner"] == "ann" and ann.app(name)["starts"] == 1
    ann.delete(name)
