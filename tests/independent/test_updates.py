"""CSB updates between the second implementation and mikeytool's commands (RFC 6043 5.2).

The second implementation keeps to the RFC and not to what mikeytool has decided for the messages
that it writes itself (interpretations 41, 42 and 44).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.recover import recover_session
from mikeytool.exchange.update import observed_update
from tests.cli.shell import Shell
from tests.independent.bundle import Bundle, counter, ntp, ntp32
from tests.independent.rfc6043 import (
    I_ROLE,
    R_ROLE,
    SP,
    TEK_SALT,
    TGK,
    Chain,
    CryptoSession,
    Key,
    T,
    idr,
    randr,
    read,
)
from tests.independent.roles import Responder, policy_sp
from tests.independent.test_interop import (
    ALICE,
    BOB,
    KMS_ID,
    NAMES,
    PSKS,
    as_user,
    b64,
    cs,
    initiator,
    kms,
    media_of,
    responder,
    unb64,
)

__all__ = ["kms"]

FLAGS = "DEFGHIJLMNO"
TYPES = {"NTP-UTC": 0, "NTP": 1, "COUNTER": 2, "NTP-UTC-32": 3}
EVERY = list(TYPES.values())


def stamps(kind: int, first: int = 100) -> Callable[[], bytes]:
    """Makes T of a type, one after the other; a plain peer's counter goes up by one."""
    count = iter(range(first, first + 1000))
    if kind == 3:
        return lambda: ntp32(next(count))
    return lambda: counter(next(count)) if kind == 2 else ntp(kind)


def key(number: int, kind: int = TEK_SALT) -> Key:
    octets = bytes(range(number, number + 16))
    return Key(kind, octets, octets[:14] if kind == TEK_SALT else None, bytes([0, 0, 3, number]))


def tool_answers(
    kms: Shell, stamp: Callable[[], bytes] | None = None, flags: str = FLAGS
) -> Bundle:
    """Alice of the second implementation calls; the session of Bob's is in bob.session."""
    alice = initiator(128)
    if stamp is not None:
        alice.stamp = stamp
    request = alice.request_init(BOB, flags)
    alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(request)}")))
    init = alice.transfer_init(BOB, [0x11111111, None] if "F" in flags else [0x11111111])
    answer = kms.ok(
        f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session bob.session"
        " --force"
    )
    if "F" not in flags:
        return Bundle.of_initiator(alice, None)
    alice.transfer_resp(unb64(answer))
    return Bundle.of_initiator(alice, unb64(answer))


def tool_calls(
    kms: Shell,
    stamp: Callable[[], bytes] | None = None,
    flags: str = FLAGS,
    more: Chain | None = None,
) -> Bundle:
    """Bob of the second implementation answers; the session of Alice's is in alice.session."""
    kms.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} --kms kms.db"
        f" --save alice.ticket --flags {flags} --force"
    )
    init = kms.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {BOB.decode()} {cs('F')}"
        " --session alice.session --force"
    )
    bob = responder(128)
    if stamp is not None:
        bob.stamp = stamp
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(bob.receive(unb64(init)))}")))
    answer, _ = bob.transfer_resp(0x22222222, more=more)
    kms.ok(f"mikeytool transfer finish {b64(answer)} --session alice.session")
    return Bundle.of_responder(bob, answer)


def under(bundle: Bundle, new: Key) -> list[CryptoSession]:
    """Every crypto session under a new key."""
    return [one._replace(spi=new.spi) for one in bundle.sessions.values()]


def rekeyed(kms: Shell, bundle: Bundle, path: str, t: bytes, number: int, **how: Any) -> bytes:
    """Update the tool's session with a key of the peer's; gives the answer, which is right."""
    new = key(number)
    raw = bundle.update(t, under(bundle, new), [new], **how)
    answer = unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}"))
    bundle.finish(answer)
    assert media_of(kms, path) == bundle.media
    assert bundle.media[1] == (new.spi, new.key, new.salt)
    return answer


