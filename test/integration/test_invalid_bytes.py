"""Bytes that are not UTF-8, at every route and in every place of a request, and where strangers' bytes come out again: each
answer is text, JSON where it says so, and has the right status."""
import base64
import json
import os
import re
import shutil
import socket
import ssl

import msgpack
import pytest
import yaml

from harness.tcp import TcpClient, request_map
from harness.waiting import eventually

BAD = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"]  # a lone byte, a cut one, a surrogate, overlong, too high

# One row a route: what its body is. A route that is not here fails the test: add it.
JSON, BYTES, NONE = "json", "bytes", None
ROUTES = {
    "POST /appmesh/login": NONE,
    "POST /appmesh/auth": NONE,
    "POST /appmesh/token/renew": NONE,
    "POST /appmesh/self/logoff": NONE,
    "POST /appmesh/totp/secret": NONE,
    "POST /appmesh/totp/setup": NONE,
    "POST /appmesh/totp/validate": JSON,
    "POST /appmesh/totp/{user}/disable": NONE,
    "GET /appmesh/app/{name}": NONE,
    "GET /appmesh/applications": NONE,
    "GET /appmesh/app/{name}/health": NONE,
    "PUT /appmesh/app/{name}": JSON,
    "POST /appmesh/app/{name}/enable": NONE,
    "POST /appmesh/app/{name}/disable": NONE,
    "POST /appmesh/app/{name}/restart": NONE,
    "POST /appmesh/app/{name}/owner": NONE,
    "DELETE /appmesh/app/{name}": NONE,
    "GET /appmesh/app/{name}/runs": NONE,
    "GET /appmesh/app/{name}/output": NONE,
    "POST /appmesh/app/run": JSON,
    "POST /appmesh/app/syncrun": JSON,
    "POST /appmesh/schedule/preview": JSON,
    "POST /appmesh/app/{name}/task": BYTES,
    "DELETE /appmesh/app/{name}/task": NONE,
    "GET /appmesh/app/{name}/task": NONE,
    "PUT /appmesh/app/{name}/task": BYTES,
    "POST /appmesh/app/{name}/subscribe": NONE,
    "DELETE /appmesh/app/{name}/subscribe": NONE,
    "POST /appmesh/subscribe": NONE,
    "DELETE /appmesh/subscribe": NONE,
    "GET /appmesh/events": NONE,
    "POST /appmesh/user/{name}/passwd": JSON,
    "POST /appmesh/user/{name}/lock": NONE,
    "POST /appmesh/user/{name}/unlock": NONE,
    "PUT /appmesh/user/{name}": JSON,
    "DELETE /appmesh/user/{name}": NONE,
    "POST /appmesh/role/{name}": JSON,
    "DELETE /appmesh/role/{name}": NONE,
    "GET /appmesh/user/self": NONE,
    "GET /appmesh/users": NONE,
    "GET /appmesh/roles": NONE,
    "GET /appmesh/user/permissions": NONE,
    "GET /appmesh/permissions": NONE,
    "GET /appmesh/user/groups": NONE,
    "GET /appmesh/labels": NONE,
    "PUT /appmesh/label/{name}": NONE,
    "DELETE /appmesh/label/{name}": NONE,
    "GET /appmesh/config": NONE,
    "POST /appmesh/config": JSON,
    "GET /appmesh/resources": NONE,
    "GET /metrics": NONE,
    "GET /appmesh/metrics": NONE,
    "GET /appmesh/file/download": NONE,
    "POST /appmesh/file/upload": BYTES,
    "GET /appmesh/file/download/ws": NONE,
    "POST /appmesh/file/upload/ws": BYTES,
    "GET /appmesh/pty": NONE,
    "GET /appmesh/audit": NONE,
    "GET /": NONE,
    "GET /index.html": NONE,
    "GET /openapi.yaml": NONE,
}


