"""The sharing of one connection, with a peer that does what a real daemon never would."""

import json
import queue
import threading

import msgpack
import pytest

from appmesh import AppMeshDisconnectedError, RequestMessage, ResponseMessage
from appmesh._demultiplexer import MAX_UNKNOWN, MAX_UNKNOWN_EVENTS, Demultiplexer


class Peer:
    """A transport whose other end is the test. answer(message) is called within the sending: as early as can be."""

    def __init__(self, answer=None):
        self.receive_timeout = None
        self.incoming = queue.SimpleQueue()
        self.sent = queue.SimpleQueue()
        self.answer = answer

    def send_message(self, data):
        message = msgpack.unpackb(data)
        if self.answer:
            self.answer(self, message)
        self.sent.put(message)

    def receive_message(self):
        found = self.incoming.get()
        if found is None:
            raise AppMeshDisconnectedError("the peer is gone")
        return found

    def abort(self):
        self.incoming.put(None)

    close = abort

    def reply(self, message, body=b""):
        self.incoming.put(msgpack.packb({"uuid": message["uuid"], "http_status": 200, "body": body}))

    def event(self, subscription, sequence, kind="STATUS", name="app"):
        body = {"event_type": kind, "app_name": name, "sequence": sequence, "subscription_id": subscription}
        envelope = {"uuid": "x", "request_uri": "/appmesh/event", "http_status": 200}
        self.incoming.put(msgpack.packb({**envelope, "body": json.dumps(body).encode()}))


def ask(shared, text="/"):
    return shared.request(RequestMessage(shared.next_id(), text, "GET"))


@pytest.mark.parametrize("events", [False, True])
def test_an_answer_that_comes_before_the_sending_has_returned(events):
    peer = Peer(lambda peer, message: peer.reply(message, message["request_uri"].encode()))
    shared = Demultiplexer(peer)
    if events:
        shared.expect_events()
    for number in range(200):
        assert ask(shared, f"/{number}").body == f"/{number}".encode()
    shared.close()


def test_answers_out_of_order_to_many_threads():
    peer = Peer()
    shared = Demultiplexer(peer)
    got = {}

    def work(number):
        got[number] = ask(shared, f"/{number}").body

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(20)]
    for thread in threads:
        thread.start()
    for message in reversed([peer.sent.get(timeout=10) for _ in threads]):
        peer.reply(message, message["request_uri"].encode())
    for thread in threads:
        thread.join(10)
    assert got == {number: f"/{number}".encode() for number in range(20)}
    shared.close()


@pytest.mark.parametrize("events", [False, True])
def test_the_end_of_the_connection_ends_every_wait_and_tells_every_callback(events):
    peer = Peer()
    shared = Demultiplexer(peer)
    told = queue.SimpleQueue()
    if events:
        shared.expect_events()
    shared.attach("s1", "app", told.put)
    errors = queue.SimpleQueue()

    def wait():
        try:
            ask(shared)
        except AppMeshDisconnectedError as error:
            errors.put(error)

    for _ in range(5):
        threading.Thread(target=wait, daemon=True).start()
    for _ in range(5):
        peer.sent.get(timeout=10)
    peer.incoming.put(None)
    for _ in range(5):
        assert "the peer is gone" in str(errors.get(timeout=10))
    assert told.get(timeout=10).event_type == "__disconnected__"
    assert shared.ended
    with pytest.raises(AppMeshDisconnectedError):
        ask(shared)
    late = queue.SimpleQueue()
    shared.attach("s2", "app", late.put)
    assert late.get(timeout=10).event_type == "__disconnected__"


def test_what_is_no_message_ends_the_connection():
    peer = Peer(lambda peer, message: peer.incoming.put(b"\xc1\xc1"))
    with pytest.raises(AppMeshDisconnectedError):
        ask(Demultiplexer(peer))


def test_events_for_nobody_are_kept_within_bounds_and_come_late_in_order():
    peer = Peer(lambda peer, message: peer.reply(message))
    shared = Demultiplexer(peer)
    shared.expect_events()
    for number in range(MAX_UNKNOWN_EVENTS + 50):
        peer.event("busy", number)
    ask(shared)  # everything before it has been read
    seen = queue.SimpleQueue()
    shared.attach("busy", "app", seen.put)
    assert [seen.get(timeout=10).sequence for _ in range(MAX_UNKNOWN_EVENTS)] == list(range(50, MAX_UNKNOWN_EVENTS + 50))
    for number in range(MAX_UNKNOWN + 1):
        peer.event(f"other-{number}", number)
    ask(shared)
    assert len(shared._unknown) == MAX_UNKNOWN
    assert "other-0" not in shared._unknown
    shared.close()


def test_a_callback_that_hangs_holds_up_nobody_else():
    peer = Peer(lambda peer, message: peer.reply(message))
    shared = Demultiplexer(peer)
    shared.expect_events()
    release, entered, seen = threading.Event(), threading.Event(), queue.SimpleQueue()
    shared.attach("slow", "app", lambda event: (entered.set(), release.wait(30)))
    shared.attach("quick", "app", seen.put)
    peer.event("slow", 1)
    assert entered.wait(10)
    for number in range(10):
        peer.event("quick", number)
    assert [seen.get(timeout=10).sequence for _ in range(10)] == list(range(10))
    assert ask(shared).http_status == 200
    release.set()
    shared.close()


def test_a_callback_that_fails_gets_the_next_event_all_the_same(caplog):
    peer = Peer()
    shared = Demultiplexer(peer)
    shared.expect_events()
    seen = queue.SimpleQueue()

    def fail(event):
        seen.put(event.sequence)
        raise RuntimeError("on purpose")

    shared.attach("s", "app", fail)
    peer.event("s", 1)
    peer.event("s", 2)
    assert [seen.get(timeout=10), seen.get(timeout=10)] == [1, 2]
    shared.close()


def test_after_its_removal_an_app_sends_no_more():
    peer = Peer(lambda peer, message: peer.reply(message))
    shared = Demultiplexer(peer)
    shared.expect_events()
    seen = queue.SimpleQueue()
    shared.attach("s", "app", seen.put)
    peer.event("s", 1, "REMOVED")
    peer.event("s", 2)
    ask(shared)
    assert seen.get(timeout=10).event_type == "REMOVED"
    shared.close()
    assert seen.empty()


def test_an_answer_to_nobody_is_dropped():
    peer = Peer(lambda peer, message: (peer.reply({"uuid": "stale"}), peer.reply(message, b"mine")))
    shared = Demultiplexer(peer)
    assert ask(shared).body == b"mine"
    assert isinstance(ask(shared), ResponseMessage)
    shared.close()