def refused(kms: Shell, raw: bytes, path: str, *words: str) -> str:
    """What the tool prints, an Error message or nothing, when it refuses an update."""
    return kms.fails(
        f"mikeytool transfer respond {b64(raw)} --session {path}", 1, *words
    ).out.strip()


@pytest.fixture(params=["responder", "initiator"])
def session(request: pytest.FixtureRequest, kms: Shell) -> Callable[..., tuple[Bundle, str]]:
    """Sets up a session in which the tool has a role: the peer's side, and the session file."""

    def made(stamp: Callable[[], bytes] | None = None, flags: str = FLAGS) -> tuple[Bundle, str]:
        if request.param == "responder":
            return tool_answers(kms, stamp, flags), "bob.session"
        return tool_calls(kms, stamp, flags), "alice.session"

    return made


# --- T of every type (interpretation 42) --------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY, ids=TYPES)
@pytest.mark.parametrize("later", EVERY, ids=TYPES)
def test_timestamps_of_every_type(kms: Shell, kind: int, later: int) -> None:
    """Interpretation 42: the tool answers in the type of the initial message and goes on in it,
    whatever the other end writes later.
    """
    alice = tool_answers(kms, stamps(kind))
    assert alice.resp is not None
    assert alice.resp.get(T)[0] == kind
    if kind == 2:
        assert alice.resp.get(T) == alice.init.get(T)
    after = stamps(later, 200)
    for number in (1, 2):
        answer = rekeyed(kms, alice, "bob.session", after(), number)
        assert read(answer).get(T)[0] == kind
    update = unb64(kms.ok("mikeytool transfer update --session bob.session --kemac tek+salt"))
    assert read(update).get(T)[0] == kind
    raw = alice.answer(update, after(), read(update).header.sessions)
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session bob.session")
    assert media_of(kms, "bob.session") == alice.media
    rekeyed(kms, alice, "bob.session", after(), 3)


@pytest.mark.parametrize("kind", EVERY, ids=TYPES)
def test_an_answer_in_every_type(kms: Shell, kind: int) -> None:
    """The tool calls in NTP-UTC, goes on in it, and takes what a plain peer writes."""
    after = stamps(kind)
    bob = tool_calls(kms, after)
    rekeyed(kms, bob, "alice.session", after(), 1)
    update = unb64(kms.ok("mikeytool transfer update --session alice.session --kemac tek+salt"))
    assert read(update).get(T)[0] == 0
    raw = bob.answer(update, after(), read(update).header.sessions)
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session alice.session")
    assert media_of(kms, "alice.session") == bob.media
    rekeyed(kms, bob, "alice.session", after(), 2)


def test_counters_only_grow(kms: Shell) -> None:
    """RFC 3830 5.4; interpretation 41: above the last COUNTER of that end, and of no other."""
    alice = tool_answers(kms, lambda: counter(7))
    raw = alice.update(counter(8), under(alice, key(1)), [key(1)])
    answer = unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session bob.session"))
    alice.finish(answer)
    refused(kms, raw, "bob.session", "seen already")
    own = kms.ok("mikeytool transfer update --session bob.session --kemac tek+salt")
    used = [int.from_bytes(read(one).get(T)[1:]) for one in (raw, answer, unb64(own))]
    assert used == sorted(set(used))
    for number in (6, 7, 8):
        late = alice.update(counter(number), under(alice, key(2)), [key(2)])
        told = refused(kms, late, "bob.session")
        assert alice.error(unb64(told)) == 1  # Invalid TS
    refused(kms, unb64(own), "bob.session", "one's own")
    # Alice counts for herself, and need not know how far Bob has come.
    rekeyed(kms, alice, "bob.session", counter(9), 3)


def test_a_counter_that_is_used_up(kms: Shell) -> None:
    alice = tool_answers(kms, lambda: counter(0xFFFFFFFE))
    raw = alice.update(counter(0xFFFFFFFF), under(alice, key(1)), [key(1)])
    refused(kms, raw, "bob.session", "COUNTER")
    alice = tool_answers(kms, lambda: counter(0xFFFFFFFF))
    update = "mikeytool transfer update --session bob.session --kemac tek+salt"
    kms.fails(update, 1, "set up another session")


