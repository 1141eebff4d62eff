"""The parts that do no input or output."""

import base64
import io
import json
import os
import pathlib
import stat
import struct
import subprocess
import sys
import time

import pytest

from appmesh import (
    AppMeshAppRemovedError,
    AppMeshDisconnectedError,
    AppMeshRequestError,
    RequestMessage,
    ResponseMessage,
)
from appmesh._core import app_calls, duration, exchange, http1, run_watch, session, websocket
from appmesh._core.message import Headers, Request, Response


def response(status=200, body=b"", **headers):
    return Response(status, Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


def drive(flow, answers):
    """Runs a flow against prepared answers; returns (result, requests)."""
    requests = [next(flow)]
    for answer in answers:
        try:
            requests.append(flow.send(answer))
        except StopIteration as stop:
            return stop.value, requests
    raise AssertionError(f"asks for more: {requests[-1].path}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(5, 5), ("5", 5), ("PT5M", 300), ("P1W", 604800), ("P2DT12H", 216000), ("P1Y", 31536000), ("PT1.5S", 1), ("-3", -3)],
)
def test_durations(text, seconds):
    assert duration.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1M", "5 m", "P1DT", "1h"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        duration.seconds(text)


def test_importing_the_package_imports_none_of_what_it_needs():
    code = "import sys, appmesh; print([m for m in ('msgpack', 'requests', 'websocket', 'ssl') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_name_of_the_package_can_be_had():
    import appmesh
    import appmesh.aio

    assert sorted(appmesh.__all__) == sorted(appmesh._WHERE)
    for name in appmesh.__all__:
        assert getattr(appmesh, name).__name__ if name != "OutputHandler" else appmesh.OutputHandler
    for name in appmesh.aio.__all__:
        assert getattr(appmesh.aio, name).__name__ == name


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_an_http_response_in_pieces(cut):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b: c\r\n\r\nhello"
    parser = http1.Parser("GET")
    pieces = []
    for start in range(0, len(raw), cut):
        pieces += parser.feed(raw[start : start + cut])
    assert parser.done
    assert b"".join(pieces) == b"hello"
    assert parser.head.headers["x-a"] == "b: c"
    assert parser.head.keep


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_chunked_response_in_pieces(cut):
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n"
    parser = http1.Parser("GET")
    pieces = []
    for start in range(0, len(raw), cut):
        pieces += parser.feed(raw[start : start + cut])
    assert parser.done
    assert b"".join(pieces) == b"hello world"


def test_interim_responses_are_passed_over():
    parser = http1.Parser("PUT")
    parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert parser.done
    assert parser.head.status == 204


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"x" * (http1.MAX_HEAD + 1),
    ],
)
def test_bad_http(raw):
    with pytest.raises(http1.BadResponse):
        http1.Parser("GET").feed(raw)


def test_a_header_cannot_smuggle_another():
    with pytest.raises(ValueError, match="line break"):
        http1.encode("GET", "/", {"X-A": "b\r\nX-B: c"}, None)


def test_messages_are_lenient():
    import msgpack

    found = ResponseMessage.from_bytes(msgpack.packb({"uuid": "1", "http_status": 200, "body": "text", "extra": [1]}))
    assert (found.uuid, found.http_status, found.body, found.headers) == ("1", 200, b"text", {})
    for bad in (b"", b"\xc1", msgpack.packb([1]), msgpack.packb({"headers": 5}), b"\x81"):
        with pytest.raises(ValueError, match="MessagePack|wrong type"):
            ResponseMessage.from_bytes(bad)


def test_a_request_is_a_map_without_nil():
    import msgpack

    packed = msgpack.unpackb(RequestMessage("1", "/a", "GET", "host", b"\x00", {"A": "b"}, {"q": "1"}).serialize())
    assert packed == {
        "uuid": "1", "request_uri": "/a", "http_method": "GET", "client_addr": "host", "body": b"\x00",
        "headers": {"A": "b"}, "query": {"q": "1"},
    }  # fmt: skip


def server_frame(opcode, data, final=True):
    head = bytes([(0x80 if final else 0) | opcode])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 65536:
        return head + b"\x7e" + struct.pack("!H", len(data)) + data
    return head + b"\x7f" + struct.pack("!Q", len(data)) + data


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_websocket_messages_in_pieces_with_a_ping_within(cut):
    big = os.urandom(70_000)
    raw = (
        server_frame(websocket.BINARY, b"one")
        + server_frame(websocket.BINARY, b"two", final=False)
        + server_frame(websocket.PING, b"?")
        + server_frame(websocket.CONTINUATION, b"!")
        + server_frame(websocket.BINARY, big)
    )
    decoder, found = websocket.Decoder(100_000), []
    for start in range(0, len(raw), cut):
        decoder.feed(raw[start : start + cut])
        found += iter(decoder.next, None)
    assert found == [(2, b"one"), (9, b"?"), (2, b"two!"), (2, big)]
    assert decoder.empty


