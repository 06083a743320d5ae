"""Random correct messages of every data type, written from the RFCs with `struct` alone.

MACs, signatures and ciphertexts are random octets where nobody checks them; the messages of
MIKEY-TICKET are those of whole exchanges between the roles of the second implementation.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.independent import rfc6043 as ticket
from tests.independent.rfc6043 import (
    ERR,
    IDR,
    KEMAC,
    KEY_DATA,
    RAND,
    RANDR,
    SP,
    SUITES,
    TEK,
    TEK_SALT,
    TGK,
    TGK_SALT,
    TICKET,
    TR,
    Chain,
    Key,
    T,
    V,
)
from tests.independent.roles import Initiator, Kms, Responder

# Payload numbers (RFC 3830 table 6.1.b, RFC 6267 table 2, RFC 6509 table 2).
PKE, DH, SIGN, ID, CERT, CHASH, GENERAL_EXT, IBAKE, ESK, SAKKE = 2, 3, 4, 6, 7, 8, 21, 22, 23, 26
# Data types (RFC 3830 table 6.1.a and its successors).
(PSK, PSK_VER, PK, PK_VER, DH_INIT, DH_RESP, ERROR, DHHMAC_INIT, DHHMAC_RESP, RSA_R_I,
 RSA_R_R, REQUEST_PSK, REQUEST_PK, REQUEST_RESP, TRANSFER_INIT, TRANSFER_RESP, RESOLVE_PSK,
 RESOLVE_PK, RESOLVE_RESP, KEY_PSK, KEY_PKE, KEY_RESP, I_1, R_1, I_2, R_2,
 SAKKE_MSG) = range(27)  # fmt: skip
SRTP_ID, EMPTY, GENERIC_ID = 0, 1, 2
DH_SIZES = {0: 192, 1: 96, 2: 128}


@dataclass
class Draft:
    """A message in its parts; what is right or wrong in it is decided elsewhere."""

    kind: int
    payloads: Chain
    prf: int = 0
    v: int = 0
    csb_id: int = 0
    map_type: int = SRTP_ID
    entries: list[bytes] = field(default_factory=list)
    version: int = 1
    count: int | None = None
    behind: bytes = b""
    init: Draft | None = None
    """The message that it answers, or an update follows."""

    def build(self) -> bytes:
        count = len(self.entries) if self.count is None else self.count
        first = self.payloads[0][0] if self.payloads else 0
        head = struct.pack("!BBBBIBB", self.version, self.kind, first, self.v << 7 | self.prf,
                           self.csb_id, count, self.map_type)  # fmt: skip
        out = head + b"".join(self.entries)
        numbers = [number for number, _ in self.payloads[1:]] + [0]
        for after, (number, content) in zip(numbers, self.payloads, strict=True):
            out += content if number == SIGN else bytes([after]) + content
        return out + self.behind

    @classmethod
    def read(cls, raw: bytes, init: Draft | None = None) -> Draft:
        """A message of MIKEY-TICKET in its parts."""
        parsed = ticket.read(raw)
        head = parsed.header
        return cls(head.data_type, list(parsed.payloads), head.prf, raw[3] >> 7, head.csb_id,
                   raw[9], [one.pack() for one in head.sessions], init=init)  # fmt: skip

    def numbers(self) -> list[int]:
        return [number for number, _ in self.payloads]

    def at(self, number: int) -> int:
        return self.numbers().index(number)

    def copy(self) -> Draft:
        return replace(self, payloads=list(self.payloads), entries=list(self.entries))


class Writer:
    """Writes correct messages of all data types, as chance has it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tickets: list[Draft] = []

    def octets(self, length: int) -> bytes:
        return self.chance.randbytes(length) if length else b""

    def maybe(self, *payloads: tuple[int, bytes]) -> Chain:
        return list(payloads) if self.chance.random() < 0.6 else []

    def t(self, *, counter: bool = False) -> tuple[int, bytes]:
        """T (RFC 3830 6.6), a moment ago; sometimes a COUNTER where that is allowed."""
        if counter and self.chance.random() < 0.2:
            return T, b"\2" + self.octets(4)
        return T, b"\0" + ticket.now()

    def rand(self, size: int | None = None) -> tuple[int, bytes]:
        size = self.chance.choice((16, 17, 32, 64, 255)) if size is None else size
        return RAND, bytes([size]) + self.octets(size)

    def who(self) -> bytes:
        user = f"u{self.chance.randrange(1 << 30)}"
        forms = (f"sip:{user}@example.org", f"tel:+{self.chance.randrange(1 << 40)}",
                 f"sips:{user}@a.b.example", f"urn:x:{user}")  # fmt: skip
        return self.chance.choice(forms).encode()

    def id(self, who: bytes | None = None) -> tuple[int, bytes]:
        """ID of type URI or NAI (6.7)."""
        if who is None and self.chance.random() < 0.2:
            return ID, b"\0" + struct.pack("!H", 9) + b"a@b.e.org"
        who = self.who() if who is None else who
        return ID, b"\1" + struct.pack("!H", len(who)) + who

    def policy(self, number: int) -> tuple[int, bytes]:
        """SP for SRTP (6.10.1, RFC 4771 4, RFC 7714 14.3); defaults may be left out."""
        rate = self.chance.choice((0, 1 << self.chance.randrange(25)))
        params: dict[int, int] = {7: 1, 8: 1, 10: 1}
        if self.chance.random() < 0.3:
            params |= {0: 6, 1: self.chance.choice((16, 32)), 2: 0, 3: 0, 4: 12, 20: 16}
            del params[10]
        else:
            params |= {0: 1, 1: self.chance.choice((16, 24, 32)), 2: 1, 3: 20, 4: 14,
                       11: self.chance.choice((4, 10))}  # fmt: skip
        params |= {5: 0, 6: rate} if self.chance.random() < 0.5 else {}
        items = list(params.items())
        self.chance.shuffle(items)
        body = b""
        for kind, value in items:
            size = max(1, (value.bit_length() + 7) // 8)
            body += bytes([kind, size]) + value.to_bytes(size)
        return SP, struct.pack("!BBH", number, 0, len(body)) + body

    def crypto_sessions(self, *, open_: bool) -> tuple[int, list[bytes], Chain]:
        """Map type, map and policies (6.1.1); `open_` leaves SSRCs to the responder."""
        policies = self.chance.randrange(1, 4)
        entries = []
        for at in range(self.chance.randrange(1, 6)):
            ssrc = 0 if open_ and self.chance.random() < 0.3 else 1000 * at + 7
            entries.append(struct.pack("!BII", at % policies, ssrc, self.chance.randrange(3)))
        used = min(policies, len(entries))
        return SRTP_ID, entries, [self.policy(number) for number in range(used)]

    def kemac(self, prf: int, *, mac: bool, clear: Chain | None = None) -> tuple[int, bytes]:
        """KEMAC (6.2), encrypted unless its content is given."""
        alg = 3 if prf else self.chance.choice((1, 2))
        data = self.octets(8 * self.chance.randrange(4, 12))
        if clear is not None:
            alg, data = 0, ticket.chain(clear)
        size = 0 if not mac else 32 if prf else 20
        number = {0: 0, 20: 1, 32: 2}[size]
        return KEMAC, bytes([alg]) + struct.pack("!H", len(data)) + data + bytes([number]) + (
            self.octets(size)
        )

    def v(self, prf: int) -> tuple[int, bytes]:
        return V, bytes([2 if prf else 1]) + self.octets(32 if prf else 20)

    def sign(self, kind: int = 0) -> tuple[int, bytes]:
        size = 129 if kind == 2 else self.chance.choice((256, 384))
        return SIGN, struct.pack("!H", kind << 12 | size) + self.octets(size)

    def pke(self) -> tuple[int, bytes]:
        return PKE, struct.pack("!H", 256) + self.octets(256)

    def cert(self) -> tuple[int, bytes]:
        """CERT of type URL (6.7)."""
        url = b"http://example.org/" + str(self.chance.randrange(1 << 30)).encode() + b".cer"
        return CERT, b"\1" + struct.pack("!H", len(url)) + url

    def dh(self, group: int) -> tuple[int, bytes]:
        return DH, bytes([group]) + self.octets(DH_SIZES[group]) + b"\0"

    def extension(self) -> tuple[int, bytes]:
        """General Extension: Vendor ID, or a type for private use (6.15)."""
        data = self.octets(self.chance.randrange(20)).hex().encode()
        kind = self.chance.choice((0, 250))
        return GENERAL_EXT, struct.pack("!BH", kind, len(data)) + data

    def key(self) -> tuple[int, bytes]:
        """A TEK that fits any of the policies with 128-bit AES-CM, with an SPI (6.13)."""
        return KEY_DATA, struct.pack("!BH", TEK << 4 | 1, 16) + self.octets(16) + b"\4" + (
            self.octets(4)
        )

    def draft(self, kind: int, payloads: Chain, **more: object) -> Draft:
        """A message, sometimes with extensions behind T."""
        if self.chance.random() < 0.2 and kind not in (I_1, R_1, I_2, R_2):
            at = 1 + [number for number, _ in payloads].index(T)
            payloads = [*payloads[:at], self.extension(), *payloads[at:]]
        draft = Draft(kind, payloads, csb_id=self.chance.randrange(1 << 32))
        for name, value in more.items():
            setattr(draft, name, value)
        return draft

    def answer(self, kind: int, payloads: Chain, init: Draft, **more: object) -> Draft:
        """A message with the header of the one that it answers, and SSRCs filled in."""
        entries = [
            entry[:1] + struct.pack("!I", 500_000 + at) + entry[5:] if entry[1:5] == bytes(4)
            else entry
            for at, entry in enumerate(init.entries)
        ]  # fmt: skip
        values = {"prf": init.prf, "csb_id": init.csb_id, "map_type": init.map_type,
                  "entries": entries, "init": init}  # fmt: skip
        return self.draft(kind, payloads, **values | more)

    # RFC 3830, 4650 and 4738

    def pre_shared(self) -> list[Draft]:
        prf = self.chance.randrange(2)
        map_type, entries, policies = self.crypto_sessions(open_=True)
        where = {"prf": prf, "map_type": map_type, "entries": entries, "v": 1}
        ids = [*self.maybe(self.id()), *self.maybe(self.id())]
        t = self.t(counter=True)
        rand = self.rand()
        init = self.draft(PSK, [t, rand, *ids, *policies, self.kemac(prf, mac=True)], **where)
        answer = self.answer(PSK_VER, [t, *self.maybe(self.id()), self.v(prf)], init)
        update = self.draft(PSK, [self.t(), *ids, self.kemac(prf, mac=True)], **where)
        update.csb_id, update.init = init.csb_id, init
        return [init, answer, update]

    def camera(self) -> list[Draft]:
        """A key in the clear, as RTSP servers send it."""
        _, entries, _ = self.crypto_sessions(open_=True)
        params = bytes.fromhex("000101 010110 020101 030114 070101 080101 0a0101 0b010a")
        policy = SP, struct.pack("!BBH", 0, 0, len(params)) + params
        entries = [b"\0" + entry[1:] for entry in entries]
        kemac = self.kemac(0, mac=False, clear=[self.key()])
        return [self.draft(PSK, [self.t(), self.rand(), policy, kemac], entries=entries)]

    def public_key(self) -> list[Draft]:
        prf = self.chance.randrange(2)
        map_type, entries, policies = self.crypto_sessions(open_=True)
        t = self.t()
        chash = self.maybe((CHASH, b"\2" + self.octets(32)))
        payloads = [t, self.rand(), *self.maybe(self.id()), *self.maybe(self.cert()),
                    *self.maybe(self.id()), *policies, self.kemac(prf, mac=True), *chash,
                    self.pke(), self.sign()]  # fmt: skip
        init = self.draft(PK, payloads, prf=prf, map_type=map_type, entries=entries, v=1)
        return [init, self.answer(PK_VER, [t, *self.maybe(self.id()), self.v(prf)], init)]

    def diffie_hellman(self) -> list[Draft]:
        hmac_ = self.chance.random() < 0.5
        prf, group = 0 if hmac_ else self.chance.randrange(2), self.chance.choice((0, 0, 1, 2))
        map_type, entries, policies = self.crypto_sessions(open_=True)
        t, mine, i, r = self.t(counter=True), self.dh(group), self.id(), self.id()
        end = [(KEMAC, bytes([0, 0, 0, 1]) + self.octets(20)) if hmac_ else self.sign()]
        cert = [] if hmac_ else self.maybe(self.cert())
        ids = [*self.maybe(i), r] if hmac_ else [i, *cert, *self.maybe(r)]
        kinds = (DHHMAC_INIT, DHHMAC_RESP) if hmac_ else (DH_INIT, DH_RESP)
        init = self.draft(kinds[0], [t, self.rand(), *ids, *policies, mine, *end], prf=prf,
                          map_type=map_type, entries=entries, v=1)  # fmt: skip
        both = [self.dh(group), mine]
        answer = [t, *([r] if hmac_ else [*self.maybe(r)]), *cert, i, *both, *end]
        if hmac_ and i not in init.payloads:
            init.payloads.insert(init.at(ID), i)
        return [init, self.answer(kinds[1], answer, init)]

    def rsa_r(self) -> list[Draft]:
        prf, group = self.chance.randrange(2), self.chance.random() < 0.4
        map_type, entries, policies = self.crypto_sessions(open_=True)
        rand = self.maybe(self.rand())
        t = self.t(counter=True)
        offered = [] if group else self.maybe(*policies)
        init = self.draft(RSA_R_I, [t, *rand, *self.maybe(self.id()), *self.maybe(self.cert()),
                                    *self.maybe(self.id()), *offered, self.sign()],
                          prf=prf, map_type=map_type, entries=entries, v=1)  # fmt: skip
        if group:
            init.entries = []
        mine = [self.rand()] if group or not rand else []
        new = [(GENERAL_EXT, struct.pack("!BH", 4, 4) + self.octets(4))] if group else []
        answer = self.answer(
            RSA_R_R,
            [*new, t, *mine, *self.maybe(self.id()), *self.maybe(self.cert()),
             *(policies if group or offered else []), self.kemac(prf, mac=True), self.pke(),
             self.sign()],
            init,
        )  # fmt: skip
        if group:
            answer.entries = [entry[:1] + struct.pack("!I", 7 + at) + entry[5:]
                              for at, entry in enumerate(entries)]  # fmt: skip
        return [init, answer]

    def error(self) -> list[Draft]:
        prf = self.chance.randrange(2)
        errors = [(ERR, bytes([self.chance.randrange(16), 0, 0]))] * self.chance.randrange(1, 3)
        end = self.maybe(self.chance.choice((self.v(prf), self.sign())))
        return [self.draft(ERROR, [self.t(), *errors, *end], prf=prf, map_type=EMPTY)]

    # RFC 6267 and 6509

    def idr(self, role: int, who: bytes | None = None) -> tuple[int, bytes]:
        return ticket.idr(role, self.who() if who is None else who)

    def ibake(self) -> list[Draft]:
        i, r, kms = self.idr(1), self.idr(2), self.idr(3, b"kms.example.org")
        t, prf = self.t(), 0
        secret = (IBAKE, struct.pack("!H", 80) + self.octets(80))
        psk = self.draft(KEY_PSK, [t, self.rand(), i, kms, *self.maybe(self.idr(4)), self.v(prf)],
                         map_type=EMPTY)  # fmt: skip
        pke = self.draft(KEY_PKE, [t, self.rand(), i, *self.maybe(self.cert()), kms, self.pke(),
                                   self.sign()], map_type=EMPTY)  # fmt: skip
        asked = self.chance.choice((psk, pke))
        keys = (KEMAC, b"\1\0\x20" + self.octets(32) + b"\0")
        got = self.answer(KEY_RESP, [t, i, kms, keys, self.v(prf)], asked)
        one = self.draft(I_1, [t, self.rand(), i, r, secret], map_type=EMPTY)
        two = self.answer(R_1, [t, i, r, secret], one)
        esk = self.maybe((ESK, struct.pack("!H", 40) + self.octets(40)))
        three = self.answer(I_2, [self.t(), self.rand(), i, r, secret, *esk], two)
        three.payloads[0] = t
        return [psk, pke, got, one, two, three, self.answer(R_2, [t, self.v(prf)], three)]

    def sakke(self) -> list[Draft]:
        critical = self.chance.random() < 0.5
        ids = [self.idr(1, b"tel:+4611"), self.idr(2, b"tel:+4622")]
        if critical:
            hide = self.chance.random() < 0.5
            ids = [ticket.idr(role + 7 * hide, self.octets(32) if hide else self.who())
                   for role in (1, 2)]  # fmt: skip
        ids += [self.idr(role, b"kms.example.org") for role in (6, 7)]
        data = struct.pack("!BBH", 1, 1 + critical, 273) + self.octets(273)
        session = struct.pack("!BBBBH", 6, 0, 1, 0, 0) + b"\0"
        extensions = self.maybe((GENERAL_EXT, struct.pack("!BH", 6, len(data) + 1) + b"\0" + data))
        policy = self.maybe(self.policy(0)) if critical else [self.policy(0)]
        payloads = [self.t(), self.rand(), *ids, *policy, (SAKKE, data),
                    *(extensions if critical else []), self.sign(2)]  # fmt: skip
        made = self.draft(SAKKE_MSG, payloads, prf=1, map_type=GENERIC_ID, entries=[session])
        if critical and self.chance.random() < 0.5:
            made.map_type, made.entries = EMPTY, []
        if not policy:
            made.map_type, made.entries = EMPTY, []
        return [made]

    # RFC 6043

    def flags(self) -> str:
        """Flags of which 6.10 holds, for a ticket of a KMS."""
        flags = {"D", "E", "O"} | {letter for letter in "FGHIJLMN" if self.chance.random() < 0.6}
        if "F" not in flags:
            flags -= {"G", "M", "I"}
        return "".join(sorted(flags if flags & {"G", "H"} else flags | {"H"}))

    def policy_of(self, payloads: Chain) -> Chain:
        """TP Data with more of what 6.10 allows."""
        rekey = self.maybe((TR, struct.pack("!BBI", 4, 3, self.chance.randrange(1, 1 << 20))))
        more = [*self.maybe(self.idr(5)), *self.maybe(self.idr(2))]
        return [*payloads[:4], *rekey, payloads[4], *more, *payloads[5:]]

    def exchange(self) -> list[Draft]:
        """Ticket Request, Transfer and Resolve between the second implementation's roles."""
        alice, bob, kms_id = self.who(), self.who(), b"sip:kms.example.org"
        suite, flags = SUITES[self.chance.randrange(2)], self.flags()
        psks = {b"a": (alice, self.octets(suite.key)), b"b": (bob, self.octets(suite.key))}
        kms = Kms(kms_id, self.octets(suite.key), psks)
        initiator = Initiator(alice, kms_id, psks[b"a"][1], b"a", suite, edit_tp=self.policy_of)
        responder = Responder(bob, kms_id, psks[b"b"][1], b"b", suite)
        request = initiator.request_init(bob, flags, self.chance.choice((TGK, TGK_SALT)))
        got = kms.handle(request)
        initiator.request_resp(got)
        sent = Key(TEK_SALT, self.octets(suite.key), self.octets(14), b"\0\0\0\7")
        mine = [sent] if "L" in flags and self.chance.random() < 0.5 else None
        init = initiator.transfer_init(bob, [17, None] if "F" in flags else [17], mine)
        resolve = responder.receive(init)
        resolved = kms.handle(resolve)
        responder.resolve_resp(resolved)
        found = [Draft.read(request)]
        found.append(Draft.read(got, found[0]))
        found.append(Draft.read(init))
        found.append(Draft.read(resolve))
        found.append(Draft.read(resolved, found[3]))
        first = found[2]
        found += [self.signed(one) for one in (found[0], found[3])]
        if "F" in flags:
            theirs = None
            if "M" in flags and mine is None and self.chance.random() < 0.5:
                theirs = [sent]
            found.append(Draft.read(responder.transfer_resp(18, theirs)[0], first))
            found += self.update(first, found[-1], flags)
        error = self.draft(ERROR, [self.t(), (ERR, b"\x0c\0\0"), self.v(first.prf)],
                           prf=first.prf, csb_id=first.csb_id, map_type=GENERIC_ID)  # fmt: skip
        error.init = first
        return [*found, error]

    def update(self, first: Draft, answer: Draft, flags: str) -> list[Draft]:
        """A CSB update of either end and its answer (5.2), sometimes with what is static."""
        by_initiator = self.chance.random() < 0.5
        ids = [one for one in first.payloads if one[0] == IDR]
        ids = ids if by_initiator else ids[::-1]
        rands = [one for one in (*first.payloads, *answer.payloads) if one[0] == RANDR]
        kemac = (KEMAC, bytes([3 if first.prf else 1, 0, 40]) + self.octets(40) + b"\0")
        keys = [kemac] if ("L" if by_initiator else "M") in flags else []
        repeats = self.chance.random() < 0.4
        static = [one for one in first.payloads if one[0] == TICKET] if repeats else []
        made = [self.t(), *(self.chance.sample(rands, len(rands)) if repeats else []),
                *(ids if repeats else self.maybe(*ids)), *static, *keys,
                self.v(first.prf)]  # fmt: skip
        update = Draft(TRANSFER_INIT, made, first.prf, 1, first.csb_id, GENERIC_ID,
                       list(answer.entries), init=self.chance.choice((first, answer)))  # fmt: skip
        theirs = [kemac] if ("M" if by_initiator else "L") in flags else []
        got = [self.t(), ids[-1], *theirs, self.v(first.prf)]
        return [update, self.answer(TRANSFER_RESP, got, update, entries=list(answer.entries))]

    def signed(self, message: Draft) -> Draft:
        """The public-key variant of a request (4.2.1.3)."""
        made = message.copy()
        made.kind += 1
        kept = [one for one in made.payloads if one[0] != V and one[1][:1] != b"\4"]
        made.payloads = [*kept, *self.maybe((CHASH, b"\2" + self.octets(32))), self.pke(),
                         self.sign()]  # fmt: skip
        return made

    def messages(self) -> list[Draft]:
        """The messages of one exchange of any mode."""
        modes: tuple[Callable[[], list[Draft]], ...] = (
            self.pre_shared, self.camera, self.public_key, self.diffie_hellman, self.rsa_r,
            self.error, self.ibake, self.sakke, self.exchange, self.exchange,
        )  # fmt: skip
        return self.chance.choice(modes)()
