"""Hostile and broken input costs itself a clear status, and nobody else anything."""
import json
import socket
import ssl
import threading

import pytest
from harness import processes
from harness.daemon import ADMIN_PASSWORD
from harness.waiting import eventually


@pytest.fixture
def flat(daemon, admin):
    """Descriptors and threads of the daemon are the same after the test as before, and others are still served."""
    admin.apps()
    before = processes.descriptor_count(daemon.pid), processes.thread_count(daemon.pid)
    yield
    # A few may come and go with kept-alive connections of the tests themselves.
    eventually(lambda: processes.descriptor_count(daemon.pid) <= before[0] + 4, f"descriptors are back at {before[0]}", 60)
    assert processes.cgroup_descriptor_count(daemon.pid) <= 128, "bounded, whatever was run"
    eventually(lambda: processes.thread_count(daemon.pid) <= before[1] + 1, f"threads are back at {before[1]}", 60)
    assert daemon.process.poll() is None
    assert admin.syncrun(command="echo still here").text == "still here\n"


def tls(daemon, timeout=60):
    context = ssl.create_default_context(cafile=daemon.ca_file)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout), server_hostname="127.0.0.1")


def conversation(daemon, data, timeout=60):
    """Sends raw bytes and reads until the daemon closes, or has answered; b'' when it just closed."""
    received = b""
    with tls(daemon, timeout) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass  # it may close while we still send; its answer may be there all the same
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except OSError:
            pass
    return received


def status_of(received):
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else None


@pytest.mark.parametrize("text", ['{"name": "x", "command": }', '{"name": "x"', '[1, 2', '', 'null', '"text"', '{"a":1}}',
                                  '{"name": "x", "command": "true"} trailing', '{"name": "\\ud800", "command": "true"}'])
def test_broken_json_is_400(text, admin, flat):
    answer = admin.request("PUT", "/appmesh/app/x", body=text, headers={"Content-Type": "application/json"})
    assert answer.status == 400 and answer.message, answer


def test_broken_json_is_told_its_position(admin):
    answer = admin.request("PUT", "/appmesh/app/x", body='{"name": "x", "command": oops}')
    assert answer.status == 400
    assert any(position in answer.message for position in ("25", "26", "line 1")), answer.message


def test_json_nested_too_deeply_is_400(admin, flat):
    for depth in (200, 100_000):
        body = '{"name":"deep","command":"true","metadata":' + "[" * depth + "]" * depth + "}"
        answer = admin.request("PUT", "/appmesh/app/deep", body=body)
        assert answer.status == 400, (depth, answer)


@pytest.mark.parametrize("field,value", [
    ("name", 5), ("name", ""), ("name", "a b"), ("name", "../../etc/passwd"), ("name", "é"), ("name", "x" * 129), ("name", "x" * 2048),
    ("name", ["x"]), ("command", 5), ("command", {"a": 1}), ("command", "x" * 2048), ("command", "a\0b"), ("shell", "yes"), ("shell", 1),
    ("status", "1"), ("status", 3), ("status", -1), ("status", 1.5), ("permission", 44), ("permission", -1), ("permission", "11"),
    ("stdout_cache_num", -1), ("stdout_cache_num", 10**12), ("stdout_cache_num", "two"), ("env", {"A": 1}), ("env", ["A=1"]),
    ("env", {"A=B": "x"}), ("env", {"": "x"}), ("env", {"A": "x\0y"}), ("sec_env", {"A": 2}), ("working_dir", 7),
    ("behavior", "restart"), ("behavior", {"exit": "sometimes"}), ("behavior", {"control": {"x": "restart"}}),
    ("behavior", {"control": {"1": "sometimes"}}), ("behavior", {"control": {"256": "restart"}}), ("retention", "P1M1X"),
    ("retention", -1), ("start_time", "tomorrow"), ("start_interval_seconds", 0), ("start_interval_seconds", "-5"),
    ("resource_limit", {"memory_mb": -1}), ("resource_limit", {"cpu_shares": 1}), ("resource_limit", 5),
    ("resource_limit", {"memory_mb": 100, "memory_virt_mb": 50}), ("daily_limitation", {"daily_start": 1}), ("pid", -5),
    ("pid", "one"), ("health_check_cmd", "x" * 2048), ("description", 5), ("instances", 0), ("instances", 1001), ("depends_on", 5),
])
def test_a_field_of_the_wrong_kind_or_range_is_400_and_named(field, value, admin):
    body = {"name": "refused", "command": "true", "status": 0, field: value}
    answer = admin.request("PUT", "/appmesh/app/refused", body=body)
    assert answer.status == 400, answer
    assert field in answer.message, answer.message
    assert len(answer.message) < 1000, "the message does not echo what it was sent"
    assert "refused" not in admin.apps()


