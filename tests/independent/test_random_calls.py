"""Calls between mikeytool and the second implementation, with the flags and keys of chance."""

from __future__ import annotations

from tests.cli.shell import Shell
from tests.independent.random_messages import Writer
from tests.independent.rfc6043 import TEK_SALT, TGK, TGK_SALT, Key
from tests.independent.test_interop import (
    BOB,
    as_user,
    b64,
    initiator,
    kms,
    media_of,
    responder,
    unb64,
)
from tests.series import Series

__all__ = ["kms"]


def test_no_role_refuses_a_correct_message(kms: Shell, series: Series) -> None:
    """Requests, transfers and resolves that obey 6.10, with keys of either end or of the KMS."""
    chance = series.chance()
    writer = Writer(chance)
    for at in range(series.length(60, 3)):
        flags, profile = writer.flags(), chance.choice((128, 256))
        alice = initiator(profile)
        request = alice.request_init(BOB, flags, chance.choice((TGK, TGK_SALT)))
        alice.request_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(request)}")))
        size = profile // 8
        key = Key(TEK_SALT, writer.octets(size), writer.octets(14), writer.octets(4))
        mine = [key] if "L" in flags and chance.random() < 0.5 else None
        streams = [chance.randrange(1, 1 << 32), *([None] if "F" in flags else [])]
        init = alice.transfer_init(BOB, streams, mine)
        answer = kms.ok(
            f"mikeytool transfer respond {b64(init)} {as_user(BOB)} --kms kms.db --session s{at}"
        )
        media = alice.transfer_resp(unb64(answer)) if "F" in flags else alice.media_without_answer()
        assert media_of(kms, f"s{at}") == media, (flags, profile)
        if "J" not in flags:
            continue  # nobody else may resolve it
        bob = responder(profile)
        resolve = bob.receive(init)
        bob.resolve_resp(unb64(kms.ok(f"mikeytool kms handle kms.db {b64(resolve)}")))
        assert {one.spi for one in bob.held.keys} >= {one.spi for one in alice.held.keys}