@pytest.mark.parametrize("kind", EVERY, ids=TYPES)
def test_errors_have_the_type_of_what_they_answer(kms: Shell, kind: int) -> None:
    """RFC 6043 5.4: a fresh T, or the COUNTER again."""
    after = stamps(kind)
    alice = tool_answers(kms, after)
    t = after()
    [one, two] = alice.sessions.values()
    raw = alice.update(t, [one._replace(policies=b"\7"), two])
    told = unb64(refused(kms, raw, "bob.session", "policy 7"))
    assert alice.error(told) == 9
    assert read(told).get(T)[0] == kind
    assert (read(told).get(T) == t) == (kind == 2)


# --- what is new, and what was seen (interpretation 41) -----------------------------------------


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("kind", [0, 1], ids=["NTP-UTC", "NTP"])
def test_a_plain_peer_has_any_lowest_bit(
    kms: Shell, session: Callable[..., tuple[Bundle, str]], bit: int, kind: int
) -> None:
    """Interpretation 41: the lowest bit binds what is written, not what is read."""
    peer, path = session()
    rekeyed(kms, peer, path, ntp(kind, bit=bit), 1)
    rekeyed(kms, peer, path, ntp(kind, seconds=1, bit=bit), 2)


@pytest.mark.parametrize("seconds", [-250, -1, -0.001, 250])
def test_a_time_within_the_skew(
    kms: Shell, session: Callable[..., tuple[Bundle, str]], seconds: float
) -> None:
    """Interpretation 41: T may lie below the last, even of the same end, and is taken once."""
    peer, path = session()
    rekeyed(kms, peer, path, ntp(seconds=seconds + 2), 1)
    raw = peer.update(ntp(seconds=seconds), under(peer, key(2)), [key(2)])
    peer.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}")))
    told = refused(kms, raw, path, "seen")
    assert peer.error(unb64(told)) == 1
    own = unb64(kms.ok(f"mikeytool transfer update --session {path} --kemac tek+salt"))
    assert read(own).ts > max(peer.init.ts, read(raw).ts)


@pytest.mark.parametrize("seconds", [-400, 400])
def test_a_time_beyond_the_skew(
    kms: Shell, session: Callable[..., tuple[Bundle, str]], seconds: float
) -> None:
    peer, path = session()
    raw = peer.update(ntp(seconds=seconds), under(peer, key(2)), [key(2)])
    told = refused(kms, raw, path, "clock")
    assert peer.error(unb64(told)) == 1


def test_the_t_of_the_initial_exchange_is_not_new(kms: Shell) -> None:
    """RFC 6043 5.2: an update has a new timestamp."""
    alice = tool_answers(kms)
    raw = alice.update(alice.init.get(T), under(alice, key(1)), [key(1)])
    refused(kms, raw, "bob.session", "seen already")


