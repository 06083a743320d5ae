"""Good messages of every kind, and the edits that break them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from mikeytool.lint import Profile, lint
from mikeytool.lint.notation import name_of
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry
from mikeytool.wire.ibake import IBAKE
from mikeytool.wire.message import (
    Message,
    build_chain,
    build_leading,
    key_data,
    leading_chain,
    ticket_data,
)
from mikeytool.wire.payloads import (
    CERT,
    DH,
    ERR,
    ID,
    IDR,
    KEMAC,
    PKE,
    RAND,
    SIGN,
    SP,
    KeyData,
    Payload,
    PolicyParam,
    T,
    V,
)
from mikeytool.wire.protocol_list import Carried
from mikeytool.wire.registry import DataType, EncrAlg, MacAlg
from mikeytool.wire.sakke import SAKKE
from mikeytool.wire.timestamp import Timestamp
from tests.support import message_t, vectors

D = DataType
R = TypeVar("R", bound=Record)
EXCHANGES = {case["name"]: case for case in vectors("exchanges")}
FORKED = "key forking, one TGK, 128-bit"
FORKED_256 = "key forking, TGK+SALT, 256-bit"
PLAIN = "no forking, TGK, RANDRi only"
HALF = "half round trip: no TRANSFER_RESP"
CALL_OUT = "call-out: the initiator sends the group key"
CALL_IN = "call-in: the responder sends the group key"

_first = message_t(bytes.fromhex(EXCHANGES[FORKED]["REQUEST_INIT_PSK"]))
NOW = _first.unix_ns or 0
SECOND = 1_000_000_000
ALICE, BOB = b"sip:alice@example.com", b"sip:bob@example.com"


@cache
def vector(kind: str, case: str = FORKED) -> bytes:
    """A message of the known exchanges."""
    return bytes.fromhex(EXCHANGES[case][kind])


def octets(length: int, start: int = 1) -> bytes:
    """Octets that stand for random ones."""
    return bytes((start + 7 * at) % 256 for at in range(length))


def t(seconds: int = 0) -> T:
    return Timestamp.at(NOW + seconds * SECOND).payload()


def sp(number: int = 0, /, **params: Any) -> SP:
    """A policy for AES-CM with 128 bits; `p11=4` sets parameter 11."""
    values = {0: 1, 1: 16, 2: 1, 3: 20, 4: 14, 7: 1, 8: 1, 10: 1, 11: 10}
    values |= {int(name[1:]): value for name, value in params.items()}
    chosen = [
        PolicyParam(type=kind, value=bytes([value]))
        for kind, value in values.items()
        if value is not None
    ]
    return SP(policy_no=number, protocol=0, policy_param=chosen)


def kemac(encr: int = EncrAlg.AES_CM_128, mac: int = MacAlg.HMAC_SHA_1_160) -> KEMAC:
    return KEMAC(
        encr_alg=int(encr), encr_data=octets(40), mac_alg=int(mac), mac=octets(MacAlg(mac).length)
    )


def clear_kemac(*keys: KeyData, mac: int = 0) -> KEMAC:
    return KEMAC(
        encr_alg=0,
        encr_data=build_chain(keys),
        mac_alg=mac,
        mac=octets(MacAlg(mac).length),
    )


def tek(**changes: Any) -> KeyData:
    values: dict[str, Any] = {"type": 3, "kv": 0, "key": octets(16), "salt": octets(14)}
    return KeyData(**values | changes)


def user(who: bytes) -> ID:
    return ID(id_type=1, id_data=who)


def role(number: int, who: bytes = ALICE) -> IDR:
    return IDR(id_role=number, id_type=1, id_data=who)


def dh(start: int = 3) -> DH:
    return DH(dh_group=0, dh_value=octets(192, start), kv=0)


def signature() -> SIGN:
    return SIGN(s_type=0, signature=octets(256))


@cache
def certificate() -> bytes:
    """Alice's, of another implementation."""
    message = Message.parse(bytes.fromhex(vectors("public_key")[2]["REQUEST_INIT_PK"]))
    found = message.find(CERT)
    assert found is not None
    return found.cert_data


