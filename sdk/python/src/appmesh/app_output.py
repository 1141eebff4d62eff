"""A piece of an application's output."""

from http import HTTPStatus
from typing import Optional

__all__ = ["AppOutput"]


class AppOutput:
    """One answer of `get_app_output`."""

    __slots__ = ("exit_code", "out_position", "output", "status_code")

    def __init__(
        self, status_code: HTTPStatus, output: str, out_position: Optional[int], exit_code: Optional[int]
    ) -> None:
        self.status_code = status_code
        """200, or why there is no output: 404 no such app, 417 that run is not the current one."""
        self.output = output
        """The text. Bytes that are not UTF-8 show as U+FFFD."""
        self.out_position = out_position
        """Byte position where the next read goes on."""
        self.exit_code = exit_code
        """Set once the run has ended and all its output is stored; -N means killed by signal N."""

    @property
    def output_position(self) -> Optional[int]:
        """Another name of `out_position`."""
        return self.out_position

    def __repr__(self) -> str:
        return (
            f"AppOutput(status_code={int(self.status_code)}, output={self.output!r}, "
            f"out_position={self.out_position}, exit_code={self.exit_code})"
        )
