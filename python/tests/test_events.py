"""Events, pushed and pulled."""

from __future__ import annotations

import threading

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL, eventually, texts
from rosterkit import _convert, commands
from rosterkit._listening import Adapter
from rosterkit._native import native


def test_the_example(engine: rosterkit.Engine) -> None:
    heard: list[rosterkit.Event] = []
    alice = engine.open_session(ALICE, device="phone", listener=heard.extend)
    alice.set_presence("online", note="on the train")
    alice.add_buddy(BOB, name="Bob", groups=["Friends"])
    [buddy] = alice.roster().buddies
    assert (buddy.name, buddy.groups, buddy.status) == ("Bob", ("Friends",), rosterkit.BuddyStatus.REQUESTED)
    bob = engine.open_session(BOB)
    [asked] = [e for e in bob.next_events(timeout=2) if isinstance(e, rosterkit.BuddyRequested)]
    assert asked.sender == ALICE
    bob.confirm_buddy(ALICE)
    bob.set_presence(rosterkit.PresenceState.ON_PHONE, note="a call")
    shown = rosterkit.Presence(rosterkit.PresenceState.ON_PHONE, "a call")
    eventually(lambda: rosterkit.PresenceChanged(0, BOB, shown) in heard)
    assert alice.presence(BOB) == shown
    receipt = alice.send(BOB, "hello")
    assert receipt.outcome is rosterkit.Outcome.DELIVERED
    assert bob.send(ALICE, rosterkit.Data("image/png", b"\x00\x01")).outcome == "Delivered"
    eventually(lambda: texts(heard) == [rosterkit.Data("image/png", b"\x00\x01")])
    page = alice.history(BOB)
    assert [m.id for m in page.messages][0] == receipt.message_id and page.complete
    assert alice.devices() == ["phone"]


def test_pull_and_acknowledge(world: rosterkit.Engine) -> None:
    bob = world.open_session(BOB)
    world.send(ALICE, BOB, "one")
    world.send(ALICE, BOB, "two", client_id="2")
    assert world.send(ALICE, BOB, "two", client_id="2").outcome is rosterkit.Outcome.STORED
    first = bob.next_events(1, timeout=0)
    assert texts(first) == ["one"]
    bob.ack(first[0].seq)
    assert texts(bob.next_events(timeout=0)) == ["two"]
    bob.close()
    # Only what was acknowledged does not come again.
    assert texts(world.open_session(BOB).next_events(timeout=0)) == ["two"]


def test_asking_for_the_next_acknowledges(world: rosterkit.Engine) -> None:
    for text in ("one", "two", "three"):
        world.send(ALICE, BOB, text)
    bob = world.open_session(BOB)
    for event in bob.events(timeout=0):
        if texts([event]) == ["two"]:
            break
    # The loop was left in the middle of it: it is the first that the next one gets.
    assert texts(list(bob.events(timeout=0))) == ["two", "three"]
    bob.close()
    assert texts(world.open_session(BOB).next_events(timeout=0)) == []


def test_what_was_not_finished_comes_to_the_next_session(world: rosterkit.Engine) -> None:
    world.send(ALICE, BOB, "one")
    world.send(ALICE, BOB, "two")
    bob = world.open_session(BOB)
    stream = bob.events(timeout=0)
    first = next(stream)
    assert texts([first, next(stream)]) == ["one", "two"]
    bob.close()
    [again] = world.open_session(BOB).next_events(timeout=0)
    assert texts([again]) == ["two"]


def test_one_reader_at_a_time(world: rosterkit.Engine) -> None:
    for text in ("one", "two"):
        world.send(ALICE, BOB, text)
    bob = world.open_session(BOB)
    former = bob.events(timeout=0)
    assert texts([next(former)]) == ["one"]
    assert texts([next(bob.events(timeout=0))]) == ["one"]
    with pytest.raises(rosterkit.Misuse, match="somebody else"):
        next(former)


def test_the_stream_ends_with_the_session(engine: rosterkit.Engine) -> None:
    bob = engine.open_session(BOB)
    threading.Timer(0.05, bob.close).start()
    *_, last = bob.events()
    assert last == rosterkit.SessionEnded(0, "requested")
    with pytest.raises(rosterkit.Closed):
        bob.next_events(timeout=0)


def test_a_message_fails_three_times(world: rosterkit.Engine) -> None:
    world.send(ALICE, BOB, "hello")
    bob = world.open_session(BOB)
    ids = []
    for _ in range(3):
        [event] = bob.next_events(timeout=0)
        assert isinstance(event, rosterkit.MessageReceived)
        ids.append(event.message.id)
        bob.fail()
    assert len(set(ids)) == 1
    assert bob.next_events(timeout=0) == [rosterkit.MessageParked(0, ids[0])]


def test_an_unknown_kind_of_event_is_no_failure() -> None:
    """As a newer library would send it: over the wire form, and through the listener."""
    converter = native._UniffiFfiConverterTypeEventBatch
    unknown = native.EventBody.OTHER(kind="weather", json='{"sky": "clear"}')
    batch = native.EventBatch(session_id=1, events=[native.Event(seq=7, body=unknown)])
    heard: list[rosterkit.Event] = []
    Adapter(heard.extend).on_events(converter.lift(converter.lower(batch)))
    assert heard == [rosterkit.OtherEvent(0, "weather", '{"sky": "clear"}')]
    [event] = heard
    assert isinstance(event, rosterkit.OtherEvent) and event.data() == {"sky": "clear"} and event.seq == 7


def test_a_case_that_the_wrapper_does_not_know_is_no_failure() -> None:
    """As generated code that is newer than the wrapper would give it."""

    class TOMORROWS_CASE:
        pass

    class Newer:
        seq = 3
        body = TOMORROWS_CASE()

    assert _convert.event(Newer()) == rosterkit.OtherEvent(0, "TOMORROWS_CASE", "{}")


