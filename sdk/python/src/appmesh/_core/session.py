"""A client's session: its token, where it forwards to, its cookie file; and when the token wants renewing."""

import base64
import binascii
import contextlib
import http.cookiejar
import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

COOKIE_NAME = "appmesh_auth_token"
REFRESH_AHEAD = 30.0
"""A token is renewed that many seconds before it ends."""
REFRESH_AT_MOST = 300.0
"""And never later than that many seconds after the last time."""


def token_claims(token: str) -> Dict[str, Any]:
    """What a token says about itself, unverified; empty when it says nothing that can be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def refresh_delay(token: Optional[str], now: Optional[float] = None) -> float:
    """Seconds until the token wants renewing."""
    expires = token_claims(token).get("exp") if token else None
    if not isinstance(expires, (int, float)):
        return REFRESH_AT_MOST
    left = expires - (time.time() if now is None else now)
    return max(1.0, min(left - REFRESH_AHEAD, REFRESH_AT_MOST))


class CookieFile:
    """A token kept in a file in Mozilla's format, readable by its owner alone."""

    def __init__(self, path: str, host: str) -> None:
        self._path = Path(path)
        # http.cookiejar writes a host without a dot this way, and other readers of the file look for that.
        self._domain = host if "." in host or ":" in host else f"{host}.local"

    def load(self) -> Optional[str]:
        if not self._path.exists():
            return None
        jar = http.cookiejar.MozillaCookieJar(str(self._path))
        with contextlib.suppress(http.cookiejar.LoadError):
            jar.load(ignore_discard=True)
        for cookie in jar:
            if cookie.name == COOKIE_NAME and cookie.domain == self._domain and not cookie.is_expired():
                return cookie.value
        return None

    def save(self, token: Optional[str]) -> None:
        if token is None and not self._path.exists():
            return
        jar = http.cookiejar.MozillaCookieJar(str(self._path))
        if self._path.exists():
            with contextlib.suppress(http.cookiejar.LoadError):
                jar.load(ignore_discard=True)
        with contextlib.suppress(KeyError):
            jar.clear(self._domain, "/", COOKIE_NAME)
        if token:
            jar.set_cookie(self._cookie(token))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody may open it between its creation and a later chmod.
        os.close(os.open(str(self._path), os.O_CREAT | os.O_WRONLY, 0o600))
        self._path.chmod(0o600)
        jar.save(ignore_discard=True)

    def _cookie(self, token: str) -> http.cookiejar.Cookie:
        expires = token_claims(token).get("exp")
        return http.cookiejar.Cookie(
            version=0,
            name=COOKIE_NAME,
            value=token,
            port=None,
            port_specified=False,
            domain=self._domain,
            domain_specified=False,
            domain_initial_dot=False,
            path="/",
            path_specified=True,
            secure=True,
            expires=int(expires) if isinstance(expires, (int, float)) else None,
            discard=False,
            comment=None,
            comment_url=None,
            rest={"HttpOnly": ""},
        )


class Session:
    """The state that calls read and change. Assignments of one attribute are atomic; the drivers lock what needs more."""

    def __init__(self, token: Optional[str], cookies: Optional[CookieFile] = None) -> None:
        self._cookies = cookies
        self._token = token or (cookies.load() if cookies else None)
        self.forward_to = ""
        self.on_token: Callable[[], None] = lambda: None
        """Called after each change of the token."""
        if token and cookies:
            cookies.save(token)

    @property
    def token(self) -> Optional[str]:
        return self._token

    @token.setter
    def token(self, token: Optional[str]) -> None:
        self._token = token or None
        if self._cookies:
            self._cookies.save(self._token)
        self.on_token()