@pytest.mark.parametrize("raw", [b"\xf2\x00", b"\x82\x80", b"\x80\x00", b"\x09\x00", b"\x82\x7f" + struct.pack("!Q", 101)])
def test_bad_websocket_frames(raw):
    decoder = websocket.Decoder(100)
    decoder.feed(raw)
    with pytest.raises(websocket.ProtocolError):
        decoder.next()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_frame_that_is_unmasked_is_the_data(size):
    data = os.urandom(size)
    frame = websocket.frame(websocket.BINARY, data)
    start = 2 + (0 if size < 126 else 2 if size < 65536 else 8)
    mask, masked = frame[start : start + 4], frame[start + 4 :]
    assert bytes(each ^ mask[place % 4] for place, each in enumerate(masked)) == data


def output_answer(data, following, code=None):
    headers = {"X_Output_Position": str(following)}
    if code is not None:
        headers["X_Exit_Code"] = str(code)
    return response(200, data, **headers)


def test_polling_keeps_characters_whole_and_ends_with_the_exit_code():
    seen = []
    flow = run_watch.poll("app", "id", lambda text, position: seen.append((text, position)), 0)
    answers = [output_answer(b"gr\xc3", 3), output_answer(b"\xbcn", 5), output_answer(b"", 5, -9)]
    code, requests = drive(flow, answers)
    assert code == -9
    assert seen == [("gr", 0), ("ün", 2)]
    assert [request.query["stdout_position"] for request in requests] == ["0", "3", "5"]


def test_events_that_overlap_the_back_fill_are_cut_by_bytes():
    seen = []
    watch = run_watch.Watch("app", "id", lambda text, position: seen.append((text, position)))
    drive(watch.back_fill(), [output_answer("aü".encode(), 3)])
    watch.take("STDOUT", {"output": "aü", "position": 0})
    watch.take("STDOUT", {"output": "übc", "position": 1})
    watch.take("STDOUT", {"output": "d", "position": 5})
    watch.take("STDOUT", {"output": "", "position": 6, "finished": True})
    watch.take("EXIT", {"exit_code": -15})
    assert "".join(text for text, _ in seen) == "aübcd"
    assert watch.exit_code == -15


def test_an_exit_before_the_end_of_the_output_asks_for_a_read():
    seen = []
    watch = run_watch.Watch("app", "id", lambda text, position: seen.append(text))
    drive(watch.back_fill(), [output_answer(b"one\n", 4)])
    watch.take("EXIT", {"exit_code": 0})
    assert watch.exit_code is None
    assert watch.lacks_output
    drive(watch.back_fill(), [output_answer(b"two\n", 8, 0), output_answer(b"", 8, 0)])
    assert watch.exit_code == 0
    assert "".join(seen) == "one\ntwo\n"


def test_invalid_bytes_do_not_shift_what_follows():
    """One byte that is no UTF-8 comes as a character of three bytes; the events after it are whole all the same."""
    seen = []
    watch = run_watch.Watch("app", "id", lambda text, position: seen.append(text))
    drive(watch.back_fill(), [output_answer(b"", 0)])
    watch.take("STDOUT", {"output": "a\ufffdb", "position": 0})
    watch.take("STDOUT", {"output": "cd", "position": 3})
    assert "".join(seen) == "a\ufffdbcd"


def test_a_watch_ends_with_typed_errors():
    watch = run_watch.Watch("app", "id", None)
    with pytest.raises(AppMeshAppRemovedError):
        watch.take("REMOVED", {})
    with pytest.raises(AppMeshDisconnectedError):
        watch.take("__disconnected__", {})
    with pytest.raises(AppMeshAppRemovedError):
        drive(watch.back_fill(), [response(404, b"{}")])


def token(expires):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part({'exp': expires})}.signature"


def test_a_token_is_renewed_30_s_before_its_end_and_every_300_s_at_the_latest():
    assert session.refresh_delay(token(1100), now=1000) == 70
    assert session.refresh_delay(token(9000), now=1000) == 300
    assert session.refresh_delay(token(1010), now=1000) == 1
    assert session.refresh_delay("not a token") == 300


def test_the_cookie_file_is_the_owners_alone_and_gives_the_token_back(tmp_path):
    place = tmp_path / "cookies"
    mine = token(int(time.time()) + 1000)
    session.CookieFile(str(place), "127.0.0.1").save(mine)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert place.read_text().startswith("# Netscape HTTP Cookie File")
    assert session.CookieFile(str(place), "127.0.0.1").load() == mine
    assert session.CookieFile(str(place), "127.0.0.2").load() is None
    session.CookieFile(str(place), "127.0.0.1").save(None)
    assert session.CookieFile(str(place), "127.0.0.1").load() is None


def test_a_request_has_its_own_containers():
    assert Request("GET", "/").headers is not Request("GET", "/").headers