def test_every_case_has_a_class() -> None:
    """None of today's kinds comes as another."""
    cases = {
        name for name, case in vars(native.EventBody).items() if isinstance(case, type) and name.isupper()
    }
    assert cases == set(_convert._EVENTS)


def test_tickets(world: rosterkit.Engine) -> None:
    commands = rosterkit.commands
    tickets = world.submit(
        [
            commands.create_account("dave@example.org"),
            commands.send("dave@example.org", BOB, "hello"),
            commands.send(ALICE, "nobody@example.org", "hello"),
            commands.read_roster(ALICE),
        ]
    )
    answers = {a.ticket: a for a in world.next_answers()}
    done, sent, refused, roster = (answers[ticket] for ticket in tickets)
    assert done.value() is None and sent.value().outcome is rosterkit.Outcome.STORED
    assert roster.value().buddies == ()
    with pytest.raises(rosterkit.NotFound):
        refused.value()
    # A prefix is taken; what stands first must be right.
    broken = commands.send("no address@", BOB, "hello")
    assert len(world.submit([commands.read_roster(ALICE), broken])) == 1
    with pytest.raises(rosterkit.InvalidArgument):
        world.submit([broken])


def test_a_server_reads_its_sessions_in_one_place(world: rosterkit.Engine) -> None:
    alice, bob = (world.open_session(who, read_by_engine=True) for who in (ALICE, BOB))
    world.send(CAROL, ALICE, "to alice")
    world.send(CAROL, BOB, "to bob")
    batches = world.next_batches(timeout=0)
    assert {b.session_id: texts(list(b.events)) for b in batches} == {alice.id: ["to alice"], bob.id: ["to bob"]}
    [to_bob] = [b for b in batches if b.session_id == bob.id]
    world.ack(bob.id, to_bob.events[-1].seq)
    alice.close()
    bob.close()
    assert texts(world.open_session(ALICE).next_events(timeout=0)) == ["to alice"]
    assert world.open_session(BOB).next_events(timeout=0) == []


def test_who_reads_through_the_engine_is_told_the_end() -> None:
    for _ in range(50):
        told: list[rosterkit.Event] = []
        engine = rosterkit.Engine.in_memory(["example.org"])
        engine.create_account(ALICE)

        def reads(engine: rosterkit.Engine = engine, told: list[rosterkit.Event] = told) -> None:
            while True:
                try:
                    batches = engine.next_batches()
                except rosterkit.Closed:
                    return
                told.extend(event for batch in batches for event in batch.events)

        reader = threading.Thread(target=reads)
        reader.start()
        session = engine.open_session(ALICE, read_by_engine=True)
        engine.shutdown()
        reader.join()
        assert told == [rosterkit.SessionEnded(0, "shutdown")]
        del session


def test_typing_and_blocking(world: rosterkit.Engine) -> None:
    alice, bob = world.open_session(ALICE), world.open_session(BOB)
    alice.typing(BOB)
    [event] = bob.next_events(timeout=0)
    assert event == rosterkit.TypingChanged(0, ALICE, rosterkit.ChatState.COMPOSING)
    bob.block("example.com")
    bob.block(CAROL)
    bob.block(CAROL, False)
    assert bob.blocked() == ["example.com"]
    bob.set_activity("background")
    with pytest.raises(rosterkit.NotFound, match="is not on the roster"):
        bob.update_buddy(ALICE, name="nobody yet")


def test_leases_and_time(world: rosterkit.Engine) -> None:
    bob = world.open_session(BOB, lease=60)
    world.advance(59)
    bob.touch()
    world.advance(59)
    assert bob.roster().buddies == ()
    world.advance(2)
    assert bob.next_events(timeout=0) == [rosterkit.SessionEnded(0, "lease-expired")]


def test_a_thousand_sends_in_flight_from_one_thread(engine: rosterkit.Engine) -> None:
    sends = [rosterkit.commands.send(ALICE, BOB, f"message {n}") for n in range(1_024)]
    tickets = engine.submit(sends)
    assert len(tickets) == len(sends)
    answers: list[rosterkit.Answered] = []
    while len(answers) < len(tickets):
        answers.extend(engine.next_answers(timeout=5))
    positions = {a.ticket: a.value().position for a in answers}
    assert sorted(tickets, key=positions.__getitem__) == tickets


def test_options_and_preferences(world: rosterkit.Engine) -> None:
    quiet = rosterkit.PreferenceOverrides(accepted_senders=rosterkit.AcceptedSenders.NOBODY)
    world.set_domain("second.example", quiet)
    assert world.domains() == {"example.org": rosterkit.PreferenceOverrides(), "second.example": quiet}
    world.remove_domain("second.example")
    bob = world.open_session(BOB)
    bob.set_preferences(rosterkit.PreferenceOverrides(max_roster_items=3))
    assert bob.preferences().max_roster_items == 3


def test_versions() -> None:
    assert rosterkit.__version__.count(".") == 2
    assert rosterkit.__git_revision__


def test_two_layers_of_presence(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    alice.set_presence("away", layer="automatic")
    assert alice.presence(ALICE).state == "away"
    alice.set_presence("busy")
    alice.set_presence("online", layer=rosterkit.PresenceLayer.AUTOMATIC)
    assert alice.presence(ALICE).state == "busy"
    world.submit([commands.clear_presence(alice)])
    assert [answer.value() for answer in world.next_answers(timeout=5)] == [None]
    assert alice.presence(ALICE).state == "online"
    alice.clear_presence("automatic")
    assert alice.presence(ALICE).state == "offline"
    with pytest.raises(rosterkit.InvalidArgument):
        alice.clear_presence("both")
