"""Checks of the client's room that its other tests do not see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.x509 import UniformResourceIdentifier

from mikeytool.client.key_text import parse_key
from mikeytool.client.public_key import PublicKey
from mikeytool.client.ticket_files import TicketFile
from mikeytool.client.tickets import make_ticket_file
from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.public_key import Recipient, Signer
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.registry import KeyType, TicketFlag
from tests.crypto.test_certificates import certificate, private_key
from tests.world import ALICE, BOB, FORKING, KMS, YEAR, World


@pytest.mark.parametrize("text", ["b64:", "b64:=", "b64:AAAA*", "b64:AAAAA", ""])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"is empty|no base64"):
        parse_key(text, "--key")


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_file_without_a_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match="the key is empty"):
        parse_key(f"file:{tmp_path}/key", "--key")


def test_a_ticket_without_the_kms_has_the_keys_that_were_asked_for(world: World) -> None:
    for keys in ((wanted_key(KeyType.TGK, 16, 0),), ()):
        policy = world.policy("EFGHIJLNO", keys=keys)
        assert TicketFlag.D not in policy.flags
        made = make_ticket_file(world.env, policy, b"t" * 16)
        assert len(made.keys.keys) == len(keys)


def test_a_resolved_ticket_whose_file_lost_a_part(world: World) -> None:
    """RANDRkms without the responder, and the other way round."""
    held = world.held(FORKING)
    init = read_transfer_init(world.call(held))
    resolved = world.resolved(init.raw)
    whole = TicketFile.of_resolved(init.ticket, resolved, BOB).json()
    assert TicketFile.of_json(whole).modifier is not None
    for name in ("responder", "randr_kms"):
        part = json.loads(json.dumps({key: value for key, value in whole.items() if key != name}))
        assert TicketFile.of_json(part).modifier is None


def test_a_certificate_of_the_kms_that_has_expired_takes_no_request(world: World) -> None:
    theirs = certificate("kms", None, [UniformResourceIdentifier(str(KMS))])
    own = certificate("alice", None, [UniformResourceIdentifier(str(ALICE))])
    key = PublicKey(Signer(private_key("alice"), (own,)), Recipient(theirs))
    ticket = world.held(FORKING).ticket
    world.clock.now = int(theirs.not_valid_after_utc.timestamp()) * NS + YEAR
    with pytest.raises(Refused, match="expired"):
        key.request(world.env, world.policy(), ALICE, KMS)
    with pytest.raises(Refused, match="expired"):
        key.resolve(world.env, PROFILE_128, ticket, ALICE, KMS)