def test_the_asyncio_methods_are_those_of_the_blocking_client():
    tool = pathlib.Path(__file__).resolve().parents[1] / "tools/make_aio.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    import inspect

    from appmesh import AppMeshClientTCP, aio

    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(AppMeshClientTCP) == public(aio.AppMeshClientTCP)
    for name in public(AppMeshClientTCP):
        ours, theirs = getattr(AppMeshClientTCP, name), getattr(aio.AppMeshClientTCP, name)
        if callable(ours):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name


def an_attempt(method="GET", **options):
    request = Request(method, "/a", **options.pop("request", {}))
    options.setdefault("patience", 60)
    return exchange.Exchange(exchange.Address("https://host:7000/prefix"), request, {"X-A": "b"}, **options)


@pytest.mark.parametrize(("slot", "query"), [(0, {}), (1, {"slot": "1"}), (63, {"slot": "63"})])
def test_only_a_slot_other_than_0_is_named(slot, query):
    for flow in (app_calls.fetch_task("app", "key", slot), app_calls.return_task("app", "key", b"", slot)):
        assert next(flow).query == {"process_key": "key", **query}


def test_a_daemon_is_asked_whether_it_knows_slots_with_a_key_that_is_nobodys():
    result, requests = drive(app_calls.knows_slots("app"), [response(400)])
    assert result is True
    assert requests[0].query == {"process_key": "none", "slot": "64"}
    assert drive(app_calls.knows_slots("app"), [response(412)])[0] is False
    with pytest.raises(AppMeshRequestError):
        drive(app_calls.knows_slots("app"), [response(404)])


@pytest.mark.parametrize("slot", [-1, 64])
def test_there_are_64_slots(slot):
    for flow in (app_calls.fetch_task("app", "key", slot), app_calls.return_task("app", "key", b"", slot)):
        with pytest.raises(ValueError, match="0 to 63"):
            next(flow)


def test_an_exchange_says_what_to_send_and_takes_the_answer_in_pieces():
    attempt = an_attempt("POST", request={"query": {"q": "1"}, "body": b"body"})
    assert attempt.first == b"POST /prefix/a?q=1 HTTP/1.1\r\nHost: host:7000\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody"
    for byte in b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno":
        assert not attempt.done
        attempt.feed(bytes([byte]))
    assert attempt.done
    found, keep = attempt.response()
    assert (found.status, found.body, keep) == (404, b"no", True)


@pytest.mark.parametrize(
    ("method", "upload", "length"), [("GET", None, None), ("PUT", None, 0), ("POST", 0, 0), ("POST", 7, 7)]
)
def test_the_length_of_a_request_is_said_where_it_may_have_a_body(method, upload, length):
    head = an_attempt(method, upload=upload).first
    assert head.count(b"Content-Length: ") == (length is not None)
    assert length is None or f"Content-Length: {length}\r\n".encode() in head


@pytest.mark.parametrize(("status", "sunk", "body"), [(b"200 OK", b"hello", b""), (b"403 Forbidden", b"", b"hello")])
def test_only_a_good_answer_goes_to_the_sink(status, sunk, body):
    pieces = []
    attempt = an_attempt(sink=pieces.append)
    attempt.feed(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nhel")
    attempt.feed(b"lo")
    assert (b"".join(pieces), attempt.response()[0].body) == (sunk, body)


@pytest.mark.parametrize(
    ("method", "repeatable"), [("GET", True), ("HEAD", True), ("POST", False), ("PUT", False), ("DELETE", False)]
)
def test_only_what_changes_nothing_is_sent_again_and_only_before_its_answer_begins(method, repeatable):
    attempt = an_attempt(method)
    with pytest.raises(ConnectionResetError):
        attempt.feed(b"")
    assert attempt.repeatable == repeatable
    attempt.feed(b"HTTP/1.1 2")
    assert not attempt.repeatable
    with pytest.raises(http1.BadResponse):
        attempt.feed(b"")


@pytest.mark.parametrize(("limit", "wait", "patience"), [(60, None, 60), (60, 5, 60), (60, 100, 130), (None, 100, None)])
def test_an_answer_may_take_as_long_as_the_daemon_was_asked_to_wait(limit, wait, patience):
    attempt = an_attempt(patience=limit, request={"wait": wait})
    assert attempt.patience == patience
    within = f" within {patience} s" if patience else ""
    assert str(attempt.timed_out()) == f"host:7000 did not answer GET /a{within}"


def test_a_file_that_becomes_shorter_while_it_is_sent_is_an_error():
    assert b"".join(exchange.blocks_of(io.BytesIO(b"x" * 200_000), 150_000)) == b"x" * 150_000
    with pytest.raises(AppMeshDisconnectedError, match="shorter"):
        list(exchange.blocks_of(io.BytesIO(b"x" * 10), 11))
