"""What a KMS must not do, asked by the second implementation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.cli.shell import Shell
from tests.independent.public_key import PKE, SigningInitiator
from tests.independent.rfc6043 import (
    GTGK,
    IDR,
    KMS_ROLE,
    PSK_ROLE,
    SUITES,
    TGK,
    TR,
    Chain,
    Parsed,
    V,
    idr,
    now,
    unchain,
)
from tests.independent.roles import Kms
from tests.independent.test_errors import CASES, number_of, refused
from tests.independent.test_interop import (
    ALICE,
    BOB,
    KMS_ID,
    NAMES,
    PSKS,
    TPK,
    b64,
    initiator,
    kms,
    responder,
    unb64,
)

__all__ = ["kms"]

FLAGS = "DEFGHIJNO"


# --- RANDs and long keys (12.1, interpretation 40) --------------------------------------------


@pytest.mark.parametrize(
    ("profile", "key", "rand", "good"),
    [
        (128, 16, 16, True), (128, 16, 15, False), (128, 64, 16, True), (128, 64, 15, False),
        (256, 32, 32, True), (256, 32, 31, False), (256, 32, 16, False),
        (256, 64, 64, True), (256, 64, 63, False), (256, 64, 32, False), (256, 16, 16, True),
    ],
)  # fmt: skip
def test_rands_and_pre_shared_keys(
    shell: Shell, profile: int, key: int, rand: int, good: bool
) -> None:
    psk = bytes(range(key))
    shell.ok(f"mikeytool kms init -q kms.db --id {KMS_ID.decode()} --tpk {TPK.hex()}")
    shell.ok(f"mikeytool kms user add kms.db {ALICE.decode()} --psk {psk.hex()} --psk-id psk-alice")
    alice = replace(initiator(profile), psk=psk, rand_size=rand)
    message = alice.request_init(BOB, FLAGS)
    if good:
        alice.request_resp(unb64(shell.ok(f"mikeytool kms handle kms.db {b64(message)}")))
    else:
        assert number_of(refused(shell, message)) == 12


@pytest.mark.parametrize(
    ("profile", "rand", "good"),
    [(128, 16, True), (128, 15, False), (256, 32, False), (256, 64, True), (256, 63, False)],
)
def test_rands_and_ticket_protection_keys(
    shell: Shell, profile: int, rand: int, good: bool
) -> None:
    """The ticket of a peer whose TPK has 64 octets."""
    tpk = bytes(range(64))
    kms = Kms(KMS_ID, tpk, {NAMES[ALICE]: (ALICE, PSKS[ALICE])})
    kms.rand_size = rand
    alice = initiator(profile)
    alice.request_resp(kms.handle(alice.request_init(BOB, "FGHJLNO")))
    init = alice.transfer_init(BOB, [0x11111111, None])
    command = (
        f"mikeytool transfer respond {b64(init)} --as {BOB.decode()} --session b --tpk {tpk.hex()}"
    )
    if good:
        alice.transfer_resp(unb64(shell.ok(command)))
    else:
        shell.fails(command, 1, "RANDs")


# --- tickets (6.10) ---------------------------------------------------------------------------


def call(kms: Kms, flags: str, key_type: int = TGK) -> bytes:
    """A TRANSFER_INIT with a ticket of the second KMS, which makes whatever is asked for."""
    alice = initiator(128)
    alice.request_resp(kms.handle(alice.request_init(BOB, flags, key_type)))
    return alice.transfer_init(BOB, [0x11111111])


def second_kms(tpk: bytes = TPK) -> Kms:
    return Kms(KMS_ID, tpk, {NAMES[who]: (who, psk) for who, psk in PSKS.items()})


def resolve(kms: Shell, init: bytes) -> Parsed:
    """The Error message that the tool's KMS gives to Bob."""
    return refused(kms, responder(128).receive(init))


def test_a_forked_tgk_without_an_answer(kms: Shell) -> None:
    """I with a TGK needs F: neither made nor resolved; a GTGK is not forked."""
    init = call(second_kms(), "DEHIJNO")
    assert number_of(resolve(kms, init)) == 15
    group = call(second_kms(), "DEHIJNO", GTGK)
    kms.ok(f"mikeytool kms handle kms.db {b64(responder(128).receive(group))}")
    create = f"mikeytool ticket create --as {ALICE.decode()} --to {BOB.decode()} --tpk {TPK.hex()}"
    kms.fails(f"{create} --save t --flags EHIJLNO", 1, "F flag")
    kms.ok(f"{create} --save t --flags EHIJLNO --key-type gtgk")
    kms.fails(f"{create} --save t2 --ticket-type 2", 1, "ticket type")


