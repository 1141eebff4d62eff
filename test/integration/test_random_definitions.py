"""Definitions made of random JSON: what is wrong is 400 and named, what was refused is stored nowhere, nothing crashes.

What is accepted is never started: every body says `status: 0`, since random text is no command that anybody wants to run.
"""
import json

import pytest
from harness.daemon import Daemon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(300)
many = settings(max_examples=400, deadline=None, database=None, print_blob=True,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])

scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=30))
anything = st.recursive(st.one_of(st.none(), scalars), lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)), max_leaves=8)
INT64 = 2**63


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def other_than(*types):
    """Values, never null, of none of these types: str, bool, int, list or dict."""
    def fits(value):
        return value is not None and not any(is_whole(value) if kind is int else isinstance(value, kind) for kind in types)
    return anything.filter(fits)


def bad_text(longest):
    return st.one_of(other_than(str), st.integers(longest + 1, longest + 300).map("x".__mul__),
                     st.tuples(st.text(max_size=5), st.text(max_size=5)).map("\0".join))


def bad_integer(low, high):
    return st.one_of(other_than(int), st.integers(max_value=low - 1), st.integers(min_value=high + 1))


def bad_duration(least):
    words = st.sampled_from(["P", "PT", "P1M", "PT1.5S", "P1DT", "1h", "-1", "+5", "1 ", " 1", "1e3", "0x10", "PT5X", "P2000Y", "9" * 30, "∞"])
    return st.one_of(other_than(int, str), st.integers(max_value=least - 1), st.integers(min_value=365 * 86400 * 1000 + 1), words)


bad_boolean = other_than(bool)
bad_object = other_than(dict)
bad_word = st.one_of(other_than(str), st.text("abcxyz", min_size=1, max_size=12).filter(
    lambda word: word not in ("restart", "stop", "leave", "log")))


def member(name, bad, beside=None):
    return bad.map(lambda value: {**(beside or {}), name: value})


variables = st.one_of(
    bad_object, st.dictionaries(st.text("ABC", min_size=1), other_than(str), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["", "=", "A=B", "A\0"]), st.text("ab"), min_size=1, max_size=3),
    st.just({"A": "x" * 70_000}), st.just({f"V{number}": "" for number in range(513)}), st.just({"A": "x\0y"}))
times_of_day = {"daily_start": 0, "daily_end": 1}

# Every writable field of docs/wire.md#definition and of our own, and values that it must refuse.
WRONG = {
    "name": st.one_of(bad_text(128), st.text(max_size=20).filter(lambda t: any(not (c.isascii() and (c.isalnum() or c in "_- \t\r\n")) for c in t))),
    "owner": bad_text(128),
    "command": bad_text(2047) | st.sampled_from(["'", '"', "echo 'x", 'a "b']),
    "description": bad_text(4095),
    "working_dir": bad_text(4095),
    "docker_image": bad_text(4095),
    "health_check_cmd": bad_text(2047),
    "metadata": st.sampled_from(["x" * (2**20 + 1), ["x" * 2**20], {"a": "b\0c"}, {"a\0": 1}, "a\0b"]),
    "env": variables,
    "sec_env": variables,
    "shell": bad_boolean,
    "session_login": bad_boolean,
    "status": bad_integer(0, 1),
    "stdout_cache_num": bad_integer(0, 1024),
    "permission": bad_integer(0, 333) | st.sampled_from([4, 14, 19, 24, 29, 40, 241, 314]),
    "behavior": bad_object | member("exit", bad_word) | member("leftovers", bad_word) | member("control", bad_object) |
    member("control", st.sampled_from([{"x": "restart"}, {"256": "restart"}, {"-65": "restart"}, {"": "restart"}, {"1.0": "restart"},
                                       {"1": "sometimes"}, {"1": 5}, {str(code): "restart" for code in range(65)}])),
    "start_time": bad_integer(0, 253402300799),
    "end_time": bad_integer(0, 253402300799),
    "cron": bad_boolean,
    "start_interval_seconds": bad_duration(1),
    "start_missed": bad_boolean,
    "retention": bad_duration(0),
    "daily_limitation": bad_object | member("daily_start", bad_integer(0, 253402300799), times_of_day) |
    member("daily_end", bad_integer(0, 253402300799), times_of_day) | st.sampled_from([{}, {"daily_start": 1}, {"daily_end": 1}]),
    "resource_limit": st.one_of(
        bad_object, member("memory_mb", bad_integer(0, 2**30)), member("memory_virt_mb", bad_integer(0, 2**30)),
        member("cpu_shares", bad_integer(0, 262144) | st.just(1)), member("pids", bad_integer(0, 4194304)),
        st.just({"memory_mb": 2, "memory_virt_mb": 1})),
    "depends_on": other_than(dict, list) | st.sampled_from([[5], ["no such name!"], ["nobody"], ["kept"], {"no such name!": "started"}, {"": "ready"}, {"x": "maybe"}, {"x": 1}, {"nobody": "ready"}, {"kept": "ready"}]),
    "readiness": st.one_of(bad_object, member("by", bad_word), member("pattern", bad_text(1024)), member("timeout_seconds", bad_integer(0, 86400)),
                           st.sampled_from([{"by": "log"}, {"by": "health"}])),
    "watchdog_seconds": bad_integer(0, 86400),
    "instances": bad_integer(1, 1000),
    "pid": bad_integer(0, 4194304),
    "version": other_than(int) | st.integers(min_value=INT64) | st.integers(max_value=-INT64 - 1),
    "register_time": bad_integer(0, 253402300799),
}
FIELDS = sorted(WRONG)
GOOD = {"name": "kept", "command": "true", "description": "as it was", "status": 0, "env": {"A": "1"}, "sec_env": {"S": "2"}}


