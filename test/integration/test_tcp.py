"""The REST API over TCP: frames, msgpack, many requests at once, replies in any order."""
import json
import threading
import uuid

import msgpack
import pytest

from harness.daemon import ADMIN_PASSWORD
from harness.tcp import TcpClient, frame, request_map


@pytest.fixture
def tcp(daemon):
    with TcpClient(daemon) as client:
        client.login("admin", ADMIN_PASSWORD)
        yield client


def test_the_api_answers_as_over_https(tcp, admin, name, cleaned):
    cleaned.append(name)
    body = {"name": name, "command": "true", "status": 0, "description": "made over TCP"}
    made = tcp.ok("PUT", f"/appmesh/app/{name}", body=body)
    assert made.json["description"] == "made over TCP"
    assert made.message["body_msg_type"].startswith("application/json")
    assert tcp.ok("GET", f"/appmesh/app/{name}").json["command"] == admin.app(name)["command"]
    assert tcp.ok("DELETE", f"/appmesh/app/{name}").status == 200
    assert tcp.request("GET", f"/appmesh/app/{name}").status == 404
    unknown = tcp.request("GET", "/no/such/path")
    assert unknown.status == 404 and unknown.json["message"] == "Path not found GET:/no/such/path"
    assert tcp.request("GET", "/appmesh/applications", token=None).status == 401


def test_a_reply_echoes_uuid_and_path_and_its_body_is_binary(tcp):
    request_id = "any text is an id " + str(uuid.uuid4())
    tcp.send_message(msgpack.packb(request_map("GET", "/appmesh/app/nobody/health", request_id=request_id)))
    message = msgpack.unpackb(tcp.receive_message(), raw=False)
    assert message["uuid"] == request_id and message["request_uri"] == "/appmesh/app/nobody/health"
    assert isinstance(message["body"], bytes) and isinstance(message["http_status"], int)
    assert isinstance(message["body_msg_type"], str)
    assert all(isinstance(each, str) for pair in message["headers"].items() for each in pair)


def test_both_forms_of_authorization_are_taken(tcp):
    for value in (tcp.token, f"Bearer {tcp.token}"):
        assert tcp.request("GET", "/appmesh/user/self", token=None, headers={"authorization": value}).status == 200
    assert tcp.request("GET", "/appmesh/user/self", token="nonsense").status == 401


def test_no_cookie_is_set(daemon):
    with TcpClient(daemon) as tcp:
        reply = tcp.login("admin", ADMIN_PASSWORD, **{"X-Set-Cookie": "true"})
        assert "set-cookie" not in reply.headers and reply.json["access_token"]


def test_replies_come_as_they_are_ready(tcp):
    slow = tcp.send("POST", "/appmesh/app/syncrun", query={"timeout": 30}, body={"command": "read x; echo slow", "shell": True, "metadata": None})
    # The slow one has no stdin and ends at once by itself or later: the order below does not depend on it.
    quick = [tcp.send("GET", "/appmesh/app/nobody/health") for _ in range(20)]
    for request_id in reversed(quick):
        assert tcp.receive(request_id).status == 404
    assert tcp.receive(slow).status == 200


def test_a_waiting_request_does_not_hold_up_the_next(tcp, name, cleaned):
    cleaned.append(name)
    tcp.ok("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "sleep 1000"})
    waiting = tcp.send("GET", f"/appmesh/app/{name}/output", query={"timeout": 50, "stdout_position": 0})
    assert tcp.ok("GET", f"/appmesh/app/{name}").json["name"] == name
    assert waiting not in tcp._early, "the long-poll waits"
    tcp.ok("POST", f"/appmesh/app/{name}/disable")  # ends the run, and so the wait
    assert tcp.receive(waiting).status == 200


def test_many_callers_on_many_connections(daemon, tcp):
    problems = []

    def call(number):
        try:
            with TcpClient(daemon) as client:
                client.token = tcp.token
                ids = [client.send("GET", "/appmesh/user/self") for _ in range(50)]
                assert all(client.receive(each).status == 200 for each in ids)
                reply = client.ok("POST", "/appmesh/app/syncrun", body={"command": f"echo {number}"})
                assert reply.text == f"{number}\n" and reply.headers["x-exit-code"] == "0"
        except Exception as problem:  # shown by the test, not lost in the thread
            problems.append(problem)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_input_is_taken_leniently(tcp):
    """Any order, unknown keys, missing keys, the old name of query, body as text, numbers as query values."""
    tcp.send_message(msgpack.packb({"http_method": "GET", "more": [1, {"a": None}], "uuid": "u1", "request_uri": "/appmesh/labels",
                                    "headers": {"AUTHORIZATION": tcp.token}}))
    assert tcp.receive("u1").status == 200
    tcp.send_message(msgpack.packb({"uuid": "u2", "request_uri": "/appmesh/app/nobody/health", "http_method": "GET", "body": None,
                                    "headers": None, "query": None, "client_addr": None}))
    assert tcp.receive("u2").status == 404
    tcp.send_message(msgpack.packb({"uuid": "u3", "request_uri": "/appmesh/app/syncrun", "http_method": "POST",
                                    "headers": {"Authorization": tcp.token}, "querys": {"timeout": 20},
                                    "body": json.dumps({"command": "echo text"})}))
    assert tcp.receive("u3").text == "text\n"
    tcp.send_message(msgpack.packb({}))
    assert tcp.receive("").status in (400, 405)


def test_a_large_body_goes_both_ways(tcp):
    description = "d" * 2_000_000
    reply = tcp.request("POST", "/appmesh/app/syncrun", body={"command": "echo x", "description": description})
    assert reply.status in (200, 400), reply  # the field may have a limit; the message has not reached its own
    reply = tcp.ok("POST", "/appmesh/app/syncrun", query={"timeout": 60},
                   body={"command": "head -c 3000000 /dev/zero | tr '\\0' x", "shell": True})
    assert reply.body.startswith(b"xxx")


def test_a_frame_may_come_in_pieces_and_several_at_once(tcp):
    data = b"".join(frame(msgpack.packb(request_map("GET", "/appmesh/app/nobody/health", request_id=f"p{number}")))
                    for number in range(5))
    for cut in (1, 7, 8, 9, 100):
        tcp.socket.sendall(data[:cut])
        tcp.socket.sendall(data[cut:])
        for number in range(5):
            assert tcp.receive(f"p{number}").status == 404
    for byte in data:
        tcp.socket.sendall(bytes([byte]))
    for number in range(5):
        assert tcp.receive(f"p{number}").status == 404


def test_other_methods_have_their_statuses(tcp):
    assert tcp.request("HEAD", "/appmesh/applications").status == 200
    assert tcp.request("OPTIONS", "/appmesh/applications").status == 200
    assert tcp.request("PATCH", "/appmesh/applications").status == 405
    assert tcp.request("GET", "no/slash").status == 400