def test_the_client_does_not_take_such_a_ticket(shell: Shell, tmp_path: Path) -> None:
    request = (
        f"mikeytool ticket request --as {ALICE.decode()} --psk {PSKS[ALICE].hex()} --psk-id"
        f" psk-alice --to {BOB.decode()} --kms-id {KMS_ID.decode()} --pending p"
    )
    asked = shell.ok(f"{request} --flags DEHIJNO")
    (tmp_path / "answer").write_bytes(second_kms().handle(unb64(asked)))
    shell.fails("mikeytool ticket accept answer --pending p --save t", 1, "F flag")
    shell.fails(f"{request} --flags DEFGHIJKNO --force", 2, "K is for the KMS")


@pytest.mark.parametrize("which", ["no SPI", "an interval"])
def test_keys_without_spi_are_not_handed_out(kms: Shell, which: str) -> None:
    """6.2.1: every key has an SPI."""
    maker = second_kms()
    maker.kv = 0 if which == "no SPI" else 2
    assert number_of(resolve(kms, call(maker, FLAGS))) == 14


def test_what_is_not_expected_in_tp_data_is_ignored(kms: Shell) -> None:
    """TRi, also twice and as a COUNTER, roles and payloads that do not belong there."""
    alice = initiator(128)
    more: Chain = [
        (TR, b"\1\3" + now()[:4]), (TR, b"\1\2" + bytes(4)), (TR, b"\x09\0" + now()),
        idr(PSK_ROLE, b"x", 2), idr(PSK_ROLE, b"y", 2), idr(8, b"z"), (V, b"\0"),
    ]  # fmt: skip
    alice.edit_tp = lambda chain: [*more, *chain]
    asked = alice.request_init(BOB, FLAGS)
    held = alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(asked)}")))
    kinds = [kind for kind, _ in unchain(held.ticket.tp_data[0], held.ticket.tp_data[1:])]
    assert kinds.count(TR) == 2
    maker, alice = second_kms(), initiator(128)
    alice.edit_tp = lambda chain: [*more, *chain]
    alice.request_resp(maker.handle(alice.request_init(BOB, FLAGS)))
    bob = responder(128)
    asked = bob.receive(alice.transfer_init(BOB, [0x11111111, None]))
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(asked)}")))


# --- tickets of another KMS (10) --------------------------------------------------------------

OTHER, CAROL = b"sip:kms.example.net", b"sip:carol@example.net"


def foreign(name: bytes | None, kms: bytes | None = None) -> bytes:
    """TRANSFER_INIT with a ticket of Carol's KMS, which names its key like that in IDRpsk."""
    maker = Kms(OTHER, TPK, {b"psk-carol": (CAROL, bytes(16))})
    maker.tpk_id = name
    carol = replace(initiator(128), identity=CAROL, kms=OTHER, psk=bytes(16), psk_id=b"psk-carol")

    def edit(chain: Chain) -> Chain:
        rest = [one for one in chain if one[0] != IDR or one[1][0] != KMS_ROLE]
        return rest if kms is None else [idr(KMS_ROLE, kms), *rest]

    carol.edit_tp = edit
    carol.request_resp(maker.handle(carol.request_init(BOB, FLAGS)))
    return carol.transfer_init(BOB, [0x11111111, None])


@pytest.mark.parametrize("name", [None, OTHER, b"a name", b"tpk-1"])
@pytest.mark.parametrize("peer", ["none", "speaks for others", "speaks for her"])
def test_a_foreign_ticket_that_names_no_kms(kms: Shell, name: bytes | None, peer: str) -> None:
    """Forwarded by IDRpsk or by its initiator, or refused; never tried with the own key."""
    if peer != "none":
        kms.ok(f"mikeytool kms init -q far.db --id {OTHER.decode()} --tpk {TPK.hex()}")
        kms.ok(f"mikeytool kms user add far.db {CAROL.decode()} --psk {bytes(16).hex()}")
        key = bytes(range(32)).hex()
        pattern = "sip:*@example.net" if peer == "speaks for her" else "sip:*@example.org"
        kms.ok(
            f"mikeytool kms peer add kms.db {OTHER.decode()} --store far.db --psk {key}"
            f" --for '{pattern}'\n"
            f"mikeytool kms peer add far.db {KMS_ID.decode()} --store kms.db --psk {key}"
            " --for 'sip:*@example.com'"
        )
    bob = responder(128)
    message = bob.receive(foreign(name))
    if peer == "speaks for her" and name in (None, b"tpk-1"):
        # Her KMS resolves it: there it is an own ticket, and the key has that name.
        bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(message)}")))
        return
    assert number_of(refused(kms, message)) in (12, 14)
    log = kms.ok("mikeytool kms log kms.db --json").splitlines()[-1]
    assert "MAC of the ticket" not in log
    if peer == "speaks for her":
        assert "resolve" in kms.ok("mikeytool kms log far.db --json")


