"""RESOLVE_INIT handed on between KMSs (RFC 6043 10, interpretation 38)."""

from __future__ import annotations

from mikeytool.crypto.derive import message_keys
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.forwarding import (
    forward_resolve_init,
    path_of,
)
from mikeytool.exchange.resolve import accept_resolve_resp, read_resolve_init, resolve_resp_with
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, TICKET, GeneralExt, V
from mikeytool.wire.registry import IdRole, RandRole
from tests.world import BOB, KMS, World, identities, psk_of, rand_of

FAR = Identity.from_text("sip:kms.far.example")
NEAR = Identity.from_text("sip:kms.near.example")
SHARED = b"shared by the two KMSs, 32 octets"


def handed_on(world: World) -> tuple[bytes, bytes]:
    """Bob's RESOLVE_INIT, and the one that his KMS makes of it."""
    init = world.resolving(read_transfer_init(world.call(world.held())).ticket)
    return init, forward_resolve_init(
        world.env,
        read_resolve_init(init),
        responder=BOB,
        path=[NEAR, FAR],
        kms=KMS,
        psk=SHARED,
    ).raw


def test_idrr_and_ticket_are_kept_and_idrpsk_names_the_key(world: World) -> None:
    """RFC 6043 10: IDRr and TICKET SHOULD be reused."""
    init, onward = map(Message.parse, handed_on(world))
    mine, theirs = init.find(TICKET), onward.find(TICKET)
    assert mine is not None
    assert theirs is not None
    assert mine.ticket_data == theirs.ticket_data
    assert mine.initiator_data == theirs.initiator_data
    ids = {p.id_role: p.id_data for p in onward.all(IDR)}
    assert ids == {IdRole.RESPONDER: BOB.data, IdRole.KMS: KMS.data, IdRole.PSK: FAR.data}
    assert onward.header.csb_id != init.header.csb_id


def test_it_is_protected_with_the_key_of_the_two(world: World) -> None:
    """RFC 6043 5.5: the MAC of RESOLVE_INIT covers IDRr and IDRkms."""
    _, raw = handed_on(world)
    message = Message.parse(raw)
    v = message.payloads[-1]
    assert isinstance(v, V)
    keys = message_keys(
        message.header.prf,
        SHARED,
        message.header.csb_id,
        response=False,
        randr_r=rand_of(message.payloads, RandRole.RESPONDER),
    )
    covers = raw[: -len(v.ver_data)] + identities(message.payloads, IdRole.RESPONDER, IdRole.KMS)
    assert mac_is_good(v.auth_alg, keys, covers, v.ver_data)


def test_the_kmss_on_the_way_are_named(world: World) -> None:
    init, onward = handed_on(world)
    assert path_of(read_resolve_init(onward).incoming, FAR) == (NEAR, FAR)
    assert path_of(read_resolve_init(init).incoming, FAR) == (FAR,)
    assert all(one.type == 0 for one in Message.parse(onward).all(GeneralExt))  # Vendor ID


def test_the_answer_is_made_anew_for_the_responder(world: World) -> None:
    """Keys, IDRr and RANDRkms are those of the other KMS; MAC and encryption are not."""
    call = world.call(world.held())
    resolved = world.resolved(call)
    init = world.resolving(read_transfer_init(call).ticket)
    request = read_resolve_init(init)
    keys, modifier = resolved.keys, resolved.modifier
    answer = resolve_resp_with(world.env, request, psk_of(BOB), FAR, keys, modifier)
    again = accept_resolve_resp(world.env, read_resolve_init(init), psk_of(BOB), answer)
    assert again.modifier == resolved.modifier
    assert again.keys.sub_payloads() == resolved.keys.sub_payloads()