def table(admin):
    """{route: names of its query parameters}, as the daemon itself describes its table."""
    described = yaml.safe_load(admin.ok("GET", "/openapi.yaml").text)["paths"]
    return {f"{method.upper()} {path}": [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            for path, operations in described.items() for method, operation in operations.items()}


class Raw:
    """Requests as bytes, so that nothing on this side refuses or repairs them."""

    def __init__(self, daemon, token):
        self.daemon = daemon
        self.token = token
        self.connection = None

    def ask(self, method, target, headers=(), body=b""):
        """(status, content type, body); the connection is kept where the daemon keeps it."""
        if self.connection is None:
            context = ssl.create_default_context(cafile=self.daemon.ca_file)
            plain = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=60)
            self.connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
            self.file = self.connection.makefile("rb")
        lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body),
                 b"Authorization: Bearer " + self.token.encode(), *headers]
        self.connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        status = int(self.file.readline().split(b" ")[1])
        fields = {}
        while line := self.file.readline().strip():
            key, _, value = line.partition(b":")
            fields[key.strip().lower()] = value.strip()
        text = self.file.read(int(fields.get(b"content-length", 0)))
        for value in fields.values():
            value.decode("ascii")
        if fields.get(b"connection") == b"close":
            self.close()
        return status, fields.get(b"content-type", b"").decode(), text

    def close(self):
        if self.connection:
            self.file.close()
            self.connection.close()
        self.connection = None


@pytest.fixture
def raw(daemon, admin):
    raw = Raw(daemon, admin.token)
    yield raw
    raw.close()


def check(answer, status, what, word=None):
    got, kind, body = answer
    text = body.decode()  # strictly
    assert got == status, (what, answer)
    if kind.startswith("application/json") or status >= 400:
        message = json.loads(text)["message"]
        assert word is None or word in message, (what, message)


def percent(data):
    return b"".join(b"%%%02X" % byte for byte in data)


def fill(path, value):
    return re.sub(r"\{\w+\}", "VALUE", path).encode().replace(b"VALUE", value)


def test_every_route_has_its_row(admin):
    assert sorted(ROUTES) == sorted(table(admin))


@pytest.mark.parametrize("route", ROUTES)
def test_every_place_of_every_route_refuses_what_is_no_text(route, admin, raw):
    method, path = route.split(" ")
    plain = fill(path, b"nobody")
    for bad in BAD:
        if "{" in path:
            check(raw.ask(method, fill(path, b"a" + percent(bad))), 400, (route, "path", bad), "path variable")
        else:
            check(raw.ask(method, plain.rstrip(b"/") + b"/x" + percent(bad)), 404, (route, "path", bad))
        check(raw.ask(method, plain + b"?" + bad), 400, (route, "raw target", bad))
        for query in [*table(admin)[route], "anything"]:
            check(raw.ask(method, plain + b"?" + query.encode() + b"=x" + percent(bad)), 400, (route, query, bad), f"query '{query}'")
        check(raw.ask(method, plain + b"?" + percent(bad) + b"=1"), 400, (route, "query name", bad), "query")
        for header in ("X-File-Path", "X-Anything"):
            check(raw.ask(method, plain, [header.encode() + b": a" + bad]), 400, (route, header, bad), f"header '{header}'")
        if ROUTES[route] == JSON:
            for body in (b'{"name": "' + bad + b'"}', b'{"' + bad + b'": 1}', b'["' + bad + b'"]', bad):
                check(raw.ask(method, plain, body=body), 400, (route, "body", bad), "JSON")


@pytest.mark.parametrize("route", [route for route in ROUTES if "/pty" not in route and "/events" not in route])
def test_messages_refuse_what_is_no_text(route, daemon, admin):
    method, path = route.split(" ")

    def ask(client, **change):
        message = request_map(method, change.pop("path", fill(path, b"nobody").decode()), token=admin.token)
        for key, value in change.items():
            message[key] = {**message[key], **value} if isinstance(value, dict) else value
        client.send_message(msgpack.packb(message, use_bin_type=True, unicode_errors="surrogateescape"))
        return client.receive(message["uuid"])

    with TcpClient(daemon) as client:
        for bad in BAD:
            text = bad.decode(errors="surrogateescape")
            changes = [("query", {"query": {"timeout": "1" + text}}), ("query", {"query": {text: "1"}}),
                       ("header", {"headers": {"X-File-Path": "/tmp/" + text}}), ("target", {"path": "/appmesh/" + text})]
            if "{" in path:
                changes.append(("path variable", {"path": fill(path, b"a" + percent(bad)).decode()}))
            if ROUTES[route] == JSON:
                changes.append(("JSON", {"body": b'{"name": "' + bad + b'"}'}))
            for word, change in changes:
                reply = ask(client, **change)
                assert reply.status == 400 and word in reply.json["message"], (route, change, reply)


