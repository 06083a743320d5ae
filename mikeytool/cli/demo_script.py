"""The script of `demo`: a call and a conference, as commands that a user would run."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One command, with a title for people.

    `arrow` names the sender and the receiver of the message that the command writes, and its
    file. `refused` is set if the command must fail with exit code 1.
    """

    title: str
    command: str
    arrow: tuple[str, str, str] | None = None
    refused: bool = False


class Scene(NamedTuple):
    """A part of the script, and the parties of its messages."""

    title: str
    parties: tuple[str, ...]
    steps: tuple[Step, ...]


_AS_ALICE = "--as sip:alice@example.com --psk file:alice.psk --kms-id sip:kms.example.com"
_AS_BOB = "--as sip:bob@example.com --psk file:bob.psk --kms-id sip:kms.example.com"

CALL = Scene("Alice calls Bob", ("Alice", "KMS", "Bob"), (
    Step("A KMS, and two users with a key each",
         "mikeytool kms init kms.db --id sip:kms.example.com"),
    Step("", "mikeytool kms user add kms.db sip:alice@example.com -o alice.psk"),
    Step("", "mikeytool kms user add kms.db sip:bob@example.com -o bob.psk"),
    Step("Alice requests a ticket for Bob",
         f"mikeytool ticket request {_AS_ALICE} --to sip:bob@example.com"
         " --pending alice.pending -o request-init", ("Alice", "KMS", "request-init")),
    Step("", "mikeytool kms handle kms.db request-init -o request-resp",
         ("KMS", "Alice", "request-resp")),
    Step("", "mikeytool ticket accept request-resp --pending alice.pending --save alice.ticket"),
    Step("She sends it to Bob, who lets the KMS resolve it",
         "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
         " --cs dir=send,ssrc=0x11111111 --cs dir=recv --session alice.session -o transfer-init",
         ("Alice", "Bob", "transfer-init")),
    Step("", f"mikeytool ticket resolve transfer-init {_AS_BOB} --pending bob.pending"
         " -o resolve-init", ("Bob", "KMS", "resolve-init")),
    Step("", "mikeytool kms handle kms.db resolve-init -o resolve-resp",
         ("KMS", "Bob", "resolve-resp")),
    Step("", "mikeytool ticket accept resolve-resp --pending bob.pending --save bob.ticket"),
    Step("Bob answers; both have the same media keys",
         "mikeytool transfer respond transfer-init --ticket bob.ticket --as sip:bob@example.com"
         " --cs id=2,dir=send,ssrc=0x22222222 --session bob.session -o transfer-resp",
         ("Bob", "Alice", "transfer-resp")),
    Step("", "mikeytool transfer finish transfer-resp --session alice.session"),
    Step("Media from Alice to Bob, and back",
         "echo 80000001000000a01111111168656c6c6f20626f62 > alice.rtp"),
    Step("", "mikeytool srtp encrypt alice.rtp --session alice.session -o alice.srtp"),
    Step("", "mikeytool srtp decrypt alice.srtp --session bob.session | diff - alice.rtp"),
    Step("", "echo 80000001000000a02222222268656c6c6f20616c696365 > bob.rtp"),
    Step("", "mikeytool srtp encrypt bob.rtp --session bob.session -o bob.srtp"),
    Step("", "mikeytool srtp decrypt bob.srtp --session alice.session | diff - bob.rtp"),
    Step("What must fail: a replayed TRANSFER_INIT",
         "mikeytool transfer respond transfer-init --ticket bob.ticket --as sip:bob@example.com"
         " --session replayed.session > replay-error", refused=True),
    Step("What must fail: an eavesdropper who wants the ticket resolved",
         "mikeytool kms user add kms.db sip:eve@example.com -o eve.psk"),
    Step("", "mikeytool ticket resolve transfer-init --as sip:eve@example.com"
         " --psk file:eve.psk --kms kms.db --save eve.ticket", refused=True),
))  # fmt: skip

_FACTORY, _ROOM = "sip:factory@conf.example.com", "sip:room@conf.example.com"


def _by(name: str, command: str) -> str:
    """A command of a user with a client state of their own."""
    return f"MIKEYTOOL_STATE={name}.state {command}"


def _as(name: str) -> str:
    return f"--as sip:{name}@example.com --psk file:{name}.psk --kms kms.db"


