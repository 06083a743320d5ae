"""Describes a session in JSON: its crypto sessions, with their suites and keys."""

from __future__ import annotations

from typing import Any

from mikeytool.client.session_files import ENDED, ESTABLISHED, ROLES, WAITING, SessionFile
from mikeytool.exchange.session import CryptoSession, MediaKey, Proof, Session
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.srtp.security_policy import suite_of
from mikeytool.wire.describe import masked
from mikeytool.wire.registry import IdRole, ProtType, label
from mikeytool.wire.timestamp import LAST_MOMENT, Timestamp


def describe_session(session: Session, now_ns: int, *, show_keys: bool = False) -> dict[str, Any]:
    """Describe a session as `transfer show --json` prints it.

    `now_ns` is the time in Unix nanoseconds; it decides which replaced keys are still accepted.
    Keys are shown as the beginning of their SHA-256 unless `show_keys` is set.
    """
    return {
        "csb_id": f"{session.csb_id:#010x}",
        "role": ROLES[session.role],
        "local": str(session.local),
        "remote": str(session.remote),
        "remote_proof": session.remote_proof,
        "state": ESTABLISHED if session.ended_ns is None else ENDED,
        "ended": _utc(session.ended_ns),
        "rekey_by": _utc(session.rekey_by_ns),
        "crypto_sessions": [
            _crypto_session(session, one, now_ns, show_keys=show_keys)
            for one in session.crypto_sessions
        ],
    }


def _utc(unix_ns: int | None) -> str | None:
    return None if unix_ns is None or unix_ns >= LAST_MOMENT else Timestamp.at(unix_ns).utc


_PROOFS = {
    Proof.MPKR: "; MPKr' proves who answered",
    Proof.KMS: "; only the KMS vouches for the name: whoever may resolve the ticket could give it",
}


def summary(session: Session) -> str:
    """Return a sentence on a session for its initiator: whose it is, and what proves that."""
    proof = "" if session.remote_proof is None else _PROOFS.get(session.remote_proof, "")
    return f"session with {session.remote} is set up{proof}"


def describe_session_file(
    content: SessionFile, now_ns: int, *, show_keys: bool = False
) -> dict[str, Any]:
    """Describe the content of a session file; a session waiting for its answer has no keys yet."""
    if content.session is not None:
        return describe_session(content.session, now_ns, show_keys=show_keys)
    assert content.waiting is not None  # noqa: S101 - there is one of the two
    init = read_transfer_init(content.waiting[0])
    return {
        "csb_id": f"{init.incoming.csb_id:#010x}",
        "role": ROLES[IdRole.INITIATOR],
        "local": str(init.initiator),
        "remote": str(init.responder),
        "state": WAITING,
        "crypto_sessions": [],
    }


def _crypto_session(
    session: Session, crypto_session: CryptoSession, now_ns: int, *, show_keys: bool
) -> dict[str, Any]:
    entry = crypto_session.entry
    media = session.media_key(crypto_session)
    suite_name = None
    if crypto_session.policy is not None:
        found = suite_of(crypto_session.policy)
        suite_name = None if found is None else found.name
    ssrc, any_ssrc = crypto_session.ssrc, session.admits_any(crypto_session)
    key = _key(entry.protocol, media, show_keys=show_keys)
    active = {"spi": media.spi.hex(), **key, "state": "active"}
    return {
        "cs_id": entry.cs_id,
        "protocol": label(ProtType, entry.protocol),
        "direction": "send" if session.is_local(crypto_session) else "recv",
        "ssrc": "any" if any_ssrc else None if ssrc is None else f"{ssrc:#010x}",
        "roc": crypto_session.roc,
        "seq": crypto_session.seq,
        "mki": media.spi.hex(),
        "suite": suite_name,
        **key,
        "keys": [active, *_replaced(session, crypto_session, now_ns, show_keys=show_keys)],
    }


def _replaced(
    session: Session, crypto_session: CryptoSession, now_ns: int, *, show_keys: bool
) -> list[dict[str, str]]:
    """Describe the keys that updates replaced; packets in flight may still use them."""
    state = "overlap" if session.still_valid(crypto_session, now_ns) else "expired"
    replaced = [session.media_key(crypto_session, spi) for spi in crypto_session.previous]
    return [
        {
            "spi": media.spi.hex(),
            **_key(crypto_session.entry.protocol, media, show_keys=show_keys),
            "state": state,
        }
        for media in replaced
    ]


def _key(protocol: int, media: MediaKey, *, show_keys: bool) -> dict[str, str]:
    show = bytes.hex if show_keys else masked
    if protocol != ProtType.SRTP:
        return {"key": show(media.key), "key_id": media.spi.hex()}
    return {"master_key": show(media.key), "master_salt": show(media.salt)}