def test_what_one_has_sent_comes_back(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """Interpretation 41: it has the right keys, and is told by its MAC. Nobody is answered."""
    peer, path = session()
    old = kms.ok(f"mikeytool transfer update --session {path} --kemac tek+salt")
    new = kms.ok(f"mikeytool transfer update --session {path} --kemac tek+salt")
    raw = peer.answer(unb64(new), ntp(), read(unb64(new)).header.sessions)
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session {path}")
    for own in (old, new):
        assert refused(kms, unb64(own), path, "one's own") == ""


def test_the_first_message_again(kms: Shell) -> None:
    """Without an answer it has the keys that updates have, and repeats all that is static."""
    alice = tool_answers(kms, flags="DEHJLNO")
    raw = b64(alice.init.raw)
    kms.fails(f"mikeytool transfer respond {raw} --session bob.session", 1, "seen already")
    kms.fails(
        f"mikeytool transfer respond {raw} {as_user(BOB)} --kms kms.db --session other", 1, "replay"
    )
    rekeyed(kms, alice, "bob.session", ntp(), 1)


# --- what an update should not have (interpretation 44) -----------------------------------------


@pytest.mark.parametrize("flags", [FLAGS, "DEFGHJLMNO", "DEFHJLMNO"])
def test_an_update_repeats_what_is_static(kms: Shell, flags: str) -> None:
    """Interpretation 44: it should not (5.2), and what is equal is taken, in any part."""
    alice = tool_answers(kms, flags=flags)
    rekeyed(kms, alice, "bob.session", ntp(), 1, payloads=alice.static())
    rekeyed(kms, alice, "bob.session", ntp(seconds=1), 2, payloads=alice.static(ticket=False))
    rekeyed(kms, alice, "bob.session", ntp(seconds=2), 3, payloads=alice.static()[-1:])
    rekeyed(kms, alice, "bob.session", ntp(seconds=3), 4, roles=())
    rekeyed(kms, alice, "bob.session", ntp(seconds=4), 5, roles=(R_ROLE,))
    bob = tool_calls(kms, flags=flags)
    rekeyed(kms, bob, "alice.session", ntp(), 1, payloads=bob.static())


def test_what_is_not_repeated_but_new(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """Interpretation 44 and 5.2: other RANDs, tickets or identities are refused, with the right
    MAC, and the other end is told.
    """
    peer, path = session()
    kind, ticket = peer.static()[-1]
    other = ticket.replace(b"sip:", b"sIp:", 1)
    changed: list[tuple[Chain, tuple[int, ...], int]] = [
        ([randr(I_ROLE, bytes(16))], (), 12),
        ([randr(R_ROLE, bytes(16))], (), 12),
        ([randr(3, bytes(16))], (), 12),
        ([(kind, other)], (), 14),
        ([idr(R_ROLE, b"sip:eve@example.com")], (), 7),
        ([idr(I_ROLE, BOB)], (), 7),
    ]
    for payloads, roles, number in changed:
        new = key(1)
        raw = peer.update(ntp(), under(peer, new), [new], payloads, roles=roles)
        told = refused(kms, raw, path)
        assert peer.error(unb64(told)) == number
    peer.keys = [one for one in peer.keys if one.spi != key(1).spi]
    rekeyed(kms, peer, path, ntp(), 2)


@pytest.mark.parametrize("by_initiator", [True, False], ids=["initiator", "responder"])
def test_decode_verifies_what_repeats_and_what_leaves_out(kms: Shell, by_initiator: bool) -> None:
    """With the exchange before it; an update without identities takes them from there."""
    peer = tool_answers(kms) if by_initiator else tool_calls(kms)
    tpk = bytes(range(200, 232)).hex()
    assert peer.resp is not None
    exchange = [peer.init.raw, peer.resp.raw]
    each: list[dict[str, Any]] = [{"payloads": peer.static()}, {"roles": ()}, {}]
    for at, how in enumerate(each):
        new = key(at + 1)
        exchange.append(peer.update(ntp(seconds=at), under(peer, new), [new], **how))
    kms.path("all").write_text("".join(f"{b64(one)}\n" for one in exchange))
    shown = kms.ok(f"mikeytool decode all --json --tpk {tpk} --show-keys").splitlines()
    opened = [json.loads(line)["opened"] for line in shown]
    assert [one["mac"] for one in opened] == ["verified"] * 5
    assert [one["initiator_data"] for one in opened] == ["verified", None, "verified", None, None]
    assert opened[4]["keys"][0]["key"] == key(3).key.hex()
    # What is made again with the keys is what was there.
    kms.path("json").write_text("\n".join(shown))
    assert kms.ok(f"mikeytool encode json --tpk {tpk}") == kms.path("all").read_text().strip()
    # A flipped bit is still a wrong MAC, repeated or not.
    bad = exchange[2][:-1] + bytes([exchange[2][-1] ^ 1])
    kms.path("bad").write_text("".join(f"{b64(one)}\n" for one in [*exchange[:2], bad]))
    found = kms.run(f"mikeytool decode bad --json --tpk {tpk}")
    assert found.code == 1
    assert json.loads(found.out.splitlines()[2])["opened"]["mac"] == "FAILED"
    # With the TRANSFER_INIT alone, RANDRr is missing, unless the update repeats it.
    kms.path("init").write_text(b64(exchange[0]))
    for at, expected in ((2, "verified"), (4, "not checked")):
        alone = kms.ok(f"mikeytool decode {b64(exchange[at])} --json --tpk {tpk} --init init")
        assert json.loads(alone)["opened"]["mac"] == expected


# --- policies (4.2.2.3) -------------------------------------------------------------------------


def test_a_policy_is_sent_again(kms: Shell) -> None:
    """4.2.2.3: it should not be, and says nothing new; another under its number is refused."""
    bob = tool_calls(kms, more=[policy_sp(0, 16)])
    rekeyed(kms, bob, "alice.session", ntp(), 1, payloads=[policy_sp(0, 16)])
    new = key(2)
    other = (SP, policy_sp(0, 16)[1][:-1] + b"\4")
    raw = bob.update(ntp(), under(bob, new), [new], [other])
    told = refused(kms, raw, "alice.session")
    assert bob.error(unb64(told)) == 9  # Invalid SP


def test_another_policy_under_the_number_of_an_offered_one(kms: Shell) -> None:
    with pytest.raises(AssertionError, match="said something else"):
        tool_calls(kms, more=[(SP, policy_sp(0, 16)[1][:-1] + b"\4")])


def test_an_update_takes_up_a_policy_that_was_offered_before(kms: Shell) -> None:
    """An SP is static: an update may name one that came with the initial exchange."""
    bob = tool_calls(kms, more=[(SP, b"\5" + policy_sp(0, 16)[1][1:-1] + b"\4")])
    [one, two] = bob.sessions.values()
    raw = bob.update(ntp(), [two._replace(policies=b"\5")])
    bob.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session alice.session")))
    shown = json.loads(kms.ok("mikeytool transfer show alice.session --json"))
    suites = [each["suite"] for each in shown["crypto_sessions"]]
    assert suites == ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]
    assert one.policies == b"\0"


# --- crypto sessions that change ----------------------------------------------------------------


def test_a_peer_changes_its_own_stream(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """SSRC, ROC and SEQ, policy and key of a crypto session, in an update and its answer."""
    peer, path = session()
    own = 1 if path == "bob.session" else 2
    moved = b"\x99\x99\x99\x99" + (5).to_bytes(4) + (7).to_bytes(2)
    changed = peer.sessions[own]._replace(session_data=moved, s=1, policies=b"\1")
    raw = peer.update(ntp(), [changed], payloads=[(SP, b"\1" + policy_sp(0, 16)[1][1:-1] + b"\4")])
    answer = peer.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}")))
    assert answer.header.sessions == [changed]
    shown = json.loads(kms.ok(f"mikeytool transfer show {path} --json"))["crypto_sessions"]
    one, other = shown[own - 1], shown[2 - own]
    assert (one["ssrc"], one["roc"], one["seq"]) == ("0x99999999", 5, 7)
    assert (one["suite"], one["direction"]) == ("AES_CM_128_HMAC_SHA1_32", "recv")
    assert (other["suite"], other["roc"]) == ("AES_CM_128_HMAC_SHA1_80", 0)


def test_what_an_update_leaves_out_of_a_stream_stays(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """Session Data, policy and SPI may be left out of an initial message (6.1.1)."""
    peer, path = session()
    before = dict(peer.sessions)
    bare = [CryptoSession(number, b"", b"", b"") for number in before]
    raw = peer.update(ntp(), bare)
    peer.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}")))
    assert peer.sessions == before
    new = key(1)
    raw = peer.update(ntp(seconds=1), bare, [new])
    peer.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}")))
    assert peer.sessions == {number: one._replace(spi=new.spi) for number, one in before.items()}
    assert media_of(kms, path) == peer.media


