"""The responder's side of Ticket Transfer (RFC 6043 4.2.2.2, 4.2.2.3).

Call `read_transfer_init` and `check_acceptable` before asking the KMS. Call `verify_transfer_init`
once the ticket is resolved, then `transfer_resp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mikeytool.crypto.derive import MessageKeys
from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import Arrangement, Brought, CsSpec, answer_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import check_mac_alg
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.session import CryptoSession, Session, check_session_keys
from mikeytool.exchange.ticket import check_fit, check_spis
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    Agreed,
    F,
    TransferInit,
    check_apps,
    check_transfer_rands,
    check_usable,
    check_vi,
    encr_alg_of,
    open_own_kemac,
    refuse_unless,
    session_of,
    transfer_header,
    transfer_rand_length,
)
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import RANDR, SP, KeyData, Payload
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, RandRole

_NO_M = (
    "the ticket has no M flag: the responder must not send keys; the initiator has to request one"
    " with --flags=+M"
)
_MOST_NAMES = 16
"""How many identities are tried if a TRANSFER_INIT leaves out IDRr."""


def check_acceptable(
    env: Environment,
    init: TransferInit,
    accept_policy: AcceptPolicy,
    apps: Sequence[Identity] = (),
) -> None:
    """Refuse what a responder can refuse without asking the KMS (4.2.2.2). Raises Refused.

    `apps` are the application IDs of this end. A ticket that names applications is valid only for
    those.
    """
    check_usable(init.policy, env, init.initiator, F.O)
    env.check_fresh(init.incoming.t)
    check_apps(init.policy, apps)
    check_mac_alg(init.incoming.profile, init.incoming.v.auth_alg)
    check_vi(init)
    for entry in init.entries:
        offered = [init.policies[number] for number in entry.policies]
        if offered and not any(map(accept_policy, offered)):
            raise Refused(
                f"no security policy offered for crypto session {entry.cs_id} is supported, or is"
                " one of --suite",
                ErrorNo.INVALID_SPPAR,
            )


def check_media(
    env: Environment, init: TransferInit, brought: Brought, kemac_keys: Sequence[KeyData]
) -> None:
    """Refuse what this end cannot bring to an answer, before anything is asked or remembered.

    Raises UsageError for crypto sessions that contradict the offer, and Refused for keys that the
    ticket does not allow. SPIs that crypto sessions name are known only when the ticket is
    resolved, and a caller can be told of policies that do not fit only then.
    """
    refuse_unless(
        not kemac_keys or F.M in init.policy.flags,
        _NO_M,
    )
    check_session_keys(kemac_keys, init.policy.prf)
    check_spis(kemac_keys)
    bare = [replace(spec, spi=None) for spec in brought.crypto_sessions]
    with suppress(Refused):
        _complete(env, init, (), replace(brought, crypto_sessions=bare))


@dataclass(frozen=True, slots=True)
class VerifiedInit:
    """A verified TRANSFER_INIT with its resolved ticket."""

    init: TransferInit
    resolved: ResolvedTicket
    initiator: Identity


def verify_transfer_init(
    init: TransferInit, resolved: ResolvedTicket, local: Identity
) -> VerifiedInit:
    """Verify TRANSFER_INIT with MPKi (4.2.3.6). Raises Refused.

    If IDRi is omitted, the ticket's IDRi is used; if IDRr is omitted, it is `local` or one of the
    ticket's responders, such as a group (interpretation 4).
    """
    if resolved.policy != init.policy:
        raise Refused("another ticket was resolved than this message carries")
    initiator = init.initiator or init.policy.initiator
    if initiator is None:
        raise Refused("neither the message nor its ticket names the initiator", ErrorNo.INVALID_ID)
    keys = init.keys(resolved.keys.mpki.key, response=False)
    *others, last = _called(init, resolved, local)
    for name in others:
        with suppress(Refused):
            check_mac(init.incoming, keys, initiator.data + name.data)
            break
    else:
        check_mac(init.incoming, keys, initiator.data + last.data)
    check_vi(init)
    return VerifiedInit(init, resolved, initiator)


def _called(init: TransferInit, resolved: ResolvedTicket, local: Identity) -> list[Identity]:
    """Return the identities that may be the IDRr under the MAC of a TRANSFER_INIT."""
    if init.responder is not None:
        return [init.responder]
    acting = [] if resolved.responder is None else [resolved.responder]
    return list(dict.fromkeys([local, *acting, *init.policy.responders]))[:_MOST_NAMES]


def transfer_resp(
    env: Environment,
    verified: VerifiedInit,
    accept_policy: AcceptPolicy,
    *,
    local: Identity,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
    arrangement: Arrangement | None = None,
) -> tuple[bytes | None, Session]:
    """Make the TRANSFER_RESP (None if the F flag asks for no answer) and the responder's session.

    Decrypts the initiator's KEMAC first. `local` is the IDRr of the answer, unless the KMS sent
    one, which is then echoed. `policies` are used where the initiator offered none. `kemac_keys`
    need the M flag (4.2.2.3). `arrangement` may change the crypto sessions of the answer. Draws
    RANDRr if the G flag asks for it, then an SSRC for each crypto session without one.
    """
    init, resolved = verified.init, verified.resolved
    policy, flags = init.policy, init.policy.flags
    refuse_unless(not kemac_keys or F.M in flags, _NO_M)
    check_fit(encr_alg_of(init.incoming), kemac_keys)
    answering = resolved.responder or local
    mpki = resolved.keys.mpki.key
    mpk = mpki if resolved.keys.mpkr is None else resolved.keys.mpkr.key
    session_keys = (
        *kemac_keys,
        *open_own_kemac(init.incoming, init.keys(mpki, response=False)),
        *resolved.keys.keys,
    )
    check_spis(session_keys)
    check_session_keys(session_keys, policy.prf)
    policy.check_forks(resolved.keys.keys)
    length = transfer_rand_length(resolved.keys, session_keys)
    randr_r = env.random(length) if F.G in flags else b""
    check_transfer_rands(init.randr_i, randr_r, [mpki, mpk], session_keys)
    brought = Brought(accept_policy, crypto_sessions, policies, arrangement)
    chosen = _complete(env, init, session_keys, brought)
    answer: Message | None = None
    if F.F in flags:
        keys = init.keys(mpk, response=True, randr_r=randr_r)
        answer = _answer(env, verified, answering, randr_r, keys, chosen, kemac_keys)
    resp = None if answer is None else Incoming.read(answer, DataType.TRANSFER_RESP)
    agreed = Agreed(
        IdRole.RESPONDER, answering, verified.initiator, resp, mpk, session_keys, tuple(chosen)
    )
    session = session_of(init, agreed, env.clock())
    return (None if answer is None else answer.raw), session


def _answer(
    env: Environment,
    verified: VerifiedInit,
    local: Identity,
    randr_r: bytes,
    keys: MessageKeys,
    chosen: Sequence[CryptoSession],
    kemac_keys: Sequence[KeyData],
) -> Message:
    """Make the TRANSFER_RESP, under `keys`."""
    init, modifier = verified.init, verified.resolved.modifier
    incoming, csb_id = init.incoming, init.incoming.csb_id
    t = env.timestamp(incoming.t)
    payloads: list[Payload] = [t.payload(), *env.extensions()]
    if randr_r:
        payloads.append(RANDR(rand_role=RandRole.RESPONDER.value, rand=randr_r))
    payloads.append(local.idr(IdRole.RESPONDER))
    if modifier is not None:
        payloads.append(RANDR(rand_role=RandRole.KMS.value, rand=modifier.randr_kms))
    new = {
        c.policy.policy_no: c.policy
        for c in chosen
        if c.policy is not None and c.policy.policy_no not in init.policies
    }
    payloads += new.values()
    if kemac_keys:
        payloads.append(seal_kemac(encr_alg_of(incoming), kemac_keys, keys, csb_id, t))
    entries = [c.entry for c in chosen]
    header = transfer_header(DataType.TRANSFER_RESP, incoming.profile, csb_id, entries, v=False)
    return protect(header, payloads, incoming.profile, keys, init.raw)


def _complete(
    env: Environment,
    init: TransferInit,
    keys: Sequence[KeyData],
    brought: Brought,
) -> list[CryptoSession]:
    if F.F in init.policy.flags:
        return answer_map(env, init.entries, init.policies, keys, brought)
    if brought.crypto_sessions:
        raise UsageError("the ticket has no F flag: there is no answer to put anything in")
    return [CryptoSession(e, init.policies[e.policies[0]], True) for e in init.entries]
