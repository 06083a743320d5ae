"""One MUST broken in a correct message: what is changed, and where lint cannot see it, why not."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from tests.independent.random_messages import (
    CERT,
    DH,
    DH_INIT,
    DH_RESP,
    DHHMAC_INIT,
    DHHMAC_RESP,
    EMPTY,
    ERROR,
    GENERAL_EXT,
    GENERIC_ID,
    ID,
    KEY_RESP,
    PK,
    PK_VER,
    PKE,
    PSK,
    PSK_VER,
    R_1,
    R_2,
    REQUEST_PK,
    REQUEST_PSK,
    REQUEST_RESP,
    RESOLVE_RESP,
    RSA_R_I,
    RSA_R_R,
    SAKKE,
    SAKKE_MSG,
    SIGN,
    SRTP_ID,
    TRANSFER_INIT,
    TRANSFER_RESP,
    Draft,
)
from tests.independent.rfc6043 import (
    ERR,
    IDR,
    KEMAC,
    KEY_DATA,
    RAND,
    RANDR,
    SP,
    TGK,
    TICKET,
    TP,
    TR,
    Chain,
    T,
    V,
    leading,
    unchain,
)
from tests.independent.roles import Ticket

TICKET_MODE = range(REQUEST_PSK, RESOLVE_RESP + 1)
KMS_EXCHANGES = [kind for kind in TICKET_MODE if kind not in (TRANSFER_INIT, TRANSFER_RESP)]
ANSWERS = (PSK_VER, PK_VER, DH_RESP, DHHMAC_RESP, RSA_R_R, REQUEST_RESP, TRANSFER_RESP,
           RESOLVE_RESP, KEY_RESP, R_1, R_2)  # fmt: skip
SAME_T = (PSK_VER, PK_VER, DH_RESP, DHHMAC_RESP, RSA_R_R, KEY_RESP, R_1, R_2)
NEEDED: dict[int, tuple[int, ...]] = {
    PSK: (T, KEMAC), PSK_VER: (T, V), PK: (T, KEMAC, PKE, SIGN), PK_VER: (T, V),
    DH_INIT: (T, DH, SIGN), DH_RESP: (T, SIGN), ERROR: (T, ERR),
    DHHMAC_INIT: (T, RAND, DH, KEMAC), DHHMAC_RESP: (T, KEMAC), RSA_R_I: (T, SIGN),
    RSA_R_R: (T, KEMAC, PKE, SIGN), REQUEST_PSK: (T, RANDR, TP, V),
    REQUEST_PK: (T, RANDR, TP, PKE, SIGN), REQUEST_RESP: (T, TICKET, KEMAC, V),
    TRANSFER_INIT: (T, V), TRANSFER_RESP: (T, V), 16: (T, RANDR, TICKET, V),
    17: (T, RANDR, TICKET, PKE, SIGN), RESOLVE_RESP: (T, KEMAC, V), 19: (T, RAND, V),
    20: (T, RAND, PKE, SIGN), KEY_RESP: (T, KEMAC, V), 22: (T, RAND, 22), R_1: (T, 22),
    24: (T, RAND, 22), R_2: (T, V), SAKKE_MSG: (T, RAND, SAKKE, SIGN),
}  # fmt: skip
"""The payloads that a message of a data type must have."""

Change = Callable[[Draft, random.Random], bool]
"""Breaks a draft; False if it has nothing to break."""


class Must(NamedTuple):
    """A demand of an RFC: its section, what it is, and what breaks it."""

    section: str
    text: str
    change: Change


MUSTS: list[Must] = []
UNSEEN: dict[str, str] = {}
"""Why lint does not tell, by the text of the MUST."""


def must(section: str, text: str, unseen: str = "") -> Callable[[Change], Change]:
    def put(change: Change) -> Change:
        MUSTS.append(Must(section, text, change))
        if unseen:
            UNSEEN[text] = unseen
        return change

    return put


def replace(draft: Draft, number: int, edit: Callable[[bytes], bytes]) -> bool:
    """Change the first payload of a number."""
    if number not in draft.numbers():
        return False
    at = draft.at(number)
    draft.payloads[at] = number, edit(draft.payloads[at][1])
    return True


def insert(draft: Draft, payload: tuple[int, bytes], at: int = 1) -> bool:
    draft.payloads.insert(at, payload)
    return True


def policy(number: int, *params: tuple[int, int]) -> tuple[int, bytes]:
    body = b"".join(bytes([kind, 1, value]) for kind, value in params)
    return SP, struct.pack("!BBH", number, 0, len(body)) + body


# Chain of payloads


@must("RFC 3830 6.1", "version 1")
def version(draft: Draft, chance: random.Random) -> bool:
    draft.version = chance.choice((0, 2, 255))
    return True


@must("RFC 3830 5.2", "a payload that must be there")
def missing(draft: Draft, chance: random.Random) -> bool:
    needed = NEEDED[draft.kind]
    if draft.kind == TRANSFER_INIT and draft.init is None:
        needed += (RANDR, TICKET)
    if draft.kind in (PSK, PK, DH_INIT, SAKKE_MSG) and RAND not in draft.numbers():
        return False
    number = chance.choice(needed)
    draft.payloads = [one for one in draft.payloads if one[0] != number]
    return True


@must("RFC 3830 3", "RAND in the first message")
def no_rand(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (PSK, PK, DH_INIT) or RAND not in draft.numbers():
        return False
    del draft.payloads[draft.at(RAND)]
    return True


@must("RFC 3830 5.2", "a payload once")
def twice(draft: Draft, chance: random.Random) -> bool:
    once = [one for one in draft.payloads if one[0] in (T, RAND, KEMAC, PKE, TP, TICKET, SAKKE)]
    return bool(once) and insert(draft, chance.choice(once))


@must("RFC 3830 5.2", "the MAC or signature is last")
def not_last(draft: Draft, chance: random.Random) -> bool:
    last = draft.payloads[-1]
    if last[0] != V or len(draft.payloads) < 3:
        return False
    draft.payloads = [draft.payloads[0], last, *draft.payloads[1:-1]]
    return True


@must("RFC 3830 6.1", "nothing behind the last payload")
def trailing(draft: Draft, chance: random.Random) -> bool:
    draft.behind = chance.randbytes(chance.randrange(1, 30))
    return True


@must("RFC 3830 6.13", "key data in a KEMAC only")
def key_outside(draft: Draft, chance: random.Random) -> bool:
    return insert(draft, (KEY_DATA, bytes([TGK << 4, 0, 16]) + bytes(range(16))))


@must("RFC 3830 6.1", "the map is there")
def no_map(draft: Draft, chance: random.Random) -> bool:
    if not draft.entries or draft.map_type == EMPTY:
        return False
    draft.count, draft.entries = len(draft.entries), []
    return True


# Header and policies


@must("RFC 4563 5", "an Empty map has #CS 0")
def empty_count(draft: Draft, chance: random.Random) -> bool:
    if draft.map_type != EMPTY:
        return False
    draft.count = chance.randrange(1, 256)
    return True


@must("RFC 4563 5", "no SP beside an Empty map")
def empty_policy(draft: Draft, chance: random.Random) -> bool:
    if draft.map_type != EMPTY or draft.kind in (ERROR, SAKKE_MSG):
        return False
    return insert(draft, policy(0, (0, 1)), len(draft.payloads) - 1)


@must("RFC 3830 6.10", "each crypto session's policy is there")
def no_policy(draft: Draft, chance: random.Random) -> bool:
    if draft.map_type != SRTP_ID or SP not in draft.numbers() or not draft.entries:
        return False
    draft.entries[0] = b"\xfa" + draft.entries[0][1:]
    return True


@must("RFC 3830 6.10", "each policy has its own number")
def same_policy(draft: Draft, chance: random.Random) -> bool:
    found = [one for one in draft.payloads if one[0] == SP]
    return bool(found) and insert(draft, found[0], draft.at(SP))


@must("RFC 3830 6.10.1", "switches are 0 or 1")
def switch(draft: Draft, chance: random.Random) -> bool:
    kind = chance.choice((7, 8))
    return replace(draft, SP, lambda c: _param(c, kind, bytes([chance.randrange(2, 256)])))


@must("RFC 3711 4.3.1", "the key derivation rate is 0 or a power of two up to 2^24")
def rate(draft: Draft, chance: random.Random) -> bool:
    value = chance.choice((b"\3", b"\x07\xd0", b"\2\0\0\0"))
    return replace(draft, SP, lambda c: _param(c, 6, value))


@must("RFC 3711 8.2", "a key length of the cipher")
def key_length(draft: Draft, chance: random.Random) -> bool:
    return replace(draft, SP, lambda c: _param(c, 1, bytes([chance.choice((0, 8, 20, 64))])))


def _param(content: bytes, kind: int, value: bytes) -> bytes:
    """An SP whose parameter of a kind has another value."""
    body, at = b"", 4
    while at < len(content):
        size = 2 + content[at + 1]
        body += b"" if content[at] == kind else content[at : at + size]
        at += size
    body += bytes([kind, len(value)]) + value
    return content[:2] + struct.pack("!H", len(body)) + body


# Answers


@must("RFC 3830 6.1", "the CSB ID of the initial message")
def other_csb_id(draft: Draft, chance: random.Random) -> bool:
    if draft.init is None or draft.kind not in ANSWERS:
        return False
    draft.csb_id ^= 1 << chance.randrange(32)
    return True


@must("RFC 3830 5.2", "the timestamp of the initial message")
def other_t(draft: Draft, chance: random.Random) -> bool:
    return draft.kind in SAME_T and replace(
        draft, T, lambda c: c[:-4] + bytes([c[-4] ^ 1]) + c[-3:]
    )


@must("RFC 6043 4.2.1.5", "a fresh timestamp in the answer")
def same_t(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (REQUEST_RESP, RESOLVE_RESP, TRANSFER_RESP) or draft.init is None:
        return False
    theirs = draft.init.payloads[draft.init.at(T)]
    return replace(draft, T, lambda _: theirs[1])


@must("RFC 6043 4.2.1.5", "the PRF func of the initial message")
def other_prf(draft: Draft, chance: random.Random) -> bool:
    if draft.init is None or draft.kind not in ANSWERS:
        return False
    draft.prf ^= 1
    return True


@must("RFC 3830 6.1.1", "the responder fills in SSRCs")
def zero_ssrc(draft: Draft, chance: random.Random) -> bool:
    kinds = (PSK_VER, PK_VER, DH_RESP, DHHMAC_RESP, RSA_R_R)
    if draft.kind not in kinds or not draft.entries or draft.map_type != SRTP_ID:
        return False
    draft.entries[0] = draft.entries[0][:1] + bytes(4) + draft.entries[0][5:]
    return True


@must("RFC 6043 4.2.2.3", "no crypto session is lost in the answer")
def dropped(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != TRANSFER_RESP or not draft.entries:
        return False
    del draft.entries[chance.randrange(len(draft.entries))]
    return True


@must("RFC 3830 4.5", "an update has a new timestamp")
def old_update(draft: Draft, chance: random.Random) -> bool:
    if draft.init is None or draft.kind != draft.init.kind:
        return False
    theirs = draft.init.payloads[draft.init.at(T)]
    return replace(draft, T, lambda _: theirs[1])


@must("RFC 3830 4.5", "an update has no new RAND")
def rand_in_update(draft: Draft, chance: random.Random) -> bool:
    if draft.init is None or draft.kind != draft.init.kind:
        return False
    return insert(draft, (RAND, b"\x10" + chance.randbytes(16)))


# Diffie-Hellman, DHHMAC (RFC 4650) and RSA-R (RFC 4738)


@must("RFC 3830 3.3", "a DH value is g to a random power")
def dh_one(draft: Draft, chance: random.Random) -> bool:
    return replace(draft, DH, lambda c: c[:1] + bytes(len(c) - 3) + bytes([chance.randrange(2), 0]))


@must("RFC 3830 3.3", "DHi is in the answer")
def other_dh(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (DH_RESP, DHHMAC_RESP):
        return False
    at = [at for at, one in enumerate(draft.payloads) if one[0] == DH][1]
    content = draft.payloads[at][1]
    draft.payloads[at] = DH, content[:1] + chance.randbytes(len(content) - 2) + b"\0"
    return True


@must("RFC 3830 4.5", "DHr and DHi, or neither")
def one_dh(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (DH_RESP, DHHMAC_RESP):
        return False
    del draft.payloads[draft.at(DH)]
    return True


@must("RFC 4650 4.1", "no certificate and no other payload in DHHMAC")
def dhhmac_cert(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (DHHMAC_INIT, DHHMAC_RESP):
        return False
    url = b"http://a.example/b.cer"
    return insert(draft, (CERT, b"\1" + struct.pack("!H", len(url)) + url))


@must("RFC 4650 4.2", "the KEMAC of DHHMAC has no data")
def dhhmac_data(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (DHHMAC_INIT, DHHMAC_RESP):
        return False
    return replace(draft, KEMAC, lambda c: b"\1\0\x20" + chance.randbytes(32) + c[3:])


@must("RFC 4650 3", "IDr in the initial message, IDi in the answer")
def dhhmac_names(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (DHHMAC_INIT, DHHMAC_RESP):
        return False
    draft.payloads = [one for one in draft.payloads if one[0] != ID]
    return True


@must("RFC 4738 3.4", "the V flag of the I_MESSAGE is 1")
def rsa_r_v(draft: Draft, chance: random.Random) -> bool:
    draft.v = 0
    return draft.kind == RSA_R_I


@must("RFC 4738 3.6", "a RAND in one message of two ends")
def rsa_r_rand(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R or draft.init is None or _is_group(draft):
        return False
    if RAND in draft.numbers():
        del draft.payloads[draft.at(RAND)]
        return True
    return insert(draft, (RAND, b"\x10" + chance.randbytes(16)), draft.at(T) + 1)


@must("RFC 4738 3.2", "RAND and SP in the answer for a group")
def rsa_r_group(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R or not _is_group(draft):
        return False
    number = chance.choice((RAND, SP))
    draft.payloads = [one for one in draft.payloads if one[0] != number]
    return True


@must("RFC 4738 3.2", "no SP of the initiator of a group")
def rsa_r_offer(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R or not _is_group(draft) or draft.init is None:
        return False
    draft.init = draft.init.copy()
    return insert(draft.init, next(one for one in draft.payloads if one[0] == SP), 1)


@must("RFC 4738 3.6", "SP in the answer if there was one")
def rsa_r_no_policy(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R or draft.init is None or SP not in draft.init.numbers():
        return False
    draft.payloads = [one for one in draft.payloads if one[0] != SP]
    return True


@must("RFC 4738 3.7", "a policy that was offered")
def rsa_r_not_offered(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R or draft.init is None or SP not in draft.init.numbers():
        return False
    return replace(draft, SP, lambda c: _param(c, 13, b"\7"))


@must("RFC 4738 3.6", "one option for each parameter")
def rsa_r_choice(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R:
        return False
    more = bytes([7, 1, 1])
    return replace(
        draft, SP, lambda c: c[:2] + struct.pack("!H", len(c) - 4 + len(more)) + c[4:] + more
    )


@must("RFC 4738 3.6", "the responder fills in the map")
def rsa_r_map(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != RSA_R_R:
        return False
    draft.entries = []
    return True


def _is_group(draft: Draft) -> bool:
    return any(number == GENERAL_EXT and content[0] == 4 for number, content in draft.payloads)


# SAKKE (RFC 6509)


@must("RFC 6509 2.2.1", "the V flag is 0")
def sakke_v(draft: Draft, chance: random.Random) -> bool:
    draft.v = 1
    return draft.kind == SAKKE_MSG


@must("RFC 6509 2.2.1", "T is an NTP time")
def sakke_counter(draft: Draft, chance: random.Random) -> bool:
    return draft.kind == SAKKE_MSG and replace(draft, T, lambda _: b"\2\0\0\0\1")


@must("RFC 6509 2.2.1", "no CERT with an ECCSI signature")
def sakke_cert(draft: Draft, chance: random.Random) -> bool:
    url = b"http://a.example/b.cer"
    cert = CERT, b"\1" + struct.pack("!H", len(url)) + url
    return draft.kind == SAKKE_MSG and insert(draft, cert, draft.at(SAKKE))


# MIKEY-TICKET (RFC 6043)


@must("RFC 6043 4.2.1.1", "the Empty map between users and KMS")
def kms_map(draft: Draft, chance: random.Random) -> bool:
    draft.map_type = chance.choice((SRTP_ID, GENERIC_ID))
    return draft.kind in KMS_EXCHANGES


@must("RFC 6043 6.1", "no SRTP-ID map in Ticket Transfer")
def srtp_map(draft: Draft, chance: random.Random) -> bool:
    draft.map_type, draft.entries = SRTP_ID, [bytes(1) + chance.randbytes(4) + bytes(4)]
    return draft.kind in (TRANSFER_INIT, TRANSFER_RESP)


@must("RFC 6043 6.1.1", "CS IDs differ")
def same_cs_id(draft: Draft, chance: random.Random) -> bool:
    if draft.map_type != GENERIC_ID or not draft.entries:
        return False
    draft.entries.append(draft.entries[0])
    return True


@must("RFC 6043 6.1.1", "Session Data of 4 octets, or 10 with S")
def session_data(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != TRANSFER_RESP or not draft.entries:
        return False
    entry = draft.entries[0]
    at = 3 + (entry[2] & 127)
    draft.entries[0] = entry[:at] + b"\0\7" + bytes(3) + entry[at + 2 :]
    return True


@must("RFC 6043 4.2.2.3", "policy, Session Data and SPI in the answer")
def incomplete(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != TRANSFER_RESP or not draft.entries:
        return False
    entry = draft.entries[0]
    gaps = (b"\0\0\4" + bytes(4) + b"\1\1", b"\1\0\0\0\1\1", b"\1\0\0\4" + bytes(5))
    draft.entries[0] = entry[:2] + chance.choice(gaps)
    return True


@must("RFC 6043 6.6", "IDR in place of ID")
def plain_id(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in TICKET_MODE or IDR not in draft.numbers():
        return False
    at = draft.at(IDR)
    draft.payloads[at] = ID, draft.payloads[at][1][1:]
    return True


@must("RFC 6043 4.2.1", "a MAC protects every message")
def null_mac(draft: Draft, chance: random.Random) -> bool:
    return draft.kind in TICKET_MODE and replace(draft, V, lambda _: b"\0")


@must("RFC 6043 4.2.1.5", "the KEMAC has no MAC of its own")
def own_mac(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in TICKET_MODE:
        return False
    number, size = (2, 32) if draft.prf else (1, 20)
    return replace(draft, KEMAC, lambda c: c[:-1] + bytes([number]) + chance.randbytes(size))


@must("RFC 6043 12.1", "no mix of profiles")
def mix(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in TICKET_MODE or V not in draft.numbers():
        return False
    number, size = (1, 20) if draft.prf else (2, 32)
    return replace(draft, V, lambda _: bytes([number]) + chance.randbytes(size))


@must("RFC 6043 12.1", "RANDs as long as the keys")
def short_rand(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in KMS_EXCHANGES:
        return False
    size = chance.randrange(32 if draft.prf else 16)
    return replace(draft, RANDR, lambda c: c[:1] + bytes([size]) + chance.randbytes(size))


FLAG_RULES = (
    ("NOT D implies L", "", "DL"), ("G implies F", "G", "FI"), ("I implies E", "I", "E"),
    ("M implies F", "M", "FGI"), ("G or H", "", "GH"),
)  # fmt: skip


def _flags(text: str, with_: str, without: str) -> None:
    @must("RFC 6043 6.10", text)
    def change(draft: Draft, chance: random.Random) -> bool:
        def edit(flags: str) -> str:
            return "".join(set(flags + with_) - set(without))

        return _policy(draft, edit)


def _policy(
    draft: Draft,
    edit: Callable[[str], str] = lambda flags: flags,
    inside: Callable[[Chain], Chain] = lambda payloads: payloads,
) -> bool:
    """Change the flags and the payloads of a TP or TICKET."""
    number = next((one for one in (TP, TICKET) if one in draft.numbers()), None)
    if number is None:
        return False

    def changed(content: bytes) -> bytes:
        held = Ticket.of(content if number == TICKET else content + bytes(4))
        payloads = inside(unchain(held.tp_data[0], held.tp_data[1:]))
        made = Ticket(held.prf, edit(held.flags), leading(payloads), held.data, held.initiator_data)
        return made.content if number == TICKET else made.policy

    return replace(draft, number, changed)


for _rule in FLAG_RULES:
    _flags(*_rule)


@must("RFC 6043 6.10", "K is 0 in a TP")
def k_in_request(draft: Draft, chance: random.Random) -> bool:
    return TP in draft.numbers() and _policy(draft, lambda flags: flags + "K")


@must("RFC 6043 6.10", "Initiator Data if and only if I is set")
def initiator_data(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != TRANSFER_INIT:
        return False

    def changed(content: bytes) -> bytes:
        held = Ticket.of(content)
        data = b"" if held.initiator_data else leading([(V, b"\1" + bytes(20))] * 2)
        return Ticket(held.prf, held.flags, held.tp_data, held.data, data).content

    return replace(draft, TICKET, changed)


@must("RFC 6043 6.10", "TP Data has an IDRr")
def no_responder(draft: Draft, chance: random.Random) -> bool:
    def kept(payloads: Chain) -> Chain:
        return [one for one in payloads if not (one[0] == IDR and one[1][0] == 2)]

    return _policy(draft, inside=kept)


@must("RFC 6043 6.10", "TRs and TRe make a period")
def reversed_period(draft: Draft, chance: random.Random) -> bool:
    def turned(payloads: Chain) -> Chain:
        return [
            (number, bytes([5 - content[0]]) + content[1:]) if number == TR else (number, content)
            for number, content in payloads
        ]

    return _policy(draft, inside=turned)


@must("RFC 6043 6.10", "TRs and TRe are times")
def counter_period(draft: Draft, chance: random.Random) -> bool:
    def counted(payloads: Chain) -> Chain:
        return [
            (number, content[:1] + b"\2\0\0\0\1") if number == TR else (number, content)
            for number, content in payloads
        ]

    return _policy(draft, inside=counted)


@must("RFC 6043 6.10", "the keys of a TP are 0")
def policy_key(draft: Draft, chance: random.Random) -> bool:
    def filled(payloads: Chain) -> Chain:
        return [
            (number, content[:7] + b"\1" + content[8:]) if number == KEMAC else (number, content)
            for number, content in payloads
        ]

    return TP in draft.numbers() and _policy(draft, inside=filled)


@must("RFC 6043 6.10", "no KEMAC in a granted policy")
def granted_kemac(draft: Draft, chance: random.Random) -> bool:
    def more(payloads: Chain) -> Chain:
        return [*payloads, (KEMAC, bytes(4))]

    return TICKET in draft.numbers() and _policy(draft, inside=more)


@must("RFC 6043 4.2.2.1", "no keys of the initiator if L is 0")
def unwanted_keys(draft: Draft, chance: random.Random) -> bool:
    if draft.kind != TRANSFER_INIT or KEMAC in draft.numbers() or draft.init is not None:
        return False
    kemac = KEMAC, bytes([3 if draft.prf else 1, 0, 40]) + chance.randbytes(40) + b"\0"
    insert(draft, kemac, len(draft.payloads) - 1)
    return _policy(draft, lambda flags: flags.replace("L", ""))


@must("RFC 6043 4.2.2.3", "RANDRr in the answer if G is set")
def no_randr(draft: Draft, chance: random.Random) -> bool:
    before = len(draft.payloads)
    if draft.kind == TRANSFER_RESP:
        draft.payloads = [one for one in draft.payloads if not (one[0] == RANDR and one[1][0] == 2)]
    return len(draft.payloads) < before


@must("RFC 6043 4.2.3.5", "IDRr and RANDRkms in the answer if I is set")
def no_modifier(draft: Draft, chance: random.Random) -> bool:
    before = len(draft.payloads)
    if draft.kind in (TRANSFER_RESP, RESOLVE_RESP):
        draft.payloads = [one for one in draft.payloads if not (one[0] == RANDR and one[1][0] == 3)]
    return len(draft.payloads) < before


# What lint does not tell


@must("RFC 3830 5.2", "the MAC covers the message", "decode verifies MACs, with keys")
def wrong_mac(draft: Draft, chance: random.Random) -> bool:
    if draft.kind == TRANSFER_INIT:
        return False  # Vi would differ
    return replace(draft, V, lambda c: c[:-1] + bytes([c[-1] ^ 1]))


@must("RFC 3830 5.2", "the signature covers the message", "decode verifies signatures")
def wrong_signature(draft: Draft, chance: random.Random) -> bool:
    return replace(draft, SIGN, lambda c: c[:-1] + bytes([c[-1] ^ 1]))


@must("RFC 3830 3.2", "the envelope holds a key", "it is encrypted")
def wrong_envelope(draft: Draft, chance: random.Random) -> bool:
    return replace(draft, PKE, lambda c: c[:2] + chance.randbytes(len(c) - 2))


@must("RFC 6043 4.2.1.1", "the V flag of a request is 1", "6.1 wants the opposite")
def v_flag(draft: Draft, chance: random.Random) -> bool:
    draft.v ^= 1
    return draft.kind in TICKET_MODE


@must("RFC 6043 4.2.1.5", "the KEMAC holds MPKi first", "it is encrypted")
def wrong_keys(draft: Draft, chance: random.Random) -> bool:
    if draft.kind not in (REQUEST_RESP, RESOLVE_RESP):
        return False
    return replace(draft, KEMAC, lambda c: c[:3] + chance.randbytes(len(c) - 4) + c[-1:])
