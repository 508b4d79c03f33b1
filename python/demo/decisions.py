"""An act on the same file: what accounts decide for themselves, and how they learn why."""

from __future__ import annotations

import base64
import json
from typing import Optional

import rosterkit
from acts import account, opened
from stage import Person, expect, says, seen

#: One pixel, as PNG.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

RULES = json.dumps({
    "rules": [
        {
            "name": "busy writing",
            "priority": 5,
            "conditions": [{"Presence": {"is": "busy"}}],
            "actions": [{"SendIM": {"to": account("judy"), "text": "Writing. Back at six."}}, "Store"],
        }
    ]
})


def decisions(file: str) -> None:
    """A receipt, an avatar, a rule, a stranger in quarantine, and explanations."""
    with opened(file) as engine:
        dave, judy = Person(engine, account("dave"), "phone"), Person(engine, account("judy"))
        for person in (dave, judy):
            person.session.set_presence("online")
        dave.sees(judy.address, "online")
        receipts(dave, judy)
        avatar(dave, judy)
        rule(dave, judy)
        stranger(engine, judy)


def receipts(dave: Person, judy: Person) -> None:
    sent = dave.session.send(judy.address, "Did you see this?")
    judy.message()
    dave.hears("a receipt", lambda e: e if isinstance(e, rosterkit.MessagesDelivered) else None)
    judy.session.mark_read(dave.address, sent.position)

    def displayed(event: rosterkit.Event) -> Optional[bool]:
        return True if isinstance(event, rosterkit.MessagesDisplayed) and event.upto == sent.position else None

    dave.hears("that it was read", displayed)
    seen("receipt")


def avatar(dave: Person, judy: Person) -> None:
    picture = base64.b64encode(PIXEL).decode()
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Judy\r\nPHOTO;ENCODING=b;TYPE=PNG:{picture}\r\nEND:VCARD\r\n"
    judy.session.write_file("profile.vcf", card.encode())

    def shown(event: rosterkit.Event) -> Optional[str]:
        if isinstance(event, rosterkit.PresenceChanged) and event.subject == judy.address:
            return event.presence.avatar
        return None

    found = dave.hears("judy's avatar", shown, aloud=False)
    says(dave.name, f"sees judy's avatar {found[:8]}…, and reads it out of her vCard")
    expect(picture in dave.session.read_file("profile.vcf", judy.address).decode(), "the image is the one she wrote")
    seen("avatar changed")


def rule(dave: Person, judy: Person) -> None:
    dave.session.set_rules(RULES)
    dave.session.set_presence("busy", note="writing")
    judy.session.send(dave.address, "Lunch?")
    expect(judy.message("the rule's answer").text == "Writing. Back at six.", "dave's rule answers for him")
    seen("rule")


def stranger(engine: rosterkit.Engine, judy: Person) -> None:
    judy.session.set_preferences(rosterkit.PreferenceOverrides(accepted_senders=rosterkit.AcceptedSenders.QUARANTINE))
    sent = engine.send(account("mallory"), judy.address, "Buy this!")
    wanted = engine.send(account("heidi"), judy.address, "We met at the fair.")
    for because in (account("mallory"), account("dave")):
        why = json.loads(judy.session.explain_admission(because))
        says("explanation", f"{because}: {why['verdict']}, {why['facts'][-1]}")
    expect(sent.outcome == "Stored", "a stranger is not told that it waits")
    held = [message.text for message in judy.session.quarantined().messages]
    expect(held == ["Buy this!", "We met at the fair."], "both wait in quarantine")
    seen("stranger in quarantine")
    judy.session.refuse_sender(account("mallory"), block=True)
    judy.session.admit_sender(account("heidi"))
    expect(judy.message("who was admitted").id == wanted.message_id, "what waited comes with its id")
    why = json.loads(judy.session.explain_delivery(sent.position))
    says("explanation", f"« Buy this! » was answered {why['answer']}, and is {why['received']['place']}")
    expect(why["received"]["place"] == "gone", "what was refused waits no more")
    seen("explanation")
