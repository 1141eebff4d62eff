"""Methods of a client: log on, renew, second factor."""

from typing import Optional, Tuple

from ._base import ClientBase
from ._core import session_calls as calls
from ._core.session_calls import Duration


class SessionMethods(ClientBase):
    """Log on, renew, second factor."""

    def login(
        self,
        username: str,
        password: str,
        totp_code: Optional[str] = None,
        token_expire: Duration = "P1W",
        audience: Optional[str] = None,
    ) -> Optional[str]:
        """Logs on. Returns None, or the challenge for `validate_totp` when the account has a second factor and no code
        was given."""
        return self._run(calls.login(self._session, username, password, totp_code, token_expire, audience))

    def validate_totp(self, username: str, challenge: str, code: str, token_expire: Duration = "P1W") -> None:
        """Answers a challenge that `login` returned, with the code of the moment."""
        self._run(calls.validate_totp(self._session, username, challenge, code, token_expire))

    def logout(self) -> bool:
        """Ends the session; the token is worth nothing from then on. False when there was none."""
        return self._run(calls.logout(self._session))

    def authenticate(
        self, token: str, permission: Optional[str] = None, audience: Optional[str] = None, update_session: bool = True
    ) -> Tuple[bool, str]:
        """Asks whether a token is good, and good for a permission. A good one becomes this client's own, unless
        `update_session` is False. Returns that and the daemon's text."""
        return self._run(calls.authenticate(self._session, token, permission, audience, update_session))

    def authentication(
        self, token: str, permission: Optional[str] = None, audience: Optional[str] = None, update_session: bool = True
    ) -> Tuple[bool, str]:
        """Deprecated: use `authenticate`."""
        return self._run(calls.authenticate(self._session, token, permission, audience, update_session))

    def get_totp_secret(self) -> str:
        """A new secret for an authenticator; `enable_totp` makes it count."""
        return self._run(calls.totp_secret())

    def enable_totp(self, totp_code: str) -> None:
        """Turns the second factor on; the code proves that the authenticator has the secret."""
        self._run(calls.enable_totp(self._session, totp_code))

    def disable_totp(self, user: str = "self") -> None:
        """Turns the second factor off."""
        self._run(calls.disable_totp(user))
