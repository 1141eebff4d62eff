"""Local ends of file transfers."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import IO, Iterator

from ._core import file_attributes
from ._core.message import Headers


class Incoming:
    """A file that comes in. It gets its name only when it is complete."""

    def __init__(self, final: Path, stream: IO[bytes], temporary: Path, preserve_permissions: bool) -> None:
        self._final = final
        self._stream = stream
        self._temporary = temporary
        self._preserve = preserve_permissions
        self.write = stream.write

    def finish(self, headers: Headers) -> None:
        self._stream.close()
        if self._preserve:
            file_attributes.apply(self._temporary, headers)
        self._temporary.replace(self._final)


@contextlib.contextmanager
def incoming(local_file: str, preserve_permissions: bool) -> Iterator[Incoming]:
    """Beside its final place; gone again when it was not finished."""
    final = Path(local_file)
    temporary = final.with_name(f".{final.name[:100]}.{secrets.token_hex(6)}")
    # What will get its own mode is nobody else's until it has it.
    mode = 0o600 if preserve_permissions else 0o666
    descriptor = os.open(str(temporary), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield Incoming(final, stream, temporary, preserve_permissions)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def existing(local_file: str) -> Path:
    path = Path(local_file)
    if not path.is_file():
        raise FileNotFoundError(f"no such local file: {local_file}")
    return path
