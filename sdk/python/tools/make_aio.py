#!/usr/bin/env python3
"""Writes the coroutine methods of `appmesh.aio` from the blocking ones, so that the two cannot drift apart.

  make_aio.py          writes the files
  make_aio.py --check  fails when a file is not what it would write
"""

import pathlib
import re
import sys

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "src/appmesh"
NAMES = ("_session_methods.py", "_app_methods.py", "_host_methods.py")


def converted(text: str, name: str) -> str:
    text = text.replace('"""Methods of a client:', f'"""Made by tools/make_aio.py from {name}. Coroutines of a client:', 1)
    text = re.sub(r"^    def ", "    async def ", text, flags=re.M)
    text = re.sub(r"(= |return |^        )self\._run\(", r"\1await self._run(", text, flags=re.M)
    # An attribute of an awaited result needs parentheses.
    text = re.sub(r"await (self\._run\(.*\))(\.decode\(.*\))$", r"(await \1)\2", text, flags=re.M)
    text = text.replace("from ._core", "from .._core").replace("from .app", "from ..app")
    # Sorted as ruff wants imports: the farthest package first.
    lines = text.split("\n")
    ours = [line for line in lines if line.startswith("from .")]
    first = lines.index(ours[0])
    lines[first : first + len(ours)] = sorted(ours, key=lambda line: (not line.startswith("from .."), line))
    return "\n".join(lines)


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = 0
    for name in NAMES:
        wanted = converted((PACKAGE / name).read_text(), name)
        place = PACKAGE / "aio" / name
        if place.exists() and place.read_text() == wanted:
            continue
        stale += 1
        if check:
            print(f"{place} is not what tools/make_aio.py writes")
        else:
            place.write_text(wanted)
            print(f"wrote {place}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