def cert() -> CERT:
    return CERT(cert_type=0, cert_data=certificate())


def _message(data_type: int, *payloads: Payload, **header: Any) -> bytes:
    values: dict[str, Any] = {
        "data_type": int(data_type),
        "prf": 0,
        "csb_id": 0x11223344,
        "cs_id_map_type": 0,
        "cs_id_map": [SrtpIdEntry(policy_no=0, ssrc=0xDEADBEEF, roc=0)],
    }
    return Message(HDR(**values | header), list(payloads)).build()


def v(alg: int = MacAlg.HMAC_SHA_1_160) -> V:
    return V(auth_alg=int(alg), ver_data=octets(MacAlg(alg).length))


_256 = (EncrAlg.AES_CM_256, MacAlg.HMAC_SHA_256_256)
_EMPTY: dict[str, Any] = {"cs_id_map_type": 1, "cs_id_map": []}


@cache
def good(kind: DataType) -> bytes:
    """A message of a data type with which nothing is wrong."""
    rand = RAND(rand=octets(16))
    i, r = user(ALICE), user(BOB)
    ri, rr, rkms = role(1), role(2, BOB), role(3, b"sip:kms.example.com")
    generic = {
        "cs_id_map_type": 2,
        "cs_id_map": [
            GenericIdEntry(cs_id=1, protocol=0, policies=[0], session_data=octets(4), spi=octets(4))
        ],
    }
    made: dict[int, Callable[[], bytes]] = {
        D.PRE_SHARED: lambda: _message(0, t(), rand, i, r, sp(), kemac()),
        D.PSK_VER_MSG: lambda: _message(1, t(), r, v()),
        D.PUBLIC_KEY: lambda: _message(
            2, t(), rand, i, cert(), r, sp(), kemac(*_256), PKE(data=octets(256)), signature(),
            prf=1,
        ),
        D.PK_VER_MSG: lambda: _message(3, t(), r, v(_256[1]), prf=1),
        D.DH_INIT: lambda: _message(4, t(), rand, i, cert(), r, sp(), dh(), signature(), prf=1),
        D.DH_RESP: lambda: _message(5, t(), r, i, dh(5), dh(), signature(), prf=1),
        D.ERROR: lambda: _message(6, t(), ERR(error_no=12), v(), **_EMPTY),
        D.DHHMAC_INIT: lambda: _message(7, t(), rand, i, r, sp(), dh(), _empty_kemac()),
        D.DHHMAC_RESP: lambda: _message(8, t(), r, i, dh(5), dh(), _empty_kemac()),
        D.RSA_R_I_MSG: lambda: _message(
            9, t(), rand, i, cert(), r, sp(), signature(), prf=1, v=1
        ),
        D.RSA_R_R_MSG: lambda: _message(
            10, t(), r, sp(), kemac(*_256), PKE(data=octets(256)), signature(), prf=1
        ),
        D.REQUEST_INIT_PSK: lambda: vector("REQUEST_INIT_PSK"),
        D.REQUEST_INIT_PK: lambda: edited(
            bytes.fromhex(vectors("public_key")[2]["REQUEST_INIT_PK"]), swap("T", t())
        ),
        D.REQUEST_RESP: lambda: vector("REQUEST_RESP"),
        D.TRANSFER_INIT: lambda: vector("TRANSFER_INIT"),
        D.TRANSFER_RESP: lambda: vector("TRANSFER_RESP"),
        D.RESOLVE_INIT_PSK: lambda: vector("RESOLVE_INIT_PSK"),
        D.RESOLVE_INIT_PK: _resolve_init_pk,
        D.RESOLVE_RESP: lambda: vector("RESOLVE_RESP"),
        D.REQUEST_KEY_PSK: lambda: _message(19, t(), rand, ri, rkms, v(), **_EMPTY),
        D.REQUEST_KEY_PKE: lambda: _message(
            20, t(), rand, ri, cert(), rkms, PKE(data=octets(256)), signature(), prf=1, **_EMPTY
        ),
        D.REQUEST_KEY_RESP: lambda: _message(
            21, t(), ri, rkms, kemac(mac=MacAlg.NULL), v(), **_EMPTY
        ),
        D.I_MESSAGE_1: lambda: _message(22, t(), rand, ri, rr, IBAKE(encr_data=octets(64))),
        D.R_MESSAGE_1: lambda: _message(23, t(), ri, rr, IBAKE(encr_data=octets(64))),
        D.I_MESSAGE_2: lambda: _message(24, t(), rand, ri, rr, IBAKE(encr_data=octets(64))),
        D.R_MESSAGE_2: lambda: _message(25, t(), ri, rr, v()),
        D.SAKKE_MSG: lambda: _message(
            26, t(), rand, role(1, b"tel:+4621"), role(2, b"tel:+4622"), sp(),
            SAKKE(sakke_params=1, id_scheme=1, sakke_data=octets(273)),
            SIGN(s_type=2, signature=octets(129)), **generic,
        ),
    }  # fmt: skip
    return made[kind]()


