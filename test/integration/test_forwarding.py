"""Requests that another daemon answers (X-Target-Host): real daemons that share the secret of their tokens. The others
listen at addresses of their own on the ports of the first, as they would on hosts of their own."""
import concurrent.futures
import json
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import urllib.parse

import pytest

from harness.daemon import ADMIN_PASSWORD, binaries, free_ports
from harness.tcp import TcpClient, frame
from harness.waiting import eventually

TRUST = {"REST_JWT_JWTSalt": "one secret for all daemons of the test", "REST_JWT_Issuer": "mesh"}
FAR, THIRD = "127.0.0.2", "127.0.0.3"


class Mesh:
    def __init__(self, new_daemon, **near_settings):
        self.new_daemon = new_daemon
        self.ports = free_ports(3)
        self.near = new_daemon(ports=self.ports, **{"REST_ForwardTargets": FAR, **TRUST, **near_settings})

    def daemon(self, address=FAR, **settings):
        return self.new_daemon(ports=self.ports, REST_RestListenAddress=address, **{**TRUST, **settings})


@pytest.fixture(scope="module")
def pair(homes):
    from harness.daemon import Daemon
    ports = free_ports(3)
    near = Daemon(homes / "near", ports=ports, REST_ForwardTargets=f"{FAR},{THIRD}:{ports[0]},{THIRD}:{ports[1]}", **TRUST)
    far = Daemon(homes / "far", ports=ports, REST_RestListenAddress=FAR, REST_ForwardTargets="127.0.0.1", **TRUST)
    try:
        yield near.start(), far.start()
    finally:
        near.close()
        far.close()


@pytest.fixture
def near(pair):
    return pair[0].client()


@pytest.fixture
def far(pair):
    return pair[1].client()


@pytest.fixture(params=["https", "tcp"])
def target(request, pair):
    """The other daemon by its HTTPS and by its TCP port."""
    return FAR if request.param == "https" else f"{FAR}:{pair[1].tcp_port}"


@pytest.fixture
def tcp(pair):
    with TcpClient(pair[0]) as client:
        client.login("admin", ADMIN_PASSWORD)
        yield client


def to(target, **headers):
    return {"X-Target-Host": target, **{name.replace("_", "-"): value for name, value in headers.items()}}


def sync_run(client, command, target, **query):
    return client.request("POST", "/appmesh/app/syncrun", query=query, body={"command": command, "shell": True}, headers=to(target))


def test_a_run_happens_on_the_other_daemon_and_its_answer_comes_back(near, far, name, target):
    run = near.request("POST", "/appmesh/app/syncrun", headers=to(target),
                       body={"name": f"{name}-1", "command": "echo from afar; exit 7", "shell": True})
    assert run.status == 200 and run.body == b"from afar\n", run
    assert run.headers["X-Exit-Code"] == "7" and run.headers["X-Output-Position"] == "10"
    assert run.headers["Content-Type"].startswith("text/plain")
    assert near.ok("PUT", f"/appmesh/app/{name}", body={"name": name, "command": "sleep 100"}, headers=to(target)).json["owner"] == "admin"
    assert far.exists(name) and not near.exists(name)
    assert near.ok("DELETE", f"/appmesh/app/{name}", headers=to(target)).json["message"] == f"Application <{name}> removed."


def test_query_and_path_arrive_as_they_were_sent(near, far, target):
    value = "a b+c&d=e%2F/ü?#"
    near.ok("PUT", "/appmesh/label/some%20label", query={"value": value}, headers=to(target))
    assert far.ok("GET", "/appmesh/labels").json["some label"] == value
    assert "some label" not in near.ok("GET", "/appmesh/labels").json
    far.ok("DELETE", "/appmesh/label/some%20label")


def test_errors_of_the_other_daemon_come_back_as_they_are(near, target):
    missing = near.request("GET", "/appmesh/app/nobody", headers=to(target))
    assert missing.status == 404 and "nobody" in missing.message
    assert near.request("GET", "/appmesh/labels", headers=to(target), token="forged").status == 401
    assert near.request("GET", "/appmesh/labels", headers=to(target), token=None).message == "No authentication token provided"
    assert near.request("POST", "/appmesh/app/run", headers=to(target), body="{not json").status == 400


