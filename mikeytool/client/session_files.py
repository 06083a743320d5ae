"""Session files: a Ticket Transfer that waits for its answer, or the session that resulted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from construct import ConstructError

from mikeytool.client.ticket_files import (
    BROKEN,
    TicketFile,
    identity_json,
    identity_of_json,
    key_json,
    key_of_json,
    parse_ticket_octets,
)
from mikeytool.exchange.freshness import Freshness
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.session import KEY_OVERLAP, CryptoSession, Session
from mikeytool.exchange.ticket import ticket_octets
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.storage.private_files import Json, locked, read_json, write_json
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.generate_builder import build
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.printable import standing
from mikeytool.wire.registry import IdRole, ProtType, TsType
from mikeytool.wire.srtp_policy import SrtpPolicy

R = TypeVar("R", bound=Record)

KIND = "session"
_LONGEST = 255
"""The maximum length in octets of a RAND, and of a key that a policy asks for."""
WAITING = "waiting"
ESTABLISHED = "established"
ENDED = "ended"

ROLES = {IdRole.INITIATOR: "initiator", IdRole.RESPONDER: "responder", None: "observer"}
"""The names of the roles in a session; an observer is someone who recovered it from a capture."""
_ROLE_OF = {name: role for role, name in ROLES.items()}


@dataclass(frozen=True, slots=True)
class SessionFile:
    """The contents of a session file.

    `waiting` is the initiator's TRANSFER_INIT and its ticket. It is kept once `session` is set,
    because a forked call may get more than one answer. `update` is this end's own update that
    waits for its answer. `sent` is the highest packet index of each stream to send, as a list of
    the SRTP and the SRTCP index. `received` is the same of streams that a mixer received, by SPI
    and SSRC; nobody else remembers them.
    """

    session: Session | None = None
    waiting: tuple[bytes, TicketFile] | None = None
    sent: dict[str, list[int]] = field(default_factory=dict)
    update: bytes | None = None
    received: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`waiting`, `established` or `ended`."""
        if self.session is None:
            return WAITING
        return ESTABLISHED if self.session.ended_ns is None else ENDED

    def write(self, path: Path, *, force: bool = False) -> None:
        """Write the session file."""
        write_json(path, KIND, {"state": self.state, **self._json()}, force=force)

    def _json(self) -> Json:
        content: Json = {}
        if self.waiting is not None:
            init, ticket = self.waiting
            content |= {"init": init.hex(), "ticket": ticket.json()}
        if self.session is not None:
            content |= {**session_json(self.session), "sent": self.sent}
            content["update"] = None if self.update is None else self.update.hex()
        if self.received:
            content["received"] = self.received
        return content

    @classmethod
    def read(cls, path: Path) -> SessionFile:
        """Read a session file; raises StateError if it is missing, WireError if it is broken."""
        content = read_json(path, KIND)
        try:
            waiting = None
            if "init" in content:
                ticket = TicketFile.of_json(content["ticket"])
                waiting = (bytes.fromhex(content["init"]), ticket)
            if content["state"] == WAITING and waiting is not None:
                return cls(waiting=waiting)
            sent = {_checked(name): _indices(*pair) for name, pair in content["sent"].items()}
            update = None if content["update"] is None else bytes.fromhex(content["update"])
            received = {
                bytes.fromhex(spi).hex(): {
                    f"{int(ssrc, 16):08x}": _indices(*pair) for ssrc, pair in streams.items()
                }
                for spi, streams in content.get("received", {}).items()
            }
            return cls(session_of_json(content), waiting, sent, update, received)
        except (*BROKEN, ConstructError):
            raise WireError(f"{path}: the session in it is broken; set it up again") from None

    @property
    def randr_i(self) -> bytes:
        """The RANDRi of the exchange, for other exchanges of a group (RFC 6043 9)."""
        if self.session is not None:
            return self.session.randr_i
        assert self.waiting is not None  # noqa: S101 - there is one of the two
        return read_transfer_init(self.waiting[0]).randr_i

    @property
    def established(self) -> Session:
        """Return the session; raises Refused while it waits for its answer, and after its end."""
        if self.session is None:
            raise Refused("the session waits for its TRANSFER_RESP; give it to transfer finish")
        self.session.check_open()
        return self.session


def _checked(name: str) -> str:
    """Return the name of a stream after checking its form: CS ID, SPI, SSRC."""
    cs_id, spi, ssrc = name.split(" ")
    if not int(cs_id) < 256 or len(bytes.fromhex(spi)) > _LONGEST or len(bytes.fromhex(ssrc)) != 4:
        raise ValueError(name)
    return name


def _indices(rtp: int, rtcp: int) -> list[int]:
    if int(rtp) not in range(-1, 1 << 48) or int(rtcp) not in range(-1, 1 << 31):
        raise ValueError("no packet indices")
    return [int(rtp), int(rtcp)]


