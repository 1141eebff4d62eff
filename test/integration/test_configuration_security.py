"""What the configuration decides of security comes from its file: over the API it needs a permission that no shipped role has."""
import json
import signal

import pytest
import yaml
from harness.waiting import eventually

ORDINARY = {"BaseConfig.Description", "BaseConfig.ScheduleIntervalSeconds", "BaseConfig.LogLevel", "BaseConfig.PosixTimezone",
            "BaseConfig.StopGraceSeconds", "BaseConfig.HealthCheckSeconds", "BaseConfig.OutputLimitBytes",
            "BaseConfig.BackoffLimitSeconds", "REST.WorkerThreadPoolSize", "REST.IOThreadPoolSize"}
OTHER = {"REST.JWT.Algorithm": "ES256", "REST.JWT.SecurityInterface": "consul", "BaseConfig.LogLevel": "ERROR",
         "BaseConfig.PosixTimezone": "+03"}


def leaves(view, prefix=""):
    for key, value in view.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def another(name, value):
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return [*value, "https://other.example"] if isinstance(value, list) else "other"


def trail(client):
    return [entry["record"] for entry in client.ok("GET", "/appmesh/audit", query={"limit": 1000}).json
            if entry["record"]["action"].startswith(("configuration", "label"))]


@pytest.fixture
def client(fresh_daemon):
    return fresh_daemon.client()


def test_each_key_that_decides_security_is_refused_by_name(client):
    view = client.ok("GET", "/appmesh/config").json
    names = [name for name, _ in leaves({part: view[part] for part in ("BaseConfig", "REST")})]
    assert len(names) > 35
    for name, value in leaves({part: view[part] for part in ("BaseConfig", "REST")}):
        answer = client.request("POST", "/appmesh/config", body=nested(name, another(name, value)))
        if name in ORDINARY:
            assert answer.status == 200, (name, answer)
        else:
            assert answer.status == 403 and name in answer.message and "config-security" in answer.message, (name, answer)
    after = dict(leaves(client.ok("GET", "/appmesh/config").json))
    for name, value in leaves({part: view[part] for part in ("BaseConfig", "REST")}):
        assert (after[name] == value) != (name in ORDINARY), name


def test_nothing_of_a_change_is_taken_when_one_key_is_refused(client):
    answer = client.request("POST", "/appmesh/config",
                            body={"BaseConfig": {"Description": "new", "DisableExecUser": True}})
    assert answer.status == 403
    assert client.ok("GET", "/appmesh/config").json["BaseConfig"]["Description"] != "new"


def test_the_whole_view_may_be_sent_back(client):
    view = client.ok("GET", "/appmesh/config").json
    view["BaseConfig"]["LogLevel"] = "WARN"
    assert client.ok("POST", "/appmesh/config", body=view).json["BaseConfig"]["LogLevel"] == "WARN"


def test_the_permission_is_given_in_the_file_alone(fresh_daemon, client):
    assert "config-security" not in client.ok("GET", "/appmesh/user/permissions").json
    fresh_daemon.stop()
    file = fresh_daemon.home / "work/config/security.yaml"
    content = yaml.safe_load(file.read_text())
    content["Roles"]["security"] = ["config-security"]
    content["Users"]["admin"]["roles"].append("security")
    file.write_text(yaml.safe_dump(content))
    fresh_daemon.start()
    trusted = fresh_daemon.client()
    changed = trusted.ok("POST", "/appmesh/config", body={"REST": {"CsrfAllowedOrigins": ["https://console.example"]}})
    assert changed.json["REST"]["CsrfAllowedOrigins"] == ["https://console.example"]


def test_a_secret_is_not_confirmed_to_who_may_not_set_it(fresh_daemon, client):
    fresh_daemon.stop()
    salt = "a secret of more than thirty-two bytes"
    (fresh_daemon.home / "work/config/config.yaml").write_text(json.dumps({"REST": {"JWT": {"JWTSalt": salt}}}))
    fresh_daemon.start()
    guesses = [fresh_daemon.client().request("POST", "/appmesh/config", body={"REST": {"JWT": {"JWTSalt": guess}}})
               for guess in (salt, salt[::-1])]
    assert [answer.status for answer in guesses] == [403, 403] and guesses[0].message == guesses[1].message


def test_every_change_and_every_refusal_is_audited(client):
    client.ok("POST", "/appmesh/config", body={"BaseConfig": {"Description": "seen", "LogLevel": "DEBUG"}})
    client.request("POST", "/appmesh/config", body={"REST": {"JWT": {"JWTSalt": "a secret of thirty-two bytes or so"}}})
    client.request("POST", "/appmesh/config", body={"BaseConfig": {"StopGraceSeconds": -1}})
    client.ok("PUT", "/appmesh/label/rack", query={"value": "7"})
    client.ok("DELETE", "/appmesh/label/rack")
    records = trail(client)
    assert all(record["user"] == "admin" and record["peer"] == "127.0.0.1" for record in records)
    told = [(record["action"].removeprefix("configuration "), record["detail"]) for record in records]
    assert sorted(told) == sorted([
        ("changed", 'BaseConfig.Description="seen", BaseConfig.LogLevel="DEBUG"'),
        ("change refused", "configuration key REST.JWT.JWTSalt: decides security, so it comes from the file, or needs "
                           "permission 'config-security'"),
        ("change refused", "configuration key BaseConfig.StopGraceSeconds: must be from 0 to 86400"),
        ("changed", 'Labels.rack="7"'),
        ("changed", "Labels.rack=(none)")])
    assert "thirty-two" not in json.dumps(records)


def test_what_was_changed_in_the_file_is_audited(fresh_daemon, client):
    file = fresh_daemon.home / "work/config/config.yaml"
    for content in ({"BaseConfig": {"DisableExecUser": True}, "REST": {"JWT": {"JWTSalt": "thirty-two bytes of secret or more"}}},
                    {"BaseConfig": {"DisableExecUser": "perhaps"}}):
        seen = len(trail(client))
        file.write_text(json.dumps(content))
        fresh_daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(trail(client)) > seen, "the file is read again")
    changed, refused = sorted(trail(client), key=lambda record: record["action"])
    assert changed["action"] == "configuration file changed"
    assert changed["detail"] == "BaseConfig.DisableExecUser=true, REST.JWT.JWTSalt=******"
    assert refused["action"] == "configuration file refused" and "DisableExecUser" in refused["detail"]


def test_an_entry_is_short_whatever_was_changed(client):
    client.ok("POST", "/appmesh/config", body={"Labels": {f"label-{i}": "ü" * 500 for i in range(900)}})
    [record] = trail(client)
    assert len(record["detail"].encode()) < 40_000 and record["detail"].endswith(", and 836 more")


def test_a_change_that_changes_nothing_leaves_no_entry(client):
    client.ok("POST", "/appmesh/config", body=client.ok("GET", "/appmesh/config").json)
    client.ok("DELETE", "/appmesh/label/nobody-set-it")
    assert trail(client) == []