def _calls_in(name: str, ticket: str) -> tuple[Step, ...]:
    return (
        Step("", _by(name, f"mikeytool transfer init --ticket {ticket} --to {_ROOM}"
                     " --cs dir=send,ssrc=0x11111111 --cs dir=recv"
                     f" --session {name}-room.session -o {name}-calls"),
             (name.capitalize(), "System", f"{name}-calls")),
        Step("", f"mikeytool conference call-in conference.db {name}-calls -o to-{name}",
             ("System", name.capitalize(), f"to-{name}")),
        Step("", _by(name, f"mikeytool transfer finish to-{name} --session {name}-room.session")),
    )  # fmt: skip


def _updated(name: str) -> tuple[Step, ...]:
    mine = f'grep {name} updates | sed \'s/.*"message": "//; s/".*//\' > update-{name}'
    return (
        Step("", mine, ("System", name.capitalize(), f"update-{name}")),
        Step("", _by(name, f"mikeytool transfer respond update-{name}"
                     f" --session {name}-room.session -o updated-{name}"),
             (name.capitalize(), "System", f"updated-{name}")),
        Step("", f"mikeytool conference answer conference.db updated-{name}"),
    )  # fmt: skip


CONFERENCE = Scene("A conference", ("Alice", "System", "Bob", "Carol"), (
    Step("A conference system, a user of the KMS who may act as every focus",
         f"mikeytool kms user add kms.db {_FACTORY} --act-as 'sip:*@conf.example.com'"
         " -o factory.psk"),
    Step("", "mikeytool kms user add kms.db sip:carol@example.com -o carol.psk"),
    Step("", f"mikeytool conference init conference.db --as {_FACTORY} --psk file:factory.psk"
         " --kms kms.db"),
    Step("Alice creates a conference for Bob and Carol",
         _by("alice", f"mikeytool ticket request {_as('alice')} --to {_FACTORY}"
             " --to sip:bob@example.com --to sip:carol@example.com --flags=+M"
             " --save creation.ticket")),
    Step("", _by("alice", f"mikeytool transfer init --ticket creation.ticket --to {_FACTORY}"
                 " --session creation.session -o creation"), ("Alice", "System", "creation")),
    Step("", f"mikeytool conference create conference.db creation --focus {_ROOM} -o created",
         ("System", "Alice", "created")),
    Step("", _by("alice", "mikeytool transfer finish created --session creation.session")),
    Step("She calls in, with the same ticket", "true"),
    *_calls_in("alice", "creation.ticket"),
    Step("Bob calls in with the SSRC that Alice has, and gets another",
         _by("bob", f"mikeytool ticket request {_as('bob')} --to {_ROOM} --flags=+M"
             " --key-type none --save room.ticket")),
    *_calls_in("bob", "room.ticket"),
    Step("Carol is called out",
         "mikeytool conference call-out conference.db sip:carol@example.com -o to-carol",
         ("System", "Carol", "to-carol")),
    Step("", _by("carol", f"mikeytool transfer respond to-carol {_as('carol')}"
                 " --session carol-room.session -o from-carol"), ("Carol", "System", "from-carol")),
    Step("", "mikeytool conference answer conference.db from-carol"),
    Step("Everyone hears Alice",
         "echo 80000002000000a01111111168656c6c6f20616c6c > to-all.rtp"),
    Step("", _by("alice", "mikeytool srtp encrypt to-all.rtp --session alice-room.session"
                 " -o to-all.srtp")),
    Step("", "mikeytool srtp decrypt to-all.srtp --session bob-room.session | diff - to-all.rtp"),
    Step("", "mikeytool srtp decrypt to-all.srtp --session carol-room.session"
         " | diff - to-all.rtp"),
    Step("What must fail: Eve, who was not invited, calls in",
         _by("eve", f"mikeytool ticket request {_as('eve')} --to {_ROOM} --flags=+M"
             " --save eve.ticket")),
    Step("", _by("eve", f"mikeytool transfer init --ticket eve.ticket --to {_ROOM}"
                 " --session eve.session -o eve-calls")),
    Step("", "mikeytool conference call-in conference.db eve-calls -o told-eve", refused=True),
    Step("Bob leaves, and the group key changes for those who stay",
         "mikeytool conference remove conference.db sip:bob@example.com > updates"),
    *_updated("alice"),
    *_updated("carol"),
    Step("What must fail: Bob listens on",
         "echo 80000003000000a01111111168656c6c6f20616c6c > later.rtp"),
    Step("", _by("alice", "mikeytool srtp encrypt later.rtp --session alice-room.session"
                 " -o later.srtp")),
    Step("", "mikeytool srtp decrypt later.srtp --session carol-room.session | diff - later.rtp"),
    Step("", "mikeytool srtp decrypt later.srtp --session bob-room.session", refused=True),
))  # fmt: skip
