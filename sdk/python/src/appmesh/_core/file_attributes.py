"""Mode and owner of a file, as headers of the file routes, and the other way round."""

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Dict, Optional

from .message import Headers

MODE, USER, GROUP = "X-File-Mode", "X-File-User", "X-File-Group"
USER_NAME, GROUP_NAME = "X-File-User-Name", "X-File-Group-Name"


def read(path: Path) -> Dict[str, str]:
    """What a local file has. Ids without a name stay numbers."""
    status = path.stat()
    user, group = str(status.st_uid), str(status.st_gid)
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(status.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    return {MODE: str(stat.S_IMODE(status.st_mode) & 0o777), USER: user, GROUP: group}


def apply(path: Path, headers: Headers) -> None:
    """Gives a local file what the headers say. An owner that is not known here, or may not be set, is left out."""
    # A name means the same on another host, a number need not.
    user, group = _user_id(headers.get(USER_NAME)), _group_id(headers.get(GROUP_NAME))
    user = _user_id(headers.get(USER)) if user is None else user
    group = _group_id(headers.get(GROUP)) if group is None else group
    # First the owner: a change of owner may clear bits of the mode.
    if user is not None or group is not None:
        with contextlib.suppress(PermissionError):
            os.chown(str(path), -1 if user is None else user, -1 if group is None else group)
    mode = headers.get(MODE)
    if mode is not None and mode.isdigit() and int(mode) <= 0o777:
        path.chmod(int(mode))


def _user_id(name: Optional[str]) -> Optional[int]:
    if not name:
        return None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isdigit() else None


def _group_id(name: Optional[str]) -> Optional[int]:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None