def test_a_token_of_the_other_daemon_is_made_there_and_cookies_stay_between_browser_and_daemon(near, far, target):
    login = near.try_login("admin", ADMIN_PASSWORD, X_Target_Host=target, X_Set_Cookie="true")
    assert login.status == 200 and "Set-Cookie" not in login.headers
    assert login.headers["Cache-Control"] == "no-store"
    token = login.json["access_token"]
    assert far.request("GET", "/appmesh/user/self", token=token).json["name"] == "admin"
    cookie = near.request("GET", "/appmesh/user/self", token=None, headers=to(target, Cookie=f"appmesh_auth_token={token}"))
    assert cookie.status == 200 and cookie.json["name"] == "admin", "the cookie's token becomes Authorization"


def test_long_polls_hold_no_thread(pair, near, name, target):
    run = near.ok("POST", "/appmesh/app/run", headers=to(target), body={
        "name": name, "shell": True, "command": f"while ! test -e {name}; do sleep 0.05; done; echo went", "working_dir": str(pair[1].home)}).json

    def poll():
        return near.request("GET", f"/appmesh/app/{name}/output", headers=to(target),
                            query={"stdout_position": 0, "process_uuid": run["process_uuid"], "timeout": 60})
    # Far more of them than the daemon has I/O threads.
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        polls = [pool.submit(poll) for _ in range(24)]
        for _ in range(10):
            assert near.ok("GET", "/appmesh/labels").json, "nobody waits for those that wait"
            assert near.ok("GET", "/appmesh/labels", headers=to(target)).json
        assert not any(each.done() for each in polls)
        (pair[1].home / name).touch()
        assert {each.result().body for each in polls} == {b"went\n"}
    near.ok("DELETE", f"/appmesh/app/{name}", headers=to(target))


def established(address, port):
    remote = f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"
    with open("/proc/net/tcp") as table:
        return sum(fields[2] == remote and fields[3] == "01" for fields in map(str.split, table))


def test_connections_are_used_again(pair):
    client = pair[0].client()
    for _ in range(50):
        client.ok("GET", "/appmesh/labels", headers=to(FAR))
    # The pool of each of the two I/O threads, and what other tests of this file hold open themselves.
    assert established(FAR, pair[1].port) <= 2 * 8 + 2


def test_large_bodies_pass_in_both_directions(near, name, target):
    command = "head -c 3000000 /dev/zero | tr '\\0' x"
    assert sync_run(near, command, target).body == b"x" * 3_000_000
    # The end of the body is where the other daemon finds what is wrong.
    big = {"name": name, "description": "y" * 5_000_000, "status": 9}
    refused = near.request("PUT", f"/appmesh/app/{name}", body=big, headers=to(target))
    assert refused.status == 400, refused
    malformed = near.request("PUT", f"/appmesh/app/{name}", body=b'"' + b"y" * 5_000_000, headers=to(target))
    assert malformed.status == 400 and "5000001" in malformed.message, malformed


def test_appc_talks_to_the_other_daemon(pair, far, name, tmp_path, target):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "APPMESH_HOME": str(tmp_path / "state"),
                   "APPMESH_USER": "admin", "APPMESH_PASSWORD": ADMIN_PASSWORD}

    def appc(*words):
        return subprocess.run([binaries() / "appc", "-H", pair[0].url, "--ca", pair[0].ca_file, "-F", target, *words], env=environment,
                              capture_output=True, text=True, timeout=60)
    run = appc("exec", "echo output of $APP_MESH_APPLICATION_NAME; exit 4")
    assert run.returncode == 4 and run.stdout.startswith("output of run-"), run
    assert appc("add", "-a", name, "-c", "sleep 100", "-f").returncode == 0
    assert far.exists(name) and name in appc("view").stdout
    assert appc("rm", "-a", name, "-f").returncode == 0
    assert not far.exists(name)


