"""Metadata passes byte for byte: to the run, through the file, copies and restarts of the daemon. Doubles are written as every other
program writes them."""
import json
import random
import re

import pytest
import yaml

from harness.tcp import TcpClient
from harness.waiting import eventually

MIB = 1024 * 1024


def put(client, name, metadata, **fields):
    """Registers with the metadata as it stands; json.dumps would choose its own spelling."""
    body = json.dumps({"name": name, "command": "cat", "status": 0, **fields})[:-1] + ', "metadata": ' + metadata + "}"
    return client.ok("PUT", f"/appmesh/app/{name}", body=body, headers={"Content-Type": "application/json"})


def member(answer):
    """The metadata of an app as it stands in an answer."""
    text = answer.body.decode()
    begin = text.index('"metadata":') + len('"metadata":')
    blanks = len(text) - len(text[begin:].lstrip()) - begin
    _, end = json.JSONDecoder().raw_decode(text, begin + blanks)
    return text[begin:end + len(text[end:]) - len(text[end:].lstrip())]


def random_number(source):
    text = source.choice(["", "-"]) + source.choice(["0", str(source.randint(1, 10 ** source.randint(1, 40)))])
    if source.random() < 0.6:
        text += "." + "".join(source.choice("0123456789") for _ in range(source.randint(1, 30)))
    if source.random() < 0.3:
        text += source.choice("eE") + source.choice(["", "+", "-"]) + str(source.randint(0, 300))
    return text


SPELLED = ['{"price": 19.99}', "1.10", "[1.10, 1E5, -0.0, 12345678901234567890123456789, 0.1234567890123456789]",
           '{ "b" : 1 ,\n\t"a":{"x":[ ]} }', "5", "true", "false", '["ä", "\\u00e4", "\\/"]', '{"a":1,"a":1.0}', "1e400"]


