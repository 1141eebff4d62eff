"""GET output: positions that never move, long-polls that wake, older runs, 417 for what is not there, bounded files."""
import pathlib
import threading

import pytest
from harness.waiting import eventually


def run_to_end(admin, command, **fields):
    run = admin.run(command=command, shell=True, **fields).json
    admin.wait_exit(run)
    return run


def test_positions_are_byte_offsets_that_go_on(admin):
    run = run_to_end(admin, "printf 'abc\\ndef'")
    whole = admin.output(run["name"])
    assert (whole.status, whole.body) == (200, b"abc\ndef")
    assert whole.headers["X-Output-Position"] == "7" and whole.headers["X-Exit-Code"] == "0"
    rest = admin.output(run["name"], 4)
    assert rest.body == b"def" and rest.headers["X-Output-Position"] == "7"
    end = admin.output(run["name"], 7)
    assert (end.status, end.body) == (200, b"") and end.headers["X-Output-Position"] == "7"
    admin.delete(run["name"])


def test_no_output_has_no_position(admin):
    run = run_to_end(admin, "true")
    answer = admin.output(run["name"])
    assert answer.status == 200 and answer.body == b"" and "X-Output-Position" not in answer.headers
    assert answer.headers["X-Exit-Code"] == "0"
    admin.delete(run["name"])


def test_what_is_not_there_is_417_and_an_unknown_app_404(admin):
    run = run_to_end(admin, "echo hi")
    for query in ({"position": 4}, {"process_uuid": "0" * 32}, {"stdout_index": 9}):
        answer = admin.output(run["name"], **query)
        assert (answer.status, answer.body) == (417, b""), query
    assert admin.output("no-such-app").status == 404
    assert admin.output(run["name"], process_uuid="").status == 200, "an empty parameter is an absent one"
    admin.delete(run["name"])


def test_maxsize_cuts_and_the_next_read_goes_on(admin):
    run = run_to_end(admin, "seq -w 1 2000")  # 10,000 bytes
    first = admin.output(run["name"], stdout_maxsize=2048)
    assert len(first.body) == 2048 and first.headers["X-Output-Position"] == "2048"
    assert "X-Exit-Code" not in first.headers or int(first.headers["X-Output-Position"]) == 2048
    second = admin.output(run["name"], 2048, stdout_maxsize=100)  # below 1024: the default
    assert len(second.body) == 10000 - 2048
    assert first.body + second.body == "".join(f"{n:04}\n" for n in range(1, 2001)).encode()
    admin.delete(run["name"])


def test_a_long_poll_wakes_on_output_and_on_exit(admin, daemon, tmp_path):
    gate = tmp_path / "gate"
    run = admin.run(command=f"echo ready; until [ -e {gate} ]; do sleep 0.05; done; echo woken; "
                            f"until [ -e {gate}2 ]; do sleep 0.05; done; exit 4", shell=True).json
    eventually(lambda: admin.output(run["name"]).body == b"ready\n", "it is ready")
    answers = []

    def poll(position):
        client = daemon.client(login=False)
        client.token = admin.token
        answers.append(client.output(run["name"], position, process_uuid=run["process_uuid"], timeout=50))
        client.close()

    waiting = threading.Thread(target=poll, args=(6,))
    waiting.start()
    gate.touch()
    waiting.join(timeout=45)
    assert not waiting.is_alive() and answers[0].body == b"woken\n", answers
    assert "X-Exit-Code" not in answers[0].headers
    waiting = threading.Thread(target=poll, args=(12,))
    waiting.start()
    pathlib.Path(f"{gate}2").touch()
    waiting.join(timeout=45)
    assert not waiting.is_alive() and answers[1].body == b"" and answers[1].headers["X-Exit-Code"] == "4", answers
    admin.delete(run["name"])


def test_a_long_poll_of_nothing_ends_with_its_time(admin, name, cleaned):
    cleaned.append(name)
    admin.add(name, "sleep 1000")
    eventually(lambda: admin.app(name).get("pid"), "it runs")
    answer = admin.output(name, timeout=1)
    assert answer.status == 200 and answer.body == b"" and "X-Exit-Code" not in answer.headers
    assert admin.output(name, timeout=30, process_uuid="f" * 32).status == 417, "another run is told at once"


def test_bytes_that_are_no_utf8_pass_as_they_are(admin):
    run = run_to_end(admin, r"printf '\377\376\000ok\302'")
    assert admin.output(run["name"]).body == b"\xff\xfe\x00ok\xc2"
    admin.delete(run["name"])


def test_both_streams_are_merged_in_order(admin):
    script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done"
    assert admin.syncrun(command=script, shell=True).text == "out1\nerr1\nout2\nerr2\nout3\nerr3\n"


