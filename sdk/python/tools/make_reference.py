#!/usr/bin/env python3
"""Writes docs/sdk/python-api.md from the signatures and docstrings of the package.

  make_reference.py          writes it
  make_reference.py --check  fails when the file is not what it would write
"""

import dataclasses
import enum
import inspect
import pathlib
import re
import sys
import typing

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "sdk/python/src"))

import appmesh  # noqa: E402
from appmesh import aio  # noqa: E402

PAGE = ROOT / "docs/sdk/python-api.md"
HEAD = """# Python client: reference

Made by `sdk/python/tools/make_reference.py` from the code; the guide is [python.md](python.md). In `appmesh.aio` are the
clients and workers once more, with the same methods as coroutines (`set_token`, `start_token_refresh` and `forward_to` are
not to be awaited).
"""
GROUPS = {
    "Clients": ["AppMeshClient", "AppMeshClientTCP", "AppMeshClientWSS", "AppMeshClientOAuth"],
    "Workers": ["AppMeshWorker", "AppMeshWorkerTCP", "AppMeshWorkerWSS"],
    "Values": ["App", "AppRun", "AppOutput", "AppEvent", "SubscriptionResult"],
    "Functions": ["print_output_handler"],
    "Transports": ["TCPTransport", "WSSTransport", "RequestMessage", "ResponseMessage"],
}


def signature(thing):
    text = str(inspect.signature(thing))
    text = re.sub(r"^\(self(, )?", "(", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    # What is installed on the machine that writes the page must not show.
    text = re.sub(r"ssl_verify: [^=]*= (?:False|'[^']*')", "ssl_verify=<installed CA, else False>", text)
    text = re.sub(r"(ssl_client_cert: [^=]*= )(?:None|\('[^)]*'\))", r"\1None", text)
    text = re.sub(r"\b(?:typing|appmesh\.\w+(?:\.\w+)?|datetime)\.(?=\w)", "", text)
    return re.sub(r"'(App(?:\.\w+)*)'", r"\1", text)


def paragraph(text):
    return " ".join((inspect.cleandoc(text) if text else "").replace("\n\n", "\0").split()).replace("\0", "\n\n")


def members(kind):
    """Public members where they are defined first, by the names of the class."""
    for name, value in inspect.getmembers(kind):
        if name.startswith("_") or not (inspect.isfunction(value) or isinstance(value, property)):
            continue
        base = next((each for each in kind.__mro__[1:] if name in vars(each)), None)
        inherited = base is not None and not base.__name__.endswith(("Methods", "Mixin", "Base", "Worker", "Transport"))
        if inherited and name not in vars(kind):
            continue
        yield name, value


def describe(name, kind, written):
    lines = [f"### {name}", ""]
    if inspect.isfunction(kind):
        return [*lines, f"`{name}{signature(kind)}`", "", paragraph(kind.__doc__), ""]
    if not issubclass(kind, enum.Enum):
        lines += [f"`{name}{signature(kind)}`".replace(" -> None", ""), ""]
    lines += [paragraph(kind.__doc__) if not dataclasses.is_dataclass(kind) else paragraph(kind.__doc__), ""]
    told = kind.__init__.__doc__ if kind.__init__.__doc__ and "See help" not in kind.__init__.__doc__ else ""
    if told:
        lines += [paragraph(told), ""]
    bases = [each.__name__ for each in kind.__mro__[1:] if each.__name__ in written]
    if bases:
        lines += [f"Has every method of `{bases[0]}`, and:", ""]
    for member, value in members(kind):
        if bases and member not in vars(kind) and any(hasattr(getattr(appmesh, base), member) for base in bases):
            continue
        words = paragraph(value.__doc__).replace("\n\n", " ")
        lines.append(f"- `{member}{'' if isinstance(value, property) else signature(value)}`: {words}")
    written.add(name)
    return [*lines, ""]


def page():
    lines, written = [HEAD], set()
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += describe(name, getattr(appmesh, name), written)
        if title == "Values":
            for inner in ("Permission", "Behavior", "DailyLimitation", "ResourceLimitation"):
                lines += describe(f"App.{inner}", getattr(appmesh.App, inner), written)
            actions = ", ".join(f"`{each.name}`" for each in appmesh.App.Behavior.Action)
            lines += ["### App.Behavior.Action", "", f"{actions}.", ""]
    lines += ["## Errors", "", "| error | is a | when |", "|---|---|---|"]
    errors = [getattr(appmesh, name) for name in appmesh.__all__ if name.endswith("Error")]
    for error in sorted(errors, key=lambda each: (len(each.__mro__), each.__name__)):
        parents = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
        lines.append(f"| `{error.__name__}` | {parents} | {paragraph(error.__doc__)} |")
    lines += ["", "## appmesh.aio", "", ", ".join(f"`{name}`" for name in aio.__all__) + ".", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def main():
    assert typing.TYPE_CHECKING is False
    wanted = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            print(f"{PAGE} is not what {pathlib.Path(__file__).name} writes")
            return 1
        return 0
    PAGE.write_text(wanted)
    print(f"wrote {PAGE}, {len(wanted.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
