"""The responder's side of Ticket Transfer (RFC 6043 4.2.2.2, 4.2.2.3).

Call `read_transfer_init` and `check_acceptable` before asking the KMS. Call `verify_transfer_init`
once the ticket is resolved, then `transfer_resp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import Arrange, CsSpec, answer_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import check_mac_alg
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.session import CryptoSession, Session, check_session_keys
from mikeytool.exchange.ticket import check_fit, check_spis
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    F,
    TransferInit,
    as_number,
    check_apps,
    check_transfer_rands,
    check_usable,
    check_vi,
    encr_alg_of,
    open_own_kemac,
    refuse_unless,
    transfer_header,
    transfer_rand_length,
)
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import RANDR, SP, KeyData, Payload
from mikeytool.wire.registry import DataType, ErrorNo, IdRole, RandRole


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
                f"no security policy offered for crypto session {entry.cs_id} is supported",
                ErrorNo.INVALID_SPPAR,
            )


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

    If IDRr is omitted, `local` is used; if IDRi is omitted, the ticket's IDRi is used.
    """
    if resolved.policy != init.policy:
        raise Refused("another ticket was resolved than this message carries")
    initiator = init.initiator or init.policy.initiator
    if initiator is None:
        raise Refused("neither the message nor its ticket names the initiator", ErrorNo.INVALID_ID)
    responder = init.responder or local
    keys = init.keys(resolved.keys.mpki.key, response=False)
    check_mac(init.incoming, keys, initiator.data + responder.data)
    check_vi(init)
    return VerifiedInit(init, resolved, initiator)


def transfer_resp(
    env: Environment,
    verified: VerifiedInit,
    accept_policy: AcceptPolicy,
    *,
    local: Identity,
    crypto_sessions: Sequence[CsSpec] = (),
    policies: Sequence[SP] = (),
    kemac_keys: Sequence[KeyData] = (),
    arrange: Arrange | None = None,
) -> tuple[bytes | None, Session]:
    """Make the TRANSFER_RESP (None if the F flag asks for no answer) and the responder's session.

    Decrypts the initiator's KEMAC first. `local` is the IDRr of the answer, unless the KMS sent
    one, which is then echoed. `policies` are used where the initiator offered none. `kemac_keys`
    need the M flag (4.2.2.3). `arrange` may change the crypto sessions of the answer. Draws RANDRr
    if the G flag asks for it, then an SSRC for each crypto session without one.
    """
    init, resolved = verified.init, verified.resolved
    policy, flags = init.policy, init.policy.flags
    refuse_unless(
        not kemac_keys or F.M in flags, "the ticket has no M flag: the responder must not send keys"
    )
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
    chosen = _complete(env, init, session_keys, accept_policy, crypto_sessions, policies, arrange)
    session = Session(
        init.incoming.csb_id,
        IdRole.RESPONDER,
        answering,
        verified.initiator,
        policy,
        init.randr_i,
        randr_r,
        mpk,
        session_keys,
        tuple(chosen),
        as_number(init.incoming.t),
    )
    session.check()
    if F.F not in flags:
        return None, session
    return _answer(env, verified, session, kemac_keys)


def _answer(
    env: Environment, verified: VerifiedInit, session: Session, kemac_keys: Sequence[KeyData]
) -> tuple[bytes, Session]:
    """Return the TRANSFER_RESP for a session, and the session after sending it."""
    init, modifier = verified.init, verified.resolved.modifier
    keys = init.keys(session.mpk, response=True, randr_r=session.randr_r)
    t = env.timestamp()
    payloads: list[Payload] = [t.payload()]
    if session.randr_r:
        payloads.append(RANDR(rand_role=RandRole.RESPONDER.value, rand=session.randr_r))
    payloads.append(session.local.idr(IdRole.RESPONDER))
    if modifier is not None:
        payloads.append(RANDR(rand_role=RandRole.KMS.value, rand=modifier.randr_kms))
    chosen = session.crypto_sessions
    new = {
        c.policy.policy_no: c.policy
        for c in chosen
        if c.policy is not None and c.policy.policy_no not in init.policies
    }
    payloads += new.values()
    profile = init.incoming.profile
    if kemac_keys:
        payloads.append(seal_kemac(encr_alg_of(init.incoming), kemac_keys, keys, session.csb_id, t))
    entries = [c.entry for c in chosen]
    header = transfer_header(DataType.TRANSFER_RESP, profile, session.csb_id, entries, v=False)
    answer = protect(header, payloads, profile, keys, init.raw)
    return answer.raw, replace(session, last_t=max(session.last_t, as_number(t)))


def _complete(
    env: Environment,
    init: TransferInit,
    keys: Sequence[KeyData],
    accept_policy: AcceptPolicy,
    crypto_sessions: Sequence[CsSpec],
    policies: Sequence[SP],
    arrange: Arrange | None,
) -> list[CryptoSession]:
    if F.F in init.policy.flags:
        return answer_map(
            env,
            init.entries,
            init.policies,
            keys,
            accept_policy,
            crypto_sessions,
            policies,
            arrange,
        )
    if crypto_sessions:
        raise UsageError("the ticket has no F flag: there is no answer to put anything in")
    return [CryptoSession(e, init.policies[e.policies[0]], True) for e in init.entries]