def test_older_runs_are_kept_as_many_as_asked_for(admin, name, cleaned, tmp_path):
    cleaned.append(name)
    counter = tmp_path / "counter"
    command = f"echo x >> {counter}; echo run $(wc -l < {counter})"
    admin.add(name, command, shell=True, stdout_cache_num=2)
    for number in range(1, 5):
        if number > 1:
            admin.disable(name)
            admin.enable(name)
        eventually(lambda: admin.app(name)["starts"] == number and "pid" not in admin.app(name), f"run {number} has ended")
        eventually(lambda: admin.output(name).body == f"run {number}\n".encode(), f"run {number} is the current one")
    assert admin.output(name, stdout_index=1).body == b"run 3\n"
    assert admin.output(name, stdout_index=2).body == b"run 2\n"
    eventually(lambda: admin.output(name, stdout_index=3).status == 417, "the oldest is forgotten")


def test_a_file_over_its_bound_gives_back_its_head_and_positions_stay(new_daemon, name):
    """64 KiB are kept of a run that writes 2 MB; every byte that is served is the byte of that position."""
    daemon = new_daemon(BaseConfig_OutputLimitBytes=65536).start()
    admin = daemon.client()
    count = 250_000
    expected = "".join(f"{number:07}\n" for number in range(1, count + 1)).encode()
    # The run goes on after its last line: the bound must hold while it lives.
    admin.add(name, f"seq -w 1 {count} | sed 's/^/{'0' * (7 - len(str(count)))}/'; echo; sleep 1000", shell=True)
    total = len(expected) + 1

    def bounded():
        answer = admin.output(name)
        end = int(answer.headers.get("X-Output-Position", 0))
        start = end - len(answer.body)
        assert answer.body == (expected + b"\n")[start:end], "the bytes are those of their positions"
        return start > 0 and end == total and len(answer.body) < 1_000_000
    eventually(bounded, "the head was given back")
    at_end = admin.output(name, total)
    assert at_end.status == 200 and at_end.headers["X-Output-Position"] == str(total)
    files = [file for file in (daemon.home / "work/stdout").iterdir() if file.name.startswith(name)]
    assert len(files) == 1
    assert files[0].stat().st_size == total and files[0].stat().st_blocks * 512 < 1_000_000


def test_no_answer_ends_inside_a_character(admin, name, cleaned):
    cleaned.append(name)
    whole = ("aé€🐈" * 700) + "x"
    program = f"import sys, time; sys.stdout.buffer.write(('aé€🐈' * 700 + 'x').encode()); sys.stdout.flush(); time.sleep(1000)"
    admin.add(name, f'python3 -c "{program}"')
    eventually(lambda: admin.output(name, len(whole.encode()) - 1).body == b"x", "everything is written")
    for form in ({}, {"json": 1}, {"html": 1}):
        text, position = "", 0
        while position < len(whole.encode()):
            answer = admin.output(name, position, stdout_maxsize=1024, **form)
            piece = answer.body.decode()  # strictly
            text += piece if not form else answer.json[0]["stdout"] if "json" in form else piece.removeprefix("<pre>").removesuffix("</pre>")
            assert int(answer.headers["X-Output-Position"]) > position
            position = int(answer.headers["X-Output-Position"])
        assert text == whole


def test_a_character_that_has_only_begun_is_waited_for(admin, name, cleaned, tmp_path):
    cleaned.append(name)
    steps = [tmp_path / "rest", tmp_path / "end"]
    admin.add(name, fr"printf 'a\342\202'; until [ -e {steps[0]} ]; do sleep 0.02; done; printf '\254\303'; until [ -e {steps[1]} ]; do sleep 0.02; done",
              shell=True)
    answer = eventually(lambda: (answer := admin.output(name)).body and answer, "it has written")
    assert (answer.body, answer.headers["X-Output-Position"]) == (b"a", "1")
    answer = admin.output(name, 1)
    assert (answer.body, answer.headers["X-Output-Position"]) == (b"", "1"), "nobody is given a part of it"
    waiting = []
    reader = threading.Thread(target=lambda: waiting.append(admin.output(name, 1, timeout=60)))
    reader.start()
    reader.join(0.5)
    assert reader.is_alive(), "a part of a character ends no wait"
    steps[0].touch()
    reader.join(60)
    assert (waiting[0].body.decode(), waiting[0].headers["X-Output-Position"]) == ("€", "4")
    steps[1].touch()
    answer = admin.output(name, 4, timeout=60)
    assert (answer.body, answer.headers["X-Exit-Code"]) == (b"\xc3", "0"), "the end of a run is not held back"
    assert admin.whole_output(name) == "a€".encode() + b"\xc3"


def test_output_that_is_no_text_is_passed_as_it_is(admin, name, cleaned):
    cleaned.append(name)
    program = "import sys, time; sys.stdout.buffer.write(bytes(range(256)) * 40); sys.stdout.flush(); time.sleep(1000)"
    admin.add(name, f'python3 -c "{program}"')
    wanted = bytes(range(256)) * 40
    eventually(lambda: len(admin.whole_output(name)) == len(wanted), "everything is written")
    data, position = b"", 0
    while position < len(wanted):
        answer = admin.output(name, position, stdout_maxsize=1500)
        data, position = data + answer.body, int(answer.headers["X-Output-Position"])
    assert data == wanted
