"""The client over HTTPS for daemons that let an identity provider (Keycloak) decide who is who."""

import json
import threading
import urllib.parse
from typing import Any, Dict, Optional, Tuple, Union

from ._core import duration, http1, tls
from ._core.message import Request
from ._core.session_calls import Duration
from ._https import HttpsConnections
from .client_http import AppMeshClient
from .exceptions import AppMeshAuthError, AppMeshRequestError

__all__ = ["AppMeshClientOAuth"]


class AppMeshClientOAuth(AppMeshClient):
    """As `AppMeshClient`, but login, renewal and logout are done with the identity provider."""

    def __init__(
        self,
        oauth2: Dict[str, str],
        base_url: str = "https://127.0.0.1:6060",
        ssl_verify: Union[bool, str] = tls.DEFAULT_VERIFY,
        ssl_client_cert: Union[str, Tuple[str, str], None] = None,
        request_timeout: Tuple[float, float] = (60, 300),
        auto_refresh_token: bool = True,
    ) -> None:
        """oauth2: `auth_server_url`, `realm`, `client_id` and, for a confidential client, `client_secret`; and
        `ssl_verify`, a CA file of the provider, where that is not the system's."""
        super().__init__(base_url, ssl_verify, ssl_client_cert, request_timeout)
        for name in ("auth_server_url", "realm", "client_id"):
            if not oauth2.get(name):
                raise ValueError(f"oauth2 lacks {name}")
        realm = urllib.parse.quote(oauth2["realm"], safe="")
        self._endpoint = f"/realms/{realm}/protocol/openid-connect"
        self._client_fields = {"client_id": oauth2["client_id"]}
        if oauth2.get("client_secret"):
            self._client_fields["client_secret"] = oauth2["client_secret"]
        self._provider = HttpsConnections(
            oauth2["auth_server_url"], oauth2.get("ssl_verify") or True, None, request_timeout
        )
        self._tokens_lock = threading.RLock()
        self._refresh_token: Optional[str] = None
        self._auto_refresh = auto_refresh_token

    def close(self) -> None:
        """Ends background work and connections. May be called again."""
        super().close()
        self._provider.close()

    def _ask_provider(self, what: str, fields: Dict[str, str]) -> Dict[str, Any]:
        body = http1.target("", {**self._client_fields, **fields})[1:].encode()
        request = Request("POST", f"{self._endpoint}/{what}", body=body)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        response = self._provider.exchange(request, headers)
        if response.status in (200, 204):
            answer: Dict[str, Any] = json.loads(response.body) if response.body else {}
            return answer
        try:
            told = json.loads(response.body)
            reason = str(told.get("error_description") or told.get("error"))
        except (ValueError, AttributeError):
            reason = response.text[:200]
        if response.status in (400, 401, 403):
            raise AppMeshAuthError(f"the identity provider refused: {reason}", response.status)
        raise AppMeshRequestError(f"the identity provider failed: {reason}", response.status)

    def _take(self, answer: Dict[str, Any]) -> None:
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise AppMeshRequestError("the identity provider gave no token")
        refresh = answer.get("refresh_token")
        self._refresh_token = refresh if isinstance(refresh, str) else None
        self._session.token = token

    def login(
        self,
        username: str,
        password: str,
        totp_code: Optional[str] = None,
        token_expire: Duration = "P1W",
        audience: Optional[str] = None,
    ) -> Optional[str]:
        """Logs on at the identity provider. How long the token counts is the provider's decision."""
        duration.seconds(token_expire)
        fields = {"grant_type": "password", "username": username, "password": password, "scope": "openid"}
        if totp_code:
            fields["totp"] = totp_code
        if audience:
            fields["audience"] = audience
        with self._tokens_lock:
            self._take(self._ask_provider("token", fields))
        return None

    def renew_token(self, token_expire: Duration = "P1W") -> None:
        """Replaces the token with the provider's help."""
        with self._renewing, self._tokens_lock:
            if not self._refresh_token:
                raise AppMeshAuthError("there is no token to renew: log on first")
            fields = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
            self._take(self._ask_provider("token", fields))

    def logout(self) -> bool:
        """Ends the session at the provider. False when there was none."""
        self.stop_token_refresh()
        with self._tokens_lock:
            refresh, self._refresh_token = self._refresh_token, None
            self._session.token = None
        if not refresh:
            return False
        self._ask_provider("logout", {"refresh_token": refresh})
        return True