def _empty_kemac() -> KEMAC:
    return KEMAC(encr_alg=0, encr_data=b"", mac_alg=1, mac=octets(20))


def _resolve_init_pk() -> bytes:
    """RESOLVE_INIT of the 256-bit exchange, signed by Alice in place of Bob's MAC."""
    draft = Draft.of(Message.parse(vector("RESOLVE_INIT_PSK", FORKED_256)))
    draft.payloads = [p for p in draft.payloads if name_of(p) not in ("IDRpsk", "V")]
    draft.header = draft.header.copy(data_type=int(D.RESOLVE_INIT_PK))
    set_(draft, "IDRr", id_data=ALICE)
    put(draft, cert(), before="IDRkms")
    draft.payloads += [PKE(data=octets(256)), signature()]
    return draft.build()


def camera(*changes: Edit) -> bytes:
    """A message as RTSP cameras send it, but for the key, which has its salt apart."""
    return edited(
        _message(0, t(), RAND(rand=octets(16)), sp(), clear_kemac(tek())),
        *changes,
    )


# Edits


@dataclass
class Draft:
    """A message, or the content of a payload, that is being changed."""

    header: Any
    payloads: list[Payload]
    trailing: bytes = b""

    @classmethod
    def of(cls, message: Message) -> Draft:
        return cls(loose(message.header), [loose(p) for p in message.payloads])

    def build(self) -> bytes:
        return Message(self.header, self.payloads, trailing=self.trailing).build()

    def at(self, name: str) -> int:
        found = [at for at, p in enumerate(self.payloads) if name_of(p) == name]
        assert found, f"no {name} among {[name_of(p) for p in self.payloads]}"
        return found[0]


Edit = Callable[[Draft], None]


def loose(record: R) -> R:
    """A copy whose lengths, counts and next payload numbers will be made right."""
    given: dict[str, Any] = {}
    for name, field in record.fields.items():
        value = getattr(record, name)
        if field.default is None and isinstance(value, int):
            given[name] = None
        elif isinstance(value, list) and value and isinstance(value[0], Record):
            given[name] = [loose(item) for item in value]
    return record.copy(**given)


def edited(data: bytes, *edits: Edit) -> bytes:
    """A message after some edits; all lengths fit again."""
    draft = Draft.of(Message.parse(data))
    for edit in edits:
        edit(draft)
    return draft.build()


def set_(draft: Draft, name: str, **values: Any) -> None:
    at = draft.at(name)
    draft.payloads[at] = draft.payloads[at].copy(**values)


def put(draft: Draft, payload: Payload, before: str) -> None:
    draft.payloads.insert(draft.at(before), payload)


def header(**values: Any) -> Edit:
    def edit(draft: Draft) -> None:
        draft.header = draft.header.copy(**values)

    return edit


def entry(number: int, **values: Any) -> Edit:
    """Change a crypto session of the map, counted from 0."""

    def edit(draft: Draft) -> None:
        entries = list(draft.header.cs_id_map)
        entries[number] = entries[number].copy(**values)
        draft.header = draft.header.copy(cs_id_map=entries)

    return edit


def change(name: str, **values: Any) -> Edit:
    return lambda draft: set_(draft, name, **values)


