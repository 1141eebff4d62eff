"""Durations as people write them: seconds, or ISO 8601 text such as `PT5M` or `P2DT12H`."""

import re
from typing import Union

_ISO = re.compile(
    r"P(?=.)(?:(?P<W>\d+(?:\.\d+)?)W|(?:(?P<Y>\d+(?:\.\d+)?)Y)?(?:(?P<D>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?)"
)
_SECONDS = {"W": 604800, "Y": 365 * 86400, "D": 86400, "h": 3600, "m": 60, "s": 1}


def seconds(value: Union[int, float, str]) -> int:
    """Whole seconds. A year is 365 days; months are refused, because nobody knows how long one is."""
    if isinstance(value, bool):
        raise TypeError("a duration is seconds or ISO 8601 text, not a bool")
    if isinstance(value, (int, float)):
        return int(value)
    text = value.strip()
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    found = _ISO.fullmatch(text)
    if not found:
        raise ValueError(f"not a duration: {value!r} (seconds, or ISO 8601 such as PT5M)")
    return int(sum(float(count) * _SECONDS[unit] for unit, count in found.groupdict().items() if count))
