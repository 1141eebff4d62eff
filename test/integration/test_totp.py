"""The second factor: setting it up, logging in with it, and what happens to codes that are wrong or used."""
import base64
import hashlib
import hmac
import os
import pty
import re
import select
import struct
import subprocess
import time
import urllib.parse

import pytest
from harness.daemon import binaries


class Authenticator:
    """Codes as an authenticator program makes them (RFC 6238); each one that it gives is a new one."""

    def __init__(self, mfa_uri):
        address = urllib.parse.urlsplit(base64.b64decode(mfa_uri).decode())
        query = urllib.parse.parse_qs(address.query)
        assert (address.scheme, address.netloc) == ("otpauth", "totp") and query["issuer"] == ["AppMesh"]
        self.user = address.path.lstrip("/")
        self.secret = base64.b32decode(query["secret"][0])
        self.last = 0

    def of_step(self, step):
        digest = hmac.new(self.secret, struct.pack(">Q", step), hashlib.sha1).digest()
        at = digest[-1] & 15
        return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7fffffff) % 1000000:06d}"

    def code(self):
        # The daemon takes one step to either side, so three codes are good at a time.
        self.last = max(self.last + 1, int(time.time()) // 30 - 1)
        return self.of_step(self.last)


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def account(admin, name):
    """A user with the roles that logging in needs, removed at the end."""
    user = name[-20:]
    admin.ok("PUT", f"/appmesh/user/{user}", body={"key": "Pass-word-1", "roles": ["view"]})
    yield user
    admin.request("DELETE", f"/appmesh/user/{user}")


def login(admin, user, **headers):
    return admin.request("POST", "/appmesh/login", token=None,
                         headers={**basic(user, "Pass-word-1"), **{k.replace("_", "-"): v for k, v in headers.items()}})


def set_up(admin, user):
    token = login(admin, user).json["access_token"]
    authenticator = Authenticator(admin.ok("POST", "/appmesh/totp/secret", token=token).json["mfa_uri"])
    assert authenticator.user == user
    answer = admin.request("POST", "/appmesh/totp/setup", token=token, headers={"X-Totp-Code": authenticator.code()})
    assert answer.status == 200, answer.text
    assert admin.request("GET", "/appmesh/user/self", token=token).status == 401, "the token was renewed"
    assert admin.request("GET", "/appmesh/user/self", token=answer.json["access_token"]).json["mfa_enabled"] is True
    return authenticator, answer.json["access_token"]


def test_a_login_without_a_code_is_answered_by_a_challenge(admin, account):
    authenticator, _ = set_up(admin, account)
    asked = login(admin, account, X_Expire_Seconds="3600")
    assert asked.status == 428 and "TOTP realm=" in asked.headers["WWW-Authenticate"]
    body = asked.json
    assert body["status"] == "TOTP_CHALLENGE_REQUIRED" and body["totp_challenge"].startswith("H")
    assert "access_token" not in body and 170 <= body["expires"] - time.time() <= 181

    def validate(code, challenge=body["totp_challenge"], user=account):
        return admin.request("POST", "/appmesh/totp/validate", token=None,
                             body={"user_name": user, "totp_code": code, "totp_challenge": challenge})
    assert validate("").status == 400
    assert validate(authenticator.code(), challenge="H1").status == 401
    assert validate("12345").status == 401
    good = validate(authenticator.code())
    assert good.status == 200 and good.json["profile"]["name"] == account
    assert good.json["expires_in"] <= 3600, "the token of the login"
    assert admin.request("GET", "/appmesh/user/self", token=good.json["access_token"]).status == 200
    assert validate(authenticator.code(), user="nobody").status == 401
    assert validate("123456", user="admin").status == 400, "an account without a second factor"


def test_a_code_with_the_login_is_enough_and_good_once(admin, account):
    authenticator, _ = set_up(admin, account)
    code = authenticator.code()
    assert login(admin, account, X_Totp_Code=code).status == 200
    assert login(admin, account, X_Totp_Code=code).status == 401, "a used code"
    assert login(admin, account, X_Totp_Code="000000").status == 401
    wrong = admin.request("POST", "/appmesh/login", token=None,
                          headers={**basic(account, "wrong"), "X-Totp-Code": authenticator.code()})
    assert wrong.status == 401 and "TOTP" not in wrong.text, "the password comes first"


def test_the_second_factor_is_given_up_by_its_owner_or_by_who_may(admin, account):
    _, token = set_up(admin, account)
    assert admin.request("POST", "/appmesh/totp/admin/disable", token=token).status == 403
    assert admin.request("POST", "/appmesh/totp/self/disable", token=token).status == 200
    assert login(admin, account).status == 200

    set_up(admin, account)
    assert admin.request("POST", f"/appmesh/totp/{account}/disable").text == "2FA deactive success"
    assert login(admin, account).status == 200
    assert admin.request("POST", "/appmesh/totp/no-such-user/disable").status == 404


def test_setting_up_needs_a_secret_and_a_right_code(admin, account):
    token = login(admin, account).json["access_token"]

    def confirm(code):
        return admin.request("POST", "/appmesh/totp/setup", token=token, headers={"X-Totp-Code": code})
    assert confirm("123456").status == 400, "no secret yet"
    authenticator = Authenticator(admin.ok("POST", "/appmesh/totp/secret", token=token).json["mfa_uri"])
    assert confirm("000000").status == 401 and confirm("").status == 401
    assert login(admin, account).status == 200, "off until it is confirmed"
    assert confirm(authenticator.code()).status == 200


def test_the_secret_is_sealed_on_disk(fresh_daemon):
    admin = fresh_daemon.client()
    admin.ok("PUT", "/appmesh/user/ann", body={"key": "Pass-word-1", "roles": ["view"]})
    authenticator, _ = set_up(admin, "ann")
    secret = base64.b32encode(authenticator.secret).decode()
    text = (fresh_daemon.home / "work/config/security.yaml").read_text()
    assert secret not in text and "sealed:" in text
    assert secret not in admin.ok("GET", "/appmesh/users").text and secret not in fresh_daemon.log_tail(10**6)
    fresh_daemon.kill()
    fresh_daemon.start()
    assert login(fresh_daemon.client(), "ann", X_Totp_Code=authenticator.code()).status == 200


def on_terminal(words, environment, answer):
    """Runs appc on a pseudo-terminal and types what `answer` makes of the screen, once it makes something of it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], [str(word) for word in words], environment)
    screen, typed, end = "", False, time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            screen += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the program has closed its end
            break
        if not typed and (text := answer(screen)):
            typed = True
            os.write(terminal, text.encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


def test_the_command_line_shows_the_secret_asks_for_a_code_and_logs_on_with_one(daemon, admin, account, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "TERM": "xterm",
                   "APPMESH_HOME": str(tmp_path / "state"), "APPMESH_HOME_DIR": str(daemon.home)}
    appc = [binaries() / "appc", "-H", f"https://127.0.0.1:{daemon.port}"]

    def run(*words, **more):
        return subprocess.run([*appc, *words], env={**environment, **more}, capture_output=True, text=True, timeout=60)
    assert run("logon", "-U", account, APPMESH_PASSWORD="Pass-word-1").returncode == 0

    found = []

    def type_code(screen):
        address = re.search(r"otpauth://\S+", screen)
        if "Code that" not in screen or not address:
            return None
        found.append(Authenticator(base64.b64encode(address.group().encode())))
        return found[0].code()
    code, screen = on_terminal([*appc, "mfa", "--add"], environment, type_code)
    assert code == 0 and "\u2588" in screen, screen
    assert run("user").returncode == 0, "logged on with the renewed token"

    refused = run("logon", "-U", account, "--totp", "000000", APPMESH_PASSWORD="Pass-word-1")
    assert refused.returncode != 0 and "TOTP" in refused.stderr
    code, screen = on_terminal([*appc, "logon", "-U", account], {**environment, "APPMESH_PASSWORD": "Pass-word-1"},
                               lambda screen: found[0].code() if "TOTP code" in screen else None)
    assert code == 0, screen
    assert run("mfa", "-d").returncode == 0
    assert run("logon", "-U", account, APPMESH_PASSWORD="Pass-word-1").returncode == 0