def without(*names: str) -> Edit:
    def edit(draft: Draft) -> None:
        for name in names:
            del draft.payloads[draft.at(name)]

    return edit


def twice(name: str) -> Edit:
    return lambda draft: put(draft, draft.payloads[draft.at(name)], name)


def insert(payload: Payload, before: str) -> Edit:
    return lambda draft: put(draft, payload, before)


def swap(name: str, payload: Payload) -> Edit:
    """Put a payload in the place of another."""

    def edit(draft: Draft) -> None:
        draft.payloads[draft.at(name)] = payload

    return edit


def move(name: str, before: str) -> Edit:
    def edit(draft: Draft) -> None:
        payload = draft.payloads.pop(draft.at(name))
        put(draft, payload, before)

    return edit


def trailing(data: bytes) -> Edit:
    def edit(draft: Draft) -> None:
        draft.trailing = data

    return edit


def flags(*, set_bits: int = 0, clear: int = 0) -> Edit:
    """Change the flags of the TP or TICKET."""

    def edit(draft: Draft) -> None:
        name = "TP" if any(p.label == "TP" for p in draft.payloads) else "TICKET"
        policy = draft.payloads[draft.at(name)]
        set_(draft, name, flags=getattr(policy, "flags") & ~clear | set_bits)  # noqa: B009

    return edit


def inside(name: str, field: str, *edits: Edit) -> Edit:
    """Edit what a field of a payload holds."""
    readers: dict[str, Any] = {
        "tp_data": leading_chain,
        "initiator_data": leading_chain,
        "ticket_data": ticket_data,
        "encr_data": key_data,
    }

    def edit(draft: Draft) -> None:
        holder = draft.payloads[draft.at(name)]
        held = Draft(None, [loose(p) for p in readers[field](getattr(holder, field))])
        for one in edits:
            one(held)
        build: Callable[[Sequence[Payload]], bytes] = (
            build_leading if readers[field] is leading_chain else build_chain
        )
        set_(draft, name, **{field: build(held.payloads)})

    return edit


def tp(*edits: Edit) -> Edit:
    """Edit the policy that a TP asks for."""
    return inside("TP", "tp_data", *edits)


def ticket(*edits: Edit) -> Edit:
    """Edit Ticket Data."""
    return inside("TICKET", "ticket_data", *edits)


def initiator_data(*edits: Edit) -> Edit:
    return inside("TICKET", "initiator_data", *edits)


# Checking


def codes(
    data: bytes,
    init: bytes | None = None,
    now_ns: int = NOW,
    profile: Profile | None = None,
    carried: Carried | None = None,
) -> list[str]:
    """The codes of the findings, sorted."""
    before = None if init is None else Message.parse(init)
    report = lint(data, now_ns=now_ns, init=before, profile=profile, carried=carried)
    return sorted(finding.code for finding in report.findings)


@dataclass(frozen=True)
class Case:
    """A broken message, with what is found in it beside `code`."""

    code: str
    data: Callable[[], bytes]
    also: tuple[str, ...] = ()
    init: Callable[[], bytes] | None = None
    now_ns: int = NOW
    profile: Profile | None = None
    carried: Carried | None = None

    def found(self) -> list[str]:
        """The codes of what is found."""
        init = None if self.init is None else self.init()
        return codes(self.data(), init, self.now_ns, self.profile, self.carried)

    def expected(self) -> list[str]:
        return sorted((self.code, *self.also))


def case(
    code: str,
    base: DataType | bytes,
    *edits: Edit,
    also: tuple[str, ...] = (),
    init: DataType | bytes | None = None,
    now_ns: int = NOW,
    profile: Profile | None = None,
    carried: Carried | None = None,
) -> Case:
    """A good message with edits after which there is `code` to find, and `also` these."""

    def octets_of(what: DataType | bytes) -> bytes:
        return what if isinstance(what, bytes) else good(what)

    return Case(
        code,
        lambda: edited(octets_of(base), *edits),
        also,
        None if init is None else lambda: octets_of(init),
        now_ns,
        profile,
        carried,
    )
