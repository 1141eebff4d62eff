"""Calls about the session: log on, renew, second factor."""

import base64
import binascii
import urllib.parse
from typing import Dict, Optional, Tuple, Union

from ..exceptions import AppMeshAuthError, AppMeshRequestError
from . import duration
from .message import Flow, Request, Response, check, json_body
from .session import Session

Duration = Union[int, str]


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _take_token(session: Session, response: Response) -> None:
    token = response.json().get("access_token")
    if not isinstance(token, str) or not token:
        raise AppMeshRequestError("the answer holds no token", response.status)
    session.token = token


def login(
    session: Session,
    username: str,
    password: str,
    totp_code: Optional[str],
    token_expire: Duration,
    audience: Optional[str],
) -> Flow[Optional[str]]:
    headers = {"Authorization": _basic(username, password), "X-Expire-Seconds": str(duration.seconds(token_expire))}
    if audience:
        headers["X-Audience"] = audience
    if totp_code:
        headers["X-Totp-Code"] = totp_code
    response = check((yield Request("POST", "/appmesh/login", headers=headers, signed=False)), 428)
    if response.status == 200:
        _take_token(session, response)
        return None
    challenge = str(response.json().get("totp_challenge", ""))
    if totp_code:
        yield from validate_totp(session, username, challenge, totp_code, token_expire)
        return None
    return challenge


def validate_totp(session: Session, username: str, challenge: str, code: str, token_expire: Duration) -> Flow[None]:
    body = {
        "user_name": username,
        "totp_code": code,
        "totp_challenge": challenge,
        "expire_seconds": duration.seconds(token_expire),
    }
    response = yield Request("POST", "/appmesh/totp/validate", body=json_body(body), signed=False)
    _take_token(session, check(response))


def logout(session: Session) -> Flow[bool]:
    if not session.token:
        return False
    response = yield Request("POST", "/appmesh/self/logoff")
    if response.status != 401:
        check(response)
    session.token = None
    return response.status == 200


def authenticate(
    session: Session, token: str, permission: Optional[str], audience: Optional[str], update_session: bool
) -> Flow[Tuple[bool, str]]:
    headers = {"Authorization": f"Bearer {token}"}
    if permission:
        headers["X-Permission"] = permission
    if audience:
        headers["X-Audience"] = audience
    response = yield Request("POST", "/appmesh/auth", headers=headers, signed=False)
    good = response.status == 200
    if good and update_session:
        session.token = token
    return good, response.text if good else response.message


def renew(session: Session, token_expire: Duration) -> Flow[None]:
    if not session.token:
        raise AppMeshAuthError("there is no token to renew: log on first")
    headers = {"X-Expire-Seconds": str(duration.seconds(token_expire))}
    _take_token(session, check((yield Request("POST", "/appmesh/token/renew", headers=headers))))


def totp_secret() -> Flow[str]:
    response = check((yield Request("POST", "/appmesh/totp/secret")))
    try:
        uri = base64.b64decode(response.json()["mfa_uri"]).decode()
        return urllib.parse.parse_qs(urllib.parse.urlsplit(uri).query)["secret"][0]
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise AppMeshRequestError(f"the answer holds no TOTP secret: {error!r}", response.status) from None


def enable_totp(session: Session, totp_code: str) -> Flow[None]:
    headers = {"X-Totp-Code": totp_code}
    _take_token(session, check((yield Request("POST", "/appmesh/totp/setup", headers=headers))))


def disable_totp(user: str) -> Flow[None]:
    check((yield Request("POST", f"/appmesh/totp/{segment(user)}/disable")))


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def parameters(**values: object) -> Dict[str, str]:
    """A query without what was not given."""
    return {name: str(value) for name, value in values.items() if value not in (None, "")}
