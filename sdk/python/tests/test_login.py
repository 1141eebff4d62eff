"""Logging on with a second factor, and at an identity provider."""

import base64
import hashlib
import hmac
import http.server
import json
import struct
import threading
import time
import urllib.parse

import pytest

from appmesh import AppMeshAuthError, AppMeshClientOAuth


def code_of(secret):
    """RFC 6238, as an authenticator does it."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def test_a_second_factor(client, new_client, name):
    client.add_user(name, {"key": "Secret-1-secret", "roles": ["view"]})
    user = new_client("tcp", login=False)
    assert user.login(name, "Secret-1-secret") is None
    secret = user.get_totp_secret()
    user.enable_totp(code_of(secret))
    assert user.get_user_permissions(), "it goes on with the token that it got"
    user.logout()
    challenge = user.login(name, "Secret-1-secret")
    assert challenge
    with pytest.raises(AppMeshAuthError):
        user.validate_totp(name, challenge, "000000" if code_of(secret) != "000000" else "000001")
    user.validate_totp(name, challenge, code_of(secret))
    assert user.get_current_user()["mfa_enabled"] is True
    user.disable_totp()
    assert new_client("https", login=False).login(name, "Secret-1-secret") is None
    client.delete_user(name)


class Provider(http.server.BaseHTTPRequestHandler):
    """As much of an identity provider as the password grant takes."""

    asked = []

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.asked.append((self.path, form))
        good = form.get("password", "right") == "right" and form.get("refresh_token", "refresh-1") == "refresh-1"
        if self.path.endswith("/logout"):
            self.send_response(204)
            self.end_headers()
            return
        body = {"access_token": f"access-{len(self.asked)}", "refresh_token": "refresh-1"}
        if not good:
            body = {"error": "invalid_grant"}
        data = json.dumps(body).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def test_an_identity_provider(daemon):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        "auth_server_url": f"http://127.0.0.1:{server.server_port}",
        "realm": "a realm",
        "client_id": "mesh",
        "client_secret": "s&cret",
    }
    with AppMeshClientOAuth(settings, daemon.url, daemon.ca_file, auto_refresh_token=False) as client:
        with pytest.raises(AppMeshAuthError, match="invalid_grant"):
            client.login("ann", "wrong")
        with pytest.raises(AppMeshAuthError):
            client.renew_token()
        assert client.login("ann", "right", totp_code="123456") is None
        path, form = Provider.asked[-1]
        assert path == "/realms/a%20realm/protocol/openid-connect/token"
        assert form["client_secret"] == "s&cret"
        assert form["totp"] == "123456"
        first = client._session.token
        client.renew_token()
        assert client._session.token != first
        assert client.logout() is True
        assert client.logout() is False
        assert client._session.token is None
    server.shutdown()