def test_two_kilobytes_of_name_in_the_path_are_refused(admin, flat):
    for path in ("/appmesh/app/" + "n" * 2048, "/appmesh/app/%00", "/appmesh/app/a%2Fb", "/appmesh/app/*", "/appmesh/app/"):
        answer = admin.request("GET", path)
        assert answer.status in (400, 404) and answer.message, (path[:40], answer)


@pytest.mark.parametrize("route,body,unknown,meant", [
    ("PUT /appmesh/user/typo", {"name": "typo", "key": "long enough", "emial": "x@y"}, "emial", "email"),
    ("POST /appmesh/user/self/passwd", {"old_password": "eA==", "new_passwort": "eA=="}, "new_passwort", "new_password"),
    ("POST /appmesh/totp/validate", {"user_name": "a", "totp_cod": "1"}, "totp_cod", "totp_code"),
    ("POST /appmesh/config", {"BaseConfig": {"LogLevle": "DEBUG"}}, "BaseConfig.LogLevle", "BaseConfig.LogLevel"),
])
def test_a_field_that_nobody_knows_is_refused_with_the_one_that_was_meant(route, body, unknown, meant, admin):
    method, path = route.split(" ")
    answer = admin.request(method, path, body=body)
    assert answer.status == 400 and unknown in answer.message, answer
    assert ("did you mean" in answer.message) == bool(meant) and (meant or "") in answer.message, answer.message
    assert not admin.exists("typo") and "typo" not in admin.ok("GET", "/appmesh/users").json


@pytest.mark.parametrize("route,body,unknown", [
    ("PUT /appmesh/app/typo", {"colour": "red"}, "colour"),
    ("PUT /appmesh/app/typo", {"workign_dir": "/"}, "workign_dir"),
    ("PUT /appmesh/app/typo", {"behavior": {"exti": "restart"}}, "behavior.exti"),
    ("PUT /appmesh/app/typo", {"resource_limit": {"memory": 5}}, "resource_limit.memory"),
    ("PUT /appmesh/app/typo", {"daily_limitation": {"daily_start": 1, "daily_end": 2, "daily_stop": 3}}, "daily_limitation.daily_stop"),
    ("POST /appmesh/app/run", {"metdata": "x"}, "metdata"),
    ("POST /appmesh/app/syncrun", {"metdata": "x"}, "metdata"),
    ("POST /appmesh/schedule/preview", {"start_interval_seconds": 60, "cuont": 3}, "cuont"),
])
def test_unknown_fields_of_a_definition_are_named_in_the_answer(route, body, unknown, admin, cleaned):
    method, path = route.split(" ")
    given = {"command": "true", "status": 0} | ({"name": "typo"} if method == "PUT" else {}) | body
    cleaned.append("typo")
    answer = admin.ok(method, path, body=given)
    assert answer.headers["X-Unknown-Fields"] == unknown
    if path.endswith("/run"):
        cleaned.append(answer.json["name"])