def test_a_task_is_answered_by_a_worker_behind_the_other_daemon(near, far, name, target, tmp_path):
    told = tmp_path / "key"
    far.add(name, f'printf "%s" "$APP_MESH_PROCESS_KEY" > {told}.part; mv {told}.part {told}; exec sleep 3600', shell=True)
    eventually(told.exists, "the process tells its key")
    path, payload = f"/appmesh/app/{name}/task", bytes(range(256)) * 5000
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(near.request, "POST", path, query={"timeout": 60}, body=payload, headers=to(target))
        fetched = near.request("GET", path, query={"process_key": told.read_text()}, headers=to(target), token=None)
        assert fetched.status == 200 and fetched.body == payload
        answered = near.request("PUT", path, query={"process_key": told.read_text()}, headers=to(target), token=None, body=payload[::-1])
        assert answered.status == 200, answered
        result = asked.result()
    assert result.status == 200 and result.body == payload[::-1]
    assert result.headers["Content-Type"] == "application/octet-stream"
    far.delete(name)


def test_files_pass_in_both_directions_without_lying_in_memory(near, target, tmp_path):
    # More than any body that is held in memory may have.
    content = secrets.token_bytes(1_200_000) * 100
    path = tmp_path / "a file ü"
    where = {"X-File-Path": urllib.parse.quote(str(path)), "X-File-Mode": "416"}
    stored = near.request("POST", "/appmesh/file/upload", headers={**to(target), **where}, body=content)
    assert stored.status == 200, stored
    assert path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o640
    fetched = near.request("GET", "/appmesh/file/download", headers={**to(target), **where})
    assert fetched.status == 200 and fetched.body == content
    assert fetched.headers["X-File-Mode"] == "416" and fetched.headers["Content-Type"] == "application/octet-stream"
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    again = near.request("POST", "/appmesh/file/upload", headers={**to(target), **where}, body=content)
    assert again.status == 409, again
    assert near.request("GET", "/appmesh/file/download", headers={**to(target), "X-File-Path": "/no/such/file"}).status == 404
    assert near.request("GET", "/appmesh/file/download", headers=to(target)).status == 400
    assert near.ok("GET", "/appmesh/labels", headers=to(target)).json