def test_json_metadata_keeps_its_spelling_everywhere(new_daemon):
    seed = random.randrange(2 ** 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    numbers = [random_number(source) for _ in range(200)]
    sent = {f"app-{k}": text for k, text in enumerate([*SPELLED, *numbers[:10], "[" + ",  ".join(numbers) + "]"])}
    daemon = new_daemon().start()
    admin = daemon.client()
    for name, text in sent.items():
        assert member(put(admin, name, text)) == text, "the answer to the registration"
    for restarted in (False, True):
        if restarted:
            daemon.stop()
            daemon.start()
            admin = daemon.client()
        listed = admin.ok("GET", "/appmesh/applications").body.decode()
        json.loads(listed)
        for name, text in sent.items():
            assert member(admin.ok("GET", f"/appmesh/app/{name}")) == text
            assert f'"metadata":{text}' in listed
        for name in ("app-0", "app-1", "app-2", "app-3", f"app-{len(sent) - 1}"):
            copy = admin.ok("POST", "/appmesh/app/syncrun", body={"name": name, "env": {"A": "b"}})
            assert copy.body.decode() == sent[name], "a copy's stdin"
            admin.enable(name)
            eventually(lambda name=name: (app := admin.app(name))["starts"] == 1 + restarted and "pid" not in app
                       and app.get("return_code") == 0, "it has run")
            assert admin.whole_output(name).decode() == sent[name], "its stdin"
            admin.disable(name)


def test_metadata_in_the_body_of_a_run_reaches_its_stdin(daemon, admin):
    text = '{"price": 19.990,  "digits": 12345678901234567890123}'
    body = '{"metadata": ' + text + ', "command": "cat"}'
    assert admin.ok("POST", "/appmesh/app/syncrun", body=body).text == text
    with TcpClient(daemon) as client:
        client.token = admin.token
        assert client.ok("POST", "/appmesh/app/syncrun", body=body.encode()).text == text


def test_text_stays_text_and_only_objects_and_arrays_are_unwrapped(admin, name, cleaned):
    cleaned.append(name)
    for text in ("1.10", "true", "null", '"quoted"', "[not json", "plain", " 1.10\n", "0x10"):
        assert json.loads(member(put(admin, name, json.dumps(text)))) == text
        assert admin.syncrun(command="cat", metadata=text).text == text
    for text in ('{"price": 19.990}', "[ 1.10 ]\n"):
        assert member(put(admin, name, json.dumps(text))) == text, "a string that holds JSON is that JSON, as it is spelled"
        assert admin.syncrun(command="cat", metadata=text).text == text


def test_a_megabyte_is_taken_as_it_was_sent(fresh_daemon):
    admin = fresh_daemon.client()
    filler = "[" + "19.990," * 149_795
    array = filler + "1" * (MIB - len(filler) - 1) + "]"
    assert len(array) == MIB
    quotes = "'\"\\\x01ä" * (MIB // 6)
    for name, metadata in (("array", array), ("text", json.dumps("x" * MIB)), ("quotes", json.dumps(quotes))):
        put(admin, name, metadata)
    fresh_daemon.stop()
    fresh_daemon.start()
    admin = fresh_daemon.client()
    assert member(admin.ok("GET", "/appmesh/app/array")) == array
    assert json.loads(member(admin.ok("GET", "/appmesh/app/text"))) == "x" * MIB
    assert json.loads(member(admin.ok("GET", "/appmesh/app/quotes"))) == quotes
    for metadata in (array[:-1] + " ]", json.dumps("x" * (MIB + 1))):
        body = '{"name": "more", "command": "cat", "metadata": ' + metadata + "}"
        answer = admin.request("PUT", "/appmesh/app/more", body=body)
        assert answer.status == 400 and "metadata" in answer.message, answer


def test_metadata_that_says_the_same_restarts_nothing_and_is_spelled_anew(admin, name, cleaned):
    cleaned.append(name)
    put(admin, name, '{"price": 19.990, "list": [1]}', command="sleep 1000", status=1)
    pid = eventually(lambda: admin.app(name).get("pid"), "it runs")
    other = '{"list":[1],"price":19.99}'
    assert member(put(admin, name, other, command="sleep 1000", status=1)) == other
    assert admin.app(name)["pid"] == pid
    put(admin, name, '{"list":[2],"price":19.99}', command="sleep 1000", status=1)
    eventually(lambda: admin.app(name).get("pid") not in (None, pid), "other metadata is another process")


def test_a_file_written_by_hand_keeps_the_spelling_of_numbers(new_daemon):
    daemon = new_daemon().start()
    apps = daemon.home / "work" / "apps"
    daemon.stop()
    files = {"block": ("command: cat\nmetadata:\n  price: 1.10\n  list: [1.0, 0x10, 007, \"1.10\", 12345678901234567890123]\n  none:\n",
                       '{"price":1.10,"list":[1.0,"0x10","007","1.10",12345678901234567890123],"none":null}'),
             "number": ("command: cat\nmetadata: 1.10\n", "1.10"),
             "text": ("command: cat\nmetadata: \"1.10\"\n", '"1.10"'),
             "literal": ("command: cat\nmetadata: |-\n  {\"a\": 1.10,\n   \"b\": []}\n", '{"a": 1.10,\n "b": []}')}
    for name, (text, _) in files.items():
        (apps / f"{name}.yaml").write_text(text)
    daemon.start()
    admin = daemon.client()
    for name, (_, shown) in files.items():
        assert member(admin.ok("GET", f"/appmesh/app/{name}")) == shown
        admin.ok("POST", f"/appmesh/app/{name}/disable")  # writes the file anew
        saved = yaml.safe_load((apps / f"{name}.yaml").read_text())["metadata"]
        assert saved == (1.10 if name == "number" else "1.10" if name == "text" else shown)


@pytest.mark.parametrize("path", ["/appmesh/app/{name}", "/appmesh/applications", "/appmesh/resources", "/appmesh/app/{name}/runs", "/appmesh/audit"])
def test_doubles_are_spelled_as_everywhere(path, admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    eventually(lambda: "cpu" in admin.app(name), "it runs")
    text = admin.ok("GET", path.format(name=name)).body.decode()
    assert not re.search(r"[0-9]E[0-9+-]", text), re.search(r".{20}[0-9]E[0-9+-].{10}", text)
    for number in re.findall(r":(-?[0-9]+\.[0-9]+)[,}\]]", text):
        assert repr(float(number)) == number, "the shortest spelling"