def session_json(session: Session) -> Json:
    """Return a session in the form that files hold, including its keys."""
    policy = session.policy
    return {
        "csb_id": session.csb_id,
        "role": ROLES[session.role],
        "local": identity_json(session.local),
        "remote": identity_json(session.remote),
        "ticket_policy": ticket_octets(policy.ticket(b"")).hex(),
        "randr_i": session.randr_i.hex(),
        "randr_r": session.randr_r.hex(),
        "mpk": session.mpk.hex(),
        **_fresh_json(session.fresh),
        "keys": [key_json(key) for key in session.keys],
        "overlap": session.overlap,
        "keys_since": {spi.hex(): since for spi, since in session.keys_since.items()},
        "policies": [_sp_hex(policy) for policy in session.policies],
        "randr_kms": session.randr_kms.hex(),
        "ticket_digest": session.ticket_digest.hex(),
        "ended_ns": session.ended_ns,
        "crypto_sessions": [
            {
                "entry": build(crypto_session.entry).hex(),
                "policy": _sp_hex(crypto_session.policy),
                "by_initiator": crypto_session.by_initiator,
                "previous": [spi.hex() for spi in crypto_session.previous],
                "replaced_ns": crypto_session.replaced_ns,
            }
            for crypto_session in session.crypto_sessions
        ],
    }


def _fresh_json(fresh: Freshness) -> Json:
    return {
        "ts_type": fresh.ts_type,
        "last_t": fresh.last_t,
        "peer_counter": fresh.peer_counter,
        "heard": fresh.heard,
        "sent_updates": [one.hex() for one in fresh.sent],
        "floor": fresh.floor,
    }


def _fresh_of_json(content: Json) -> Freshness:
    """Reverse `_fresh_json`.

    A file of an earlier version has only the largest T, and all up to that are refused.
    """
    last_t = int(content["last_t"])
    fresh = Freshness(
        ts_type=TsType(content.get("ts_type", TsType.NTP_UTC)).value,
        last_t=last_t,
        peer_counter=int(content.get("peer_counter", -1)),
        heard=tuple(int(t) for t in content.get("heard", ())),
        sent=tuple(bytes.fromhex(one) for one in content.get("sent_updates", ())),
        floor=int(content.get("floor", last_t)),
    )
    for number in (last_t, fresh.floor, *fresh.heard):
        number.to_bytes(8)  # raises OverflowError
    return fresh


def _sp_hex(policy: SP | None) -> str | None:
    return None if policy is None else build(policy.copy(next_payload=0)).hex()


def session_of_json(content: Json, keys: Sequence[KeyData] | None = None) -> Session:
    """Reverse `session_json`; raises the errors in `BROKEN` for other content.

    `keys` are those of a session that was stored without them.
    """
    session = Session(
        csb_id=int(content["csb_id"]),
        role=_ROLE_OF[content["role"]],
        local=identity_of_json(content["local"]),
        remote=identity_of_json(content["remote"]),
        policy=TicketPolicy.of(parse_ticket_octets(bytes.fromhex(content["ticket_policy"]))),
        randr_i=bytes.fromhex(content["randr_i"]),
        randr_r=bytes.fromhex(content["randr_r"]),
        mpk=bytes.fromhex(content["mpk"]),
        keys=tuple(map(key_of_json, content["keys"]) if keys is None else keys),
        fresh=_fresh_of_json(content),
        policies=tuple(_policy(policy) for policy in content.get("policies", ())),
        randr_kms=bytes.fromhex(content.get("randr_kms", "")),
        ticket_digest=bytes.fromhex(content.get("ticket_digest", "")),
        overlap=int(content.get("overlap", KEY_OVERLAP)),
        ended_ns=None if content.get("ended_ns") is None else int(content["ended_ns"]),
        keys_since={
            bytes.fromhex(spi): int(since) for spi, since in content.get("keys_since", {}).items()
        },
        crypto_sessions=tuple(
            CryptoSession(
                _record(GenericIdEntry, one["entry"]),
                None if one["policy"] is None else _policy(one["policy"]),
                one["by_initiator"],
                tuple(bytes.fromhex(spi) for spi in one["previous"]),
                int(one.get("replaced_ns", 0)),
            )
            for one in content["crypto_sessions"]
        ),
    )
    lengths = [
        length
        for one, stored in zip(session.crypto_sessions, content["crypto_sessions"], strict=True)
        if one.entry.protocol == ProtType.SRTP and stored["policy"] is not None
        for length in _key_lengths(stored["policy"])
    ]
    if max(len(session.randr_i), len(session.randr_r), *lengths) > _LONGEST:
        raise WireError("a RAND or a key of more octets than there may be")
    session.csb_id.to_bytes(4)  # raises OverflowError
    profile_of(session.policy.prf)  # raises Refused for an unknown PRF
    return session


@lru_cache(64)
def _policy(octets: str) -> SP:
    """A security policy. The members of a conference have the same, and nobody changes one."""
    return _record(SP, octets)


@lru_cache(64)
def _key_lengths(octets: str) -> tuple[int, int]:
    """The lengths of master key and salt in a security policy for SRTP."""
    policy = SrtpPolicy(_policy(octets))
    return policy.key_length, policy.salt_length


def _record(kind: type[R], octets: str) -> R:
    data = bytes.fromhex(octets)
    record, end = parser(kind)(data, 0, len(data), None)
    if end != len(data):
        raise WireError(f"{standing(len(data) - end)} behind the {kind.__name__}")
    found: R = record
    return found


@contextmanager
def locked_session(path: Path) -> Iterator[SessionFile]:
    """Read a session file, and keep other processes from changing it until the context ends."""
    with locked(path):
        yield SessionFile.read(path)


def with_sent(session_file: SessionFile, sent: dict[str, list[int]]) -> SessionFile:
    """Return the session file with new highest packet indices."""
    return replace(session_file, sent={**session_file.sent, **sent})