def test_the_id_of_a_message_is_text(daemon):
    with TcpClient(daemon) as client:
        message = request_map("GET", "/appmesh/applications", request_id="\udcff")
        client.send_message(msgpack.packb(message, use_bin_type=True, unicode_errors="surrogateescape"))
        assert client.is_closed()


def test_names_and_passwords_are_text(admin):
    encoded = base64.b64encode(b"adm\xffin:secret").decode()
    answer = admin.request("POST", "/appmesh/login", headers={"Authorization": f"Basic {encoded}"}, token=None)
    assert answer.status == 400 and "UTF-8" in answer.message
    bad = base64.b64encode(b"\xff" * 12).decode()
    answer = admin.request("POST", "/appmesh/user/self/passwd", body={"old_password": bad, "new_password": bad})
    assert answer.status == 400 and "old_password" in answer.message


def test_a_path_in_a_file_route_is_text(admin, tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    for method, route in (("GET", "/appmesh/file/download"), ("POST", "/appmesh/file/upload")):
        answer = admin.request(method, route, headers={"X-File-Path": f"{tmp_path}/%FF"})
        assert answer.status == 400 and "X-File-Path" in answer.message, answer


@pytest.fixture
def odd_program(tmp_path):
    """A program whose name the kernel cuts to 15 bytes, inside a character."""
    program = tmp_path / ("é" * 10)
    shutil.copy("/bin/sleep", program)
    return program


def test_a_process_name_that_the_kernel_cut_is_shown_as_text(odd_program, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, f"'{odd_program}' 1000")

    def shown():
        answer = admin.ok("GET", f"/appmesh/app/{name}")
        return "é" in answer.json.get("pstree", "") and answer
    answer = eventually(shown, "the process is shown")
    assert "é" * 7 + "\ufffd" in json.loads(answer.body.decode())["pstree"]
    assert name in {app["name"] for app in json.loads(admin.ok("GET", "/appmesh/applications").body.decode())}
    json.loads(admin.ok("GET", "/appmesh/resources").body.decode())
    admin.ok("GET", "/metrics").body.decode()


def test_a_process_name_gives_terminals_no_orders(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, r"printf '\033[2Jx\302\233y' > /proc/$$/comm; while :; do sleep 1000; done", shell=True)
    tree = eventually(lambda: "[2J" in (tree := admin.app(name).get("pstree", "")) and tree, "the name is shown")
    assert "?[2Jx?y" in tree and "\x1b" not in tree and "\x9b" not in tree


def test_output_in_json_and_html_is_text(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, r"printf 'a\377b\355\240\200c\303'; sleep 1000", shell=True)
    eventually(lambda: admin.output(name).body, "it has written")
    answer = admin.output(name, json=1)
    assert json.loads(answer.body.decode())[0]["stdout"] == "a\ufffdb\ufffd\ufffd\ufffdc"
    assert answer.headers["X-Output-Position"] == "7", "the character that has only begun is for the next answer"
    assert "a\ufffdb" in admin.output(name, html=1).body.decode()
    assert admin.output(name).body == b"a\xffb\xed\xa0\x80c", "bytes are passed as they are"


def test_events_carry_text(daemon, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, r"printf 'a\377b\n'; exit 3", shell=True, status=0)
    with TcpClient(daemon) as client:
        client.token = admin.token
        client.ok("POST", f"/appmesh/app/{name}/subscribe", query={"events": "STDOUT,EXIT"})
        admin.enable(name)
        seen = ""
        while "b\n" not in seen:
            event = json.loads(msgpack.unpackb(client.receive_message(), raw=False)["body"].decode())
            seen += event["data"].get("output", "")
        assert seen == "a\ufffdb\n"


def test_labels_and_errors_are_text(admin, raw):
    check(raw.ask("PUT", b"/appmesh/label/colour?value=%FFred"), 400, "label", "query 'value'")
    check(raw.ask("PUT", b"/appmesh/label/c%FF?value=red"), 400, "label", "path variable")
    check(raw.ask("GET", b"/" + b"x" * 250 + "é".encode() * 10), 404, "an echo that is cut inside a character")


def test_an_audit_record_is_text(admin):
    assert admin.syncrun(command="true", shell=True).status == 200
    json.loads(admin.ok("GET", "/appmesh/audit").body.decode())