class House:
    """A daemon of this file's own, with one app that no refused request may change."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.client = daemon.client()
        self.client.add(**GOOD)
        self.stored = self.files()
        self.shown = self.client.app("kept")

    def files(self):
        return {path.name: path.read_bytes() for path in (self.daemon.home / "work/apps").iterdir()}

    def put(self, body):
        return self.client.request("PUT", "/appmesh/app/kept", body=body if isinstance(body, (bytes, str)) else json.dumps(body).encode())

    def nothing_changed(self):
        assert self.files() == self.stored
        assert self.client.app("kept") == self.shown
        assert self.daemon.process.poll() is None

    def restore(self):
        for name in self.client.apps():
            if name != "kept":
                self.client.request("DELETE", f"/appmesh/app/{name}", query={"force": "true"})
        self.client.add(**GOOD)
        assert self.files().keys() == self.stored.keys()
        self.stored, self.shown = self.files(), self.client.app("kept")


@pytest.fixture(scope="module")
def house(homes):
    daemon = Daemon(homes / "random")
    try:
        yield House(daemon.start())
    finally:
        daemon.close()


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_value_is_refused_and_its_field_named(field, house):
    @settings(many, max_examples=40)
    @given(WRONG[field])
    def check(value):
        answer = house.put({**GOOD, field: value})
        assert answer.status == 400, (field, value, answer)
        assert f"'{field}" in answer.message, (value, answer.message)
        assert len(answer.message) < 500, "it does not echo what it was sent"
    check()
    house.nothing_changed()


@many
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), anything, max_size=6), st.sampled_from(FIELDS), st.data())
def test_random_fields_are_taken_whole_or_not_at_all(house, body, also, data):
    body = {**body, also: data.draw(anything | WRONG[also])}
    body.update(status=0, command="true", shell=False, name=data.draw(st.sampled_from(["kept", "other"])))
    answer = house.put(body)
    assert answer.status in (200, 400, 403, 409), (body, answer)
    if answer.status == 200:
        # What was taken is what is shown, on disk as well, and can be put back.
        shown = house.client.app(body["name"])
        assert shown["status"] == 0 and "pid" not in shown
        again = house.put(shown)
        assert again.status == 200 and house.client.app(body["name"]) == shown, (body, again)
        house.restore()
    else:
        assert answer.message
        house.nothing_changed()


@many
@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()) |
       st.tuples(st.binary(min_size=1, max_size=5), st.sampled_from(["name", "command", "description", "metadata"])).map(
           lambda given: b'{"name":"kept","command":"true","status":0,"' + given[1].encode() + b'":"' + given[0] + b'\xff"}'))
def test_random_bytes_are_refused(house, body):
    answer = house.put(body)
    assert answer.status == 400 and answer.message, (body, answer)
    house.nothing_changed()


@many
@given(st.dictionaries(st.sampled_from(["start_interval_seconds", "cron", "start_time", "end_time", "daily_limitation", "count"]),
                       anything | st.text("0123456789*/,-? LMONFRI", max_size=20) | st.integers(0, 2000), max_size=6))
def test_random_schedules_are_answered(house, body):
    answer = house.client.request("POST", "/appmesh/schedule/preview", body=body)
    assert answer.status in (200, 400), (body, answer)
    if answer.status == 200:
        starts = answer.json["next"]
        assert starts == sorted(set(starts)) and len(starts) <= (body.get("count") or 5)


@settings(many, max_examples=100)
@given(st.dictionaries(st.sampled_from(["BaseConfig", "REST", "Labels", "Nonsense"]), anything | st.dictionaries(
    st.sampled_from(["LogLevel", "PosixTimezone", "StopGraceSeconds", "JWT", "SSL", "RestListenPort", "x"]), anything, max_size=3), max_size=3))
def test_random_configuration_is_taken_whole_or_not_at_all(house, change):
    before = house.client.ok("GET", "/appmesh/config").json
    answer = house.client.request("POST", "/appmesh/config", body=change)
    assert answer.status in (200, 400, 403), (change, answer)
    if answer.status != 200:
        assert answer.message and house.client.ok("GET", "/appmesh/config").json == before