def test_the_tool_changes_its_own_stream(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    peer, path = session()
    own = 2 if path == "bob.session" else 1
    update = unb64(
        kms.ok(
            f"mikeytool transfer update --session {path} --suite AES_CM_128_HMAC_SHA1_32"
            f" --cs dir=send,id={own},ssrc=0x77777777,roc=3,seq=9"
        )
    )
    [changed] = read(update).header.sessions
    assert (changed.cs_id, changed.s, changed.policies) == (own, 1, b"\1")
    assert changed.session_data.hex() == "77777777" + "00000003" + "0009"
    raw = peer.answer(update, ntp(), [changed])
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session {path}")
    one = json.loads(kms.ok(f"mikeytool transfer show {path} --json"))["crypto_sessions"][own - 1]
    assert (one["ssrc"], one["roc"], one["seq"]) == ("0x77777777", 3, 9)
    assert (one["suite"], one["direction"]) == ("AES_CM_128_HMAC_SHA1_32", "send")
    assert media_of(kms, path) == peer.media


def test_a_tgk_of_an_update_is_not_forked(kms: Shell) -> None:
    alice = tool_answers(kms)
    new = key(9, TGK)
    raw = alice.update(ntp(), under(alice, new), [new])
    alice.finish(unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session bob.session")))
    assert media_of(kms, "bob.session") == alice.media


@pytest.mark.parametrize("roles", [(I_ROLE, R_ROLE), (R_ROLE, I_ROLE), (I_ROLE,), ()])
@pytest.mark.parametrize("repeats", [False, True], ids=["bare", "repeats"])
def test_an_observer_follows(
    kms: Shell,
    session: Callable[..., tuple[Bundle, str]],
    roles: tuple[int, ...],
    repeats: bool,
) -> None:
    """Who started an update is told by the answer, whatever the order of its identities, and
    the lowest bit of its T.
    """
    peer, path = session()
    assert peer.resp is not None
    by_initiator = path == "bob.session"
    new = key(5)
    stream = CryptoSession(3, b"\0", b"\x33" * 4, new.spi)
    payloads = peer.static() if repeats else []
    raw = peer.update(
        ntp(bit=int(by_initiator)), [*under(peer, new), stream], [new], payloads, roles=roles
    )
    answer = unb64(kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}"))
    peer.finish(answer)
    ring = KeyRing(tpks=[(None, bytes(range(200, 232)))])
    before = recover_session(peer.init.raw, peer.resp.raw, ring)
    after = observed_update(before, raw, answer)
    assert {
        one.entry.cs_id: (media.spi, media.key, media.salt)
        for one in after.crypto_sessions
        for media in [after.media_key(one)]
    } == peer.media
    assert [one.by_initiator for one in after.crypto_sessions] == [True, False, by_initiator]


# --- what else an update may be -----------------------------------------------------------------


def test_an_update_that_wants_no_answer(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """V = 0 (5.2): the session changes and nothing is printed; nobody could fill in what misses."""
    peer, path = session()
    new = key(1)
    raw = peer.update(ntp(), under(peer, new), [new], v=0)
    assert kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}") == ""
    peer.take(under(peer, new))
    assert media_of(kms, path) == peer.media
    raw = peer.update(ntp(), [CryptoSession(7, b"\0", b"", new.spi)], v=0)
    told = refused(kms, raw, path, "misses")
    assert peer.error(unb64(told)) == 10
    raw = peer.update(ntp(), [CryptoSession(7, b"\0", b"\7" * 4, new.spi)], v=0)
    kms.ok(f"mikeytool transfer respond {b64(raw)} --session {path}")
    shown = json.loads(kms.ok(f"mikeytool transfer show {path} --json"))["crypto_sessions"]
    assert (shown[2]["cs_id"], shown[2]["direction"]) == (7, "recv")


def test_the_answer_to_an_update_brings_something(
    kms: Shell, session: Callable[..., tuple[Bundle, str]]
) -> None:
    """A key, a policy and a stream of the other end's, and another SSRC for the tool's stream,
    which the other end may ask for (4.2.2.3).
    """
    peer, path = session()
    update = unb64(kms.ok(f"mikeytool transfer update --session {path} --suite"
                          " AES_CM_128_HMAC_SHA1_32"))  # fmt: skip
    own = 2 if path == "bob.session" else 1
    new, sessions = key(4), {one.cs_id: one for one in read(update).header.sessions}
    sessions[own] = sessions[own]._replace(session_data=b"\x44" * 4)
    sessions[9] = CryptoSession(9, b"\x63", b"\x99" * 4, new.spi)
    policy = (SP, b"\x63" + policy_sp(0, 16)[1][1:])
    raw = peer.answer(update, ntp(), list(sessions.values()), [new], [policy])
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session {path}")
    assert media_of(kms, path) == peer.media
    shown = json.loads(kms.ok(f"mikeytool transfer show {path} --json"))["crypto_sessions"]
    assert [one["suite"][-2:] for one in shown] == ["32", "32", "80"]
    assert (shown[own - 1]["ssrc"], shown[2]["cs_id"]) == ("0x44444444", 9)
    assert [one["direction"] for one in shown].count("recv") == 2


@pytest.mark.parametrize("fault", ["drops", "policy", "SPI", "protocol"])
def test_an_answer_to_an_update_that_is_wrong(
    kms: Shell, session: Callable[..., tuple[Bundle, str]], fault: str
) -> None:
    peer, path = session()
    update = unb64(
        kms.ok(f"mikeytool transfer update --session {path} --suite AES_CM_128_HMAC_SHA1_32")
    )
    [one, two] = read(update).header.sessions
    wrong = {
        "drops": [one],
        "policy": [one, two._replace(policies=b"\x09")],
        "SPI": [one, two._replace(spi=b"none")],
        "protocol": [one, two._replace(policies=b"")],
    }[fault]
    raw = peer.answer(update, ntp(), wrong)
    ran = kms.run(f"mikeytool transfer finish {b64(raw)} --session {path}")
    assert ran.code == 1
    assert peer.error(unb64(ran.out.strip())) in (9, 10, 12)
    kms.ok(
        f"mikeytool transfer finish {b64(peer.answer(update, ntp(), [one, two]))} --session {path}"
    )


def test_updates_that_cross(kms: Shell, session: Callable[..., tuple[Bundle, str]]) -> None:
    """Each end answers the update of the other before it has the answer to its own."""
    peer, path = session()
    own = unb64(kms.ok(f"mikeytool transfer update --session {path} --kemac tek+salt"))
    rekeyed(kms, peer, path, ntp(), 1)
    raw = peer.answer(own, ntp(), read(own).header.sessions)
    kms.ok(f"mikeytool transfer finish {b64(raw)} --session {path}")
    assert media_of(kms, path) == peer.media


def test_decode_finds_who_of_a_forked_call_is_updated(kms: Shell) -> None:
    """Two ends answer one call (12.2), and updates without identities go to both."""
    kms.ok(
        f"mikeytool ticket request {as_user(ALICE)} --to {BOB.decode()} --to {ALICE.decode()}"
        f" --kms kms.db --save alice.ticket --flags {FLAGS}"
    )
    init = kms.ok(
        f"mikeytool transfer init --ticket alice.ticket --to {BOB.decode()} {cs('F')} --session s"
    )
    exchange, ends = [unb64(init)], []
    for who in (BOB, ALICE):
        end = Responder(who, KMS_ID, PSKS[who], NAMES[who])
        resolve = b64(end.receive(unb64(init)))
        end.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {resolve}")))
        exchange.append(end.transfer_resp(0x22222222)[0])
        ends.append(Bundle.of_responder(end, exchange[-1]))
    for end_of in ends:
        new = key(1)
        exchange.append(end_of.update(ntp(), under(end_of, new), [new], roles=()))
    kms.path("all").write_text("".join(f"{b64(one)}\n" for one in exchange))
    shown = kms.ok(f"mikeytool decode all --json --tpk {bytes(range(200, 232)).hex()}")
    assert [json.loads(line)["opened"]["mac"] for line in shown.splitlines()] == ["verified"] * 5
