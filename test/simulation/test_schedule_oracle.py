"""Our schedules beside others': the calendar of croniter, the clocks of zoneinfo, and plain arithmetic.

SCHEDULE_CASES is the program that prints the cases, SCHEDULE_SEED and SCHEDULE_COUNT choose them.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import zoneinfo

from croniter import croniter

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SCHEDULE_CASES", ROOT / "build/release/bin/schedule_cases")
SEED = os.environ.get("SCHEDULE_SEED", "1")
COUNT = os.environ.get("SCHEDULE_COUNT", "2000")

UTC = datetime.timezone.utc
DAY = 86400
# No clock was ever set back by more than this, in the zones and years of the cases.
MOST_SET_BACK = 3 * 3600


def zone_of(name):
    offset = re.fullmatch(r"([+-])(\d+)(?::(\d+))?", name)
    if not offset:
        return zoneinfo.ZoneInfo(name)
    sign, hours, minutes = offset.groups()
    offset = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
    return datetime.timezone(-offset if sign == "-" else offset)


def offset_at(epoch, zone):
    return int(datetime.datetime.fromtimestamp(epoch, UTC).astimezone(zone).utcoffset().total_seconds())


def end_of_gap(local, zone):
    """The first instant after the gap that a local time lies in."""
    after = int(local.replace(tzinfo=zone, fold=0).timestamp())  # with the offset from before the gap
    before = int(local.replace(tzinfo=zone, fold=1).timestamp())
    low, high = min(before, after) - 1, max(before, after)
    old = offset_at(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(middle, zone) == old else (low, middle)
    return high


def instants(local, zone, every_hour):
    """When the clock shows this local time. What comes every hour follows the clock: never in a gap, twice in an overlap.
    Everything else is neither lost nor doubled: right after a gap, and the first time in an overlap."""
    first = int(local.replace(tzinfo=zone, fold=0).timestamp())
    second = int(local.replace(tzinfo=zone, fold=1).timestamp())
    if first > second:
        return [] if every_hour else [end_of_gap(local, zone)]
    return sorted({first, second}) if every_hour else [first]


def as_croniter_writes(expression):
    """The same expression in croniter's words, and whether it is for every hour."""
    fields = expression.lower().split()
    if len(fields) == 5:
        fields.insert(0, "0")
    fields = [field.replace("?", "*") for field in fields]
    # To croniter a range from a value to itself goes all the way round.
    fields = [re.sub(r"\b(\d+)-\1\b(/\d+)?", r"\1", field) for field in fields]
    weekdays = []
    for item in fields[5].split(","):
        if item == "l":
            item = "6"
        elif item.endswith("l"):
            item = "l" + str(int(item[:-1]) % 7)
        elif re.fullmatch(r"\d+/\d+", item):
            item = "7" if item.startswith("7") else item.replace("/", "-7/")
        weekdays.append(item)
    fields[5] = ",".join(weekdays)
    hours = croniter.expand(" ".join(fields), second_at_beginning=True)[0][1]
    return " ".join(fields), hours == ["*"] or len(set(hours)) == 24


def cron_instants(case, after):
    zone = zone_of(case["zone"])
    expression, every_hour = as_croniter_writes(case["schedule"])
    local = datetime.datetime.fromtimestamp(after, UTC).astimezone(zone).replace(tzinfo=None)
    near_change = offset_at(after - DAY, zone) != offset_at(after + DAY, zone)
    if near_change:
        local -= datetime.timedelta(seconds=MOST_SET_BACK)
    times = croniter(expression, local, datetime.datetime, day_or=False, second_at_beginning=True)
    waiting = []
    while True:
        found = instants(times.get_next(), zone, every_hour)
        if not found:
            continue
        waiting += found
        if offset_at(found[0] - DAY, zone) == offset_at(found[-1] + DAY, zone):
            yield from sorted(waiting)
            waiting = []
        else:  # later local times may come earlier
            waiting.sort()
            while waiting and waiting[0] < found[0] - MOST_SET_BACK:
                yield waiting.pop(0)


def interval_instants(case, after):
    at = case.get("start_time", case["now"] + 1)
    step = int(case["schedule"])
    if at <= after:
        at += (after - at) // step * step
    while True:
        yield at
        at += step


def opening(case, at):
    """The first instant from `at` on that lies in the daily window."""
    if "daily" not in case:
        return at
    start, end = case["daily"]
    of_day = at % DAY
    if start == end or (start <= of_day < end if start < end else of_day >= start or of_day < end):
        return at
    return at + (start - of_day) % DAY


def expected(case):
    after = max(case["now"], case.get("start_time", 0) - 1)
    starts = []
    for raw in (cron_instants if case["cron"] else interval_instants)(case, after):
        if raw <= after:
            continue
        at = opening(case, raw)
        if case.get("end_time") and at >= case["end_time"]:
            break
        if at not in starts:
            starts.append(at)
        if len(starts) == 5:
            break
    return starts


def test_our_schedules_are_what_others_make_of_them():
    output = subprocess.run([PROGRAM, SEED, COUNT], check=True, capture_output=True, text=True, timeout=120).stdout
    cases = [json.loads(line) for line in output.splitlines()]
    assert len(cases) == int(COUNT)
    wrong = []
    for case in cases:
        others = expected(case)
        if others != case["next"]:
            wrong.append(f"{json.dumps(case)}\n  expected {others}")
    assert not wrong, f"{len(wrong)} of {len(cases)} differ\n" + "\n".join(wrong[:10])
    assert sum(1 for case in cases if case["next"]) > len(cases) / 2, "most cases have a next start"