def test_an_own_ticket_that_names_no_kms(kms: Shell) -> None:
    """Its initiator is a user here."""
    maker, alice = second_kms(), initiator(128)
    alice.edit_tp = lambda chain: [one for one in chain if one[1] != idr(KMS_ROLE, KMS_ID)[1]]
    alice.request_resp(maker.handle(alice.request_init(BOB, FLAGS)))
    bob = responder(128)
    asked = bob.receive(alice.transfer_init(BOB, [0x11111111, None]))
    bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(asked)}")))


# --- public keys (4.2.1.3, 5.4) ---------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Shell(tmp_path_factory.mktemp("keys"))
    rsa = "mikeytool keygen rsa -q --bits 2048 --identity"
    for name, who in (("one", KMS_ID), ("two", KMS_ID), ("alice", ALICE)):
        made.ok(f"{rsa} {who.decode()} -o {name}.pem --cert-out {name}.crt")
    return made.folder


def private_key(path: Path) -> RSAPrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.fixture
def signing(shell: Shell, keys: Path) -> SigningInitiator:
    """Alice, and a KMS with two key pairs that knows her by her certificate."""
    shell.ok(
        f"mikeytool kms init -q kms.db --id {KMS_ID.decode()} --private-key {keys}/one.pem --cert"
        f" {keys}/one.crt\n"
        f"mikeytool kms key add kms.db --private-key {keys}/two.pem --cert {keys}/two.crt\n"
        f"mikeytool kms user add kms.db {ALICE.decode()} --cert {keys}/alice.crt"
    )
    certificate = load_pem_x509_certificate((keys / "alice.crt").read_bytes())
    return SigningInitiator(
        ALICE, KMS_ID, b"", b"", SUITES[0],
        key=private_key(keys / "alice.pem"),
        certificate=certificate.public_bytes(Encoding.DER),
        kms_key=private_key(keys / "one.pem").public_key(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("prf", [0, 1])
def test_without_chash_every_key_pair_is_tried(
    shell: Shell, signing: SigningInitiator, keys: Path, name: str, prf: int
) -> None:
    """The wrong key looks right once in 245 times; then another request is made."""
    signing.kms_key, signing.suite = private_key(keys / f"{name}.pem").public_key(), SUITES[prf]
    for attempt in range(3):
        message = signing.request_init(BOB, FLAGS)
        answer = unb64(shell.ok(f"mikeytool kms handle kms.db {b64(message)}"))
        try:
            signing.request_resp(answer)
        except AssertionError:
            assert attempt < 2
        else:
            return


SIGNED = ["TRr as NTP-UTC", "two IDRkms", "two IDRi", "cut TP Data", "two TPs", "no TP", "no T",
          "an encrypted KEMAC in TP", "RANDRi of 8 octets", "no RANDRi"]  # fmt: skip


@pytest.mark.parametrize("name", [*SIGNED, "no PKE"])
def test_a_signed_request_that_breaks_one_rule(
    shell: Shell, signing: SigningInitiator, name: str
) -> None:
    """It is answered too, without a MAC, as the envelope key is not known yet."""
    case = CASES.get(name)
    number = 12
    if case is None:
        signing.edit = lambda chain: [one for one in chain if one[0] != PKE]
    else:
        number = case.number
        signing.edit, signing.edit_tp = case.edit or signing.edit, case.edit_tp or signing.edit_tp
        signing.rand_size = case.rand_size
    answer = refused(shell, signing.request_init(BOB, FLAGS))
    assert number_of(answer) == number
    assert V not in [kind for kind, _ in answer.payloads]
    broken = bytearray(signing.sent)
    broken[-1] ^= 1
    assert shell.run(f"mikeytool kms handle kms.db {b64(bytes(broken))}").out == ""