def peak_bytes(daemon):
    """The most memory that it ever had."""
    status = (pathlib.Path("/proc") / str(daemon.pid) / "status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


@pytest.mark.parametrize("protocol", ["https", "tcp"])
def test_a_file_longer_than_memory_may_be_costs_neither_daemon_memory(new_daemon, tmp_path, protocol):
    length = 300_000_000
    mesh = Mesh(new_daemon)
    near, far = mesh.near.start(), mesh.daemon().start()
    client = near.client()
    target = FAR if protocol == "https" else f"{FAR}:{far.tcp_port}"
    client.ok("GET", "/appmesh/labels", headers=to(target))
    before = peak_bytes(near), peak_bytes(far)
    headers = {"Authorization": f"Bearer {client.token}", "X-File-Path": str(tmp_path / "there"), **to(target)}
    with open(tmp_path / "here", "wb+") as file:
        file.truncate(length)
        connection = client.connect()
        connection.request("POST", "/appmesh/file/upload", body=file, headers={**headers, "Content-Length": str(length)})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
    assert (tmp_path / "there").stat().st_size == length
    connection.request("GET", "/appmesh/file/download", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    received = 0
    while piece := answer.read(1 << 20):
        received += len(piece)
    connection.close()
    assert received == length
    grown = peak_bytes(near) - before[0], peak_bytes(far) - before[1]
    assert max(grown) < 32_000_000, grown


def test_a_form_with_a_file_is_passed_on(near, target, tmp_path):
    content = secrets.token_bytes(300_000)
    body = (b'--frontier\r\nContent-Disposition: form-data; name="filename"\r\n\r\nx\r\n--frontier\r\n'
            b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + content + b"\r\n--frontier--\r\n")
    stored = near.request("POST", "/appmesh/file/upload", body=body, headers={
        **to(target), "X-File-Path": str(tmp_path / "form"), "Content-Type": "multipart/form-data; boundary=frontier"})
    assert stored.status == 200, stored
    assert (tmp_path / "form").read_bytes() == content
    broken = near.request("POST", "/appmesh/file/upload", body=body[:-20], headers={
        **to(target), "X-File-Path": str(tmp_path / "broken"), "Content-Type": "multipart/form-data; boundary=frontier"})
    assert broken.status == 400, broken
    assert [each.name for each in tmp_path.iterdir()] == ["form"], "nothing is left of it"


def test_files_over_tcp_go_on_over_tcp(tcp, near, tmp_path):
    content = secrets.token_bytes(3_000_000)
    path = tmp_path / "data"
    granted = tcp.request("POST", "/appmesh/file/upload", headers=to(FAR, X_File_Path=str(path), X_Send_File_Socket="true"))
    assert granted.status == 200 and "x-send-file-socket" in granted.headers, granted
    for start in range(0, len(content), 16_256):
        tcp.socket.sendall(frame(content[start:start + 16_256]))
    tcp.socket.sendall(frame(b""))
    reply = tcp.request("GET", "/appmesh/file/download", headers=to(FAR, X_File_Path=str(path), X_Recv_File_Socket="true"))
    assert reply.status == 200 and "x-recv-file-socket" in reply.headers, "handled when the upload is stored"
    received = b""
    while piece := tcp.receive_frame():
        received += piece
    assert received == content
    assert tcp.ok("GET", "/appmesh/labels", headers=to(FAR)).json
    refused = tcp.request("GET", "/appmesh/file/download", headers=to(f"{FAR}:{near.port}", X_File_Path=str(path), X_Recv_File_Socket="true"))
    assert refused.status == 400


def test_our_own_names_are_served_here(near, name):
    near.add(name, "sleep 100", status=0)
    for own in ("localhost", "127.0.0.1", f"127.0.0.1:{near.port}", socket.gethostname()):
        assert near.ok("GET", f"/appmesh/app/{name}", headers=to(own)).json["name"] == name
    near.delete(name)


def test_the_fifth_hop_is_refused(near):
    assert near.request("GET", "/appmesh/labels", headers=to(FAR, X_Forward_Hops="3")).status == 200
    for hops in ("4", "5", "4294967295"):
        assert near.request("GET", "/appmesh/labels", headers=to(FAR, X_Forward_Hops=hops)).status == 508
    for hops in ("-1", "x", "", "1.5", "99999999999999999999"):
        bad = near.request("GET", "/appmesh/labels", headers=to(FAR, X_Forward_Hops=hops))
        assert bad.status == 400 and "X-Forward-Hops" in bad.message


def test_only_listed_targets_are_reached(near, far):
    with socket.create_server((THIRD, 0)) as stranger:
        stranger.settimeout(0.3)
        for target in (f"{THIRD}:{stranger.getsockname()[1]}", f"127.0.0.1:{stranger.getsockname()[1]}", "127.0.0.4", "example.com"):
            refused = near.request("GET", "/appmesh/labels", headers=to(target))
            assert refused.status == 403 and "REST.ForwardTargets" in refused.message, target
        with pytest.raises(TimeoutError):
            stranger.accept()


def test_a_bad_target_is_named(near):
    for bad in ("", ":6060", "a b", "a/b", "user@host", "host:0", "host:99999", "[::1", "host:1:2x"):
        answer = near.request("GET", "/appmesh/labels", headers=to(bad))
        assert answer.status == 400 and "X-Target-Host" in answer.message, bad


def test_a_target_that_is_down_is_a_502_with_the_reason(near):
    answer = near.request("GET", "/appmesh/labels", headers=to(THIRD))
    assert answer.status == 502 and "Connection refused" in answer.message and THIRD in answer.message


def test_over_tcp_the_tcp_port_is_meant(tcp, far, pair, name):
    for target in (FAR, f"{FAR}:443", f"{FAR}:{pair[1].tcp_port}", f"{FAR}:{pair[1].port}"):
        run = tcp.request("POST", "/appmesh/app/syncrun", headers=to(target), body={"command": "echo $APP_MESH_APPLICATION_NAME; exit 3", "shell": True, "name": name})
        assert run.status == 200 and run.text == f"{name}\n" and run.headers["x-exit-code"] == "3", (target, run)
    assert not far.exists(name)
    assert tcp.request("GET", "/appmesh/labels", headers=to("127.0.0.4")).status == 403
    assert tcp.request("GET", "/appmesh/labels", headers=to(THIRD)).status == 502
    assert tcp.request("GET", "/appmesh/labels", headers=to("a:b:c")).status == 400
    assert tcp.request("GET", "/appmesh/labels", headers=to(FAR, X_Forward_Hops="4")).status == 508
    assert tcp.request("GET", "/appmesh/app/nobody", headers=to("localhost")).status == 404


def test_over_tcp_many_requests_are_forwarded_at_once(tcp, near, pair, name):
    run = tcp.ok("POST", "/appmesh/app/run", headers=to(FAR), body={"name": name, "command": "sleep 100"}).json
    waiting = [tcp.send("GET", f"/appmesh/app/{name}/output", headers=to(FAR),
                        query={"stdout_position": 0, "process_uuid": run["process_uuid"], "timeout": 60}) for _ in range(40)]
    for _ in range(10):
        tcp.ok("GET", "/appmesh/labels", headers=to(FAR))
    assert tcp.request("GET", f"/appmesh/app/{name}/output", headers=to(FAR), query={"stdout_position": 0}).status == 200
    near.ok("DELETE", f"/appmesh/app/{name}", headers=to(FAR))
    assert all(tcp.receive(each).status in (200, 404) for each in waiting)


def test_events_are_not_forwarded(tcp, far, name):
    far.add(name, "sleep 100", status=0)
    assert tcp.request("POST", f"/appmesh/app/{name}/subscribe", headers=to(FAR)).status == 405
    made = tcp.ok("PUT", f"/appmesh/app/{name}", headers=to(FAR), query={"subscribe_events": "START"}, body={"name": name, "command": "sleep 100", "status": 0})
    assert "subscription_id" not in made.json
    far.delete(name)


def test_a_target_that_is_no_daemon_is_a_502(near):
    with socket.create_server((THIRD, near.port)) as server:
        def talk():
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 this is no TLS\r\n\r\n")
        thread = threading.Thread(target=talk)
        thread.start()
        for _ in range(2):
            answer = near.request("GET", "/appmesh/labels", headers=to(THIRD))
            assert answer.status == 502 and "TLS handshake" in answer.message, answer
        thread.join()


def test_a_target_that_dies_amid_a_request_is_a_502_and_works_again_when_it_is_back(new_daemon, name):
    mesh = Mesh(new_daemon)
    near, far = mesh.near.start().client(), mesh.daemon().start()
    near.ok("GET", "/appmesh/labels", headers=to(FAR))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sync_run, near, "sleep 100", FAR)
        eventually(lambda: [app for app in far.client().apps().values() if "sleep 100" in app.get("command", "")], "the run has begun")
        far.kill()
        answer = waiting.result()
    assert answer.status == 502 and "without an answer" in answer.message
    assert near.request("GET", "/appmesh/labels", headers=to(FAR)).status == 502
    far.start()
    assert near.ok("GET", "/appmesh/labels", headers=to(FAR)).json


def test_a_caller_that_leaves_takes_its_forward_along(new_daemon, name):
    mesh = Mesh(new_daemon)
    caller, far = mesh.near.start().client(), mesh.daemon().start().client()
    run = far.ok("POST", "/appmesh/app/run", body={"name": name, "command": "sleep 100"}).json
    far.close()
    for target, port in ((FAR, mesh.ports[0]), (f"{FAR}:{mesh.ports[1]}", mesh.ports[1])):
        eventually(lambda: established(FAR, port) == 0, "nobody talks to the other daemon")
        connection = caller.connect()
        connection.request("GET", f"/appmesh/app/{name}/output?stdout_position=0&timeout=300&process_uuid={run['process_uuid']}",
                           headers={"Authorization": f"Bearer {caller.token}", **to(target)})
        eventually(lambda: established(FAR, port) == 1, "the request is forwarded")
        connection.close()
        eventually(lambda: established(FAR, port) == 0, "its connection is closed, not kept")


def test_kept_connections_of_a_target_that_was_restarted_cost_no_request(new_daemon):
    mesh = Mesh(new_daemon)
    near, far = mesh.near.start().client(), mesh.daemon().start()
    near.ok("GET", "/appmesh/labels", headers=to(FAR))
    far.kill()
    far.start()
    for _ in range(4):
        near.ok("PUT", "/appmesh/label/x", query={"value": "1"}, headers=to(FAR))


def share_certificates(source, target, *files):
    (target.home / "ssl").mkdir(parents=True)
    for file in files:
        shutil.copy(source.home / "ssl" / file, target.home / "ssl" / file)


def certificate_for(daemon, address):
    """A server certificate for that address, by the daemon's own CA."""
    ssl = daemon.home / "ssl"
    (ssl / "san").write_text(f"subjectAltName=IP:{address}\n")
    subprocess.run(["openssl", "req", "-new", "-key", ssl / "server-key.pem", "-subj", "/CN=far", "-out", ssl / "request"], check=True)
    subprocess.run(["openssl", "x509", "-req", "-in", ssl / "request", "-CA", ssl / "ca.pem", "-CAkey", ssl / "ca-key.pem",
                    "-days", "2", "-extfile", ssl / "san", "-out", ssl / "server.pem"], check=True, capture_output=True)


def test_the_target_s_certificate_is_verified_when_that_is_asked_for(new_daemon):
    mesh = Mesh(new_daemon, REST_SSL_VerifyServerDelegate="true")
    near = mesh.near.start().client()
    far = mesh.daemon()
    far.start()
    stranger = near.request("GET", "/appmesh/labels", headers=to(FAR))
    assert stranger.status == 502 and "certificate verify failed" in stranger.message, "of another CA"
    far.close()
    shutil.rmtree(far.home)
    share_certificates(mesh.near, far, "ca.pem", "ca-key.pem", "server.pem", "server-key.pem")
    far.start()
    other_name = near.request("GET", "/appmesh/labels", headers=to(FAR))
    assert other_name.status == 502 and "IP address mismatch" in other_name.message
    far.kill()
    certificate_for(far, FAR)
    far.start()
    assert near.ok("GET", "/appmesh/labels", headers=to(FAR)).json


def test_the_client_certificate_is_shown_to_a_target_that_wants_one(new_daemon):
    mesh = Mesh(new_daemon)
    near = mesh.near.start().client()
    far = mesh.daemon(REST_SSL_VerifyClient="true")
    share_certificates(mesh.near, far, "ca.pem", "ca-key.pem")
    far.start(wait=False)
    eventually(lambda: near.request("GET", "/appmesh/labels", headers=to(FAR)).status == 200, "it answers")
    mesh.near.close()
    for file in ("client.pem", "client-key.pem"):
        (mesh.near.home / "ssl" / file).unlink()
    mesh.near.environment["APPMESH_REST_SSL_SSLClientCertificateFile"] = "ssl/none.pem"
    mesh.near.start()
    answer = near.request("GET", "/appmesh/labels", headers=to(FAR))
    assert answer.status == 502 and "certificate" in answer.message, answer


def test_targets_change_while_the_daemon_runs(new_daemon):
    mesh = Mesh(new_daemon, REST_ForwardTargets=None)
    near = mesh.near.start().client()
    mesh.daemon().start()
    assert near.request("GET", "/appmesh/labels", headers=to(FAR)).status == 403
    file = mesh.near.home / "work/config/config.yaml"
    for targets, status in (([FAR, "no host:x"], 200), ([], 403)):
        file.write_text(json.dumps({"REST": {"ForwardTargets": targets}}))
        mesh.near.process.send_signal(signal.SIGHUP)
        eventually(lambda: near.request("GET", "/appmesh/labels", headers=to(FAR)).status == status, "the file is read again")