def test_what_get_shows_can_be_put_back(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000", metadata={"a": 1.5}, daily_limitation={"daily_start": 0, "daily_end": 0}, retention=5, permission=200)
    shown = eventually(lambda: (app := admin.app(name)).get("pid") and app, "it runs")
    again = admin.ok("PUT", f"/appmesh/app/{name}", body=shown).json
    assert again["pid"] == shown["pid"] and again["permission"] == 200
    for user in admin.ok("GET", "/appmesh/users").json.values():
        admin.ok("PUT", f"/appmesh/user/{user['name']}", body=user)


@pytest.mark.parametrize("value,status", [("0", 200), ("1", 200), ("2592000", 200), ("P30D", 200), ("2592001", 400), ("P31D", 400), ("-1", 400),
                                          ("9" * 30, 400), ("soon", 400), ("1.5", 400), (" ", 200)])
def test_the_life_of_a_token_is_never_silently_another(value, status, daemon, admin):
    fresh = daemon.client()
    for answer in (admin.try_login("admin", ADMIN_PASSWORD, X_Expire_Seconds=value),
                   fresh.request("POST", "/appmesh/token/renew", headers={"X-Expire-Seconds": value})):
        assert answer.status == status, (value, answer)
        if status == 400:
            assert "X-Expire-Seconds" in answer.message


def test_null_is_an_absent_field(admin, name, cleaned):
    cleaned.append(name)
    body = {"name": name, "command": "true", "status": 0}
    body.update(dict.fromkeys(("pid", "env", "behavior", "retention", "permission", "daily_limitation", "metadata", "resource_limit")))
    assert "env" not in admin.ok("PUT", f"/appmesh/app/{name}", body=body).json


def test_unknown_paths_and_methods_have_their_statuses(admin):
    answer = admin.request("GET", "/no/such/path")
    assert answer.status == 404 and answer.message == "Path not found GET:/no/such/path"
    assert admin.request("GET", "//appmesh//applications").status == 200
    assert admin.request("PATCH", "/appmesh/applications").status == 405
    assert admin.request("DELETE", "/appmesh/applications").status in (404, 405)
    assert admin.request("HEAD", "/appmesh/applications").status == 200
    assert admin.request("OPTIONS", "/appmesh/applications").status in (200, 204)


def test_a_body_over_the_limit_is_413_before_it_is_sent(daemon, admin, flat):
    head = (f"PUT /appmesh/app/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin.token}\r\n"
            f"Content-Length: {101 * 1024 * 1024}\r\n\r\n").encode()
    assert status_of(conversation(daemon, head)) == 413
    chunked = (f"PUT /appmesh/app/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin.token}\r\n"
               "Transfer-Encoding: chunked\r\n\r\n").encode()
    assert status_of(conversation(daemon, chunked + b"7000001\r\n" + b"x" * 1000)) == 413


def test_a_header_over_the_limit_is_refused(daemon, flat):
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 70_000 + b"\r\n\r\n",
                 b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(20_000)) + b"\r\n"):
        assert status_of(conversation(daemon, data)) in (400, 414, 431)


@pytest.mark.parametrize("data", [
    b"rubbish\r\n\r\n", b"\x16\x03\x01\x00\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /appmesh/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\0" * 1000,
])
def test_what_is_no_http_is_400_or_closed(data, daemon, flat):
    assert status_of(conversation(daemon, data)) in (400, 505, None)


def test_plain_text_to_the_tls_port_is_closed(daemon, flat):
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while connection.recv(4096):
            pass


def test_old_tls_is_refused(daemon, flat):
    context = ssl.create_default_context(cafile=daemon.ca_file)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as connection:
            context.wrap_socket(connection, server_hostname="127.0.0.1")


@pytest.mark.timeout(240)
def test_slow_senders_are_cut_off_and_disturb_nobody(daemon, admin, flat):
    """50 connections stop in the middle of a header; 50 more never send a byte after the handshake."""
    slow = [tls(daemon, 120) for _ in range(100)]
    try:
        for connection in slow[:50]:
            connection.sendall(b"GET /appmesh/applications HTTP/1.1\r\nHost: x\r\nX-Half")
        assert admin.syncrun(command="echo undisturbed").text == "undisturbed\n"
        for connection in slow[:50]:
            try:
                while connection.recv(4096):  # a 408 may come before the close
                    pass
            except ConnectionError:
                pass
        assert admin.syncrun(command="echo undisturbed").text == "undisturbed\n"
    finally:
        for connection in slow:
            connection.close()


def test_a_thousand_half_handshakes_cost_only_themselves(daemon, admin, flat):
    hello = bytes.fromhex("1603010200010001fc0303")  # a ClientHello that announces 512 bytes and stops after 11
    half = []
    try:
        for number in range(1000):
            connection = socket.create_connection(("127.0.0.1", daemon.port), timeout=60)
            if number % 2:
                connection.sendall(hello)
            half.append(connection)
        assert admin.syncrun(command="echo undisturbed").text == "undisturbed\n"
        other = daemon.client()
        assert admin.apps().keys() == other.apps().keys()
    finally:
        for connection in half:
            connection.close()


def test_connections_that_vanish_in_the_middle_of_a_request_leave_nothing(daemon, admin, flat):
    token = admin.token

    def vanish(number):
        connection = tls(daemon)
        body = json.dumps({"command": "sleep 0.2"}).encode()
        connection.sendall(f"POST /appmesh/app/syncrun HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:len(body) if number % 2 else 5])
        connection.close()
    threads = [threading.Thread(target=vanish, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_requests_sent_at_once_on_one_connection_are_answered_in_order(daemon, admin):
    paths = [f"/appmesh/app/pipelined{number}/health" for number in range(8)]
    data = b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() +
                    (b"Connection: close\r\n\r\n" if path == paths[-1] else b"\r\n") for path in paths)
    received = conversation(daemon, data)
    assert received.count(b"HTTP/1.1 404") == 8
    positions = [received.index(f"pipelined{number}".encode()) for number in range(8)]
    assert positions == sorted(positions)
