"""Queries about groups over HTTP, for both sides, authenticated by MACs.

A conference system needs to know the groups of its members. It asks with GET, and proves its
identity with a MAC. The key of the MAC is derived from its pre-shared key. The answer has a MAC
under the same key, and this MAC also covers the MAC of the query. The query and the answer
therefore do not rely on TLS alone. Neither can be mistaken for a message that the pre-shared key
itself protects.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mikeytool.exchange.environment import NS
from mikeytool.exchange.identity_length import checked
from mikeytool.kms.store.records import LogEntry, User, unauthenticated
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr

PATH = "/groups"
SCHEME = "MIKEY-PSK"
ANSWER_HEADER = "Authentication-Info"
"""The header that carries the MAC of the answer (RFC 9110 11.6.3)."""

_LABEL = b"mikeytool groups over HTTP"
_QUERY = re.compile(r"(member|group)=([^&=]{1,3072})")
_AUTHORIZATION = re.compile(
    rf'{SCHEME} +id="([^"\\]{{1,3072}})", *t="(\d{{1,12}})", *mac="([0-9a-f]{{64}})"', re.ASCII
)
_ANSWER = re.compile(r'mac="([0-9a-f]{64})"', re.ASCII)


class Forbidden(Refused):
    """The sender of a query is authenticated, but not allowed to make the query."""


@masked_repr
@dataclass(frozen=True, slots=True)
class SharedKey:
    """A pre-shared key and its name. The name may be the identity of the user."""

    name: Identity
    psk: bytes = field(repr=False)


def target(kind: str, identity: Identity) -> str:
    """Return the target of a query: the groups of a `member`, or whether a `group` exists."""
    return f"{PATH}?{kind}={quote_from_bytes(identity.data, safe='')}"


def authorization(key: SharedKey, query: str, now_ns: int) -> tuple[str, bytes]:
    """Return the Authorization header for a target, and the MAC in it.

    The MAC of the answer covers this MAC.
    """
    t = str(now_ns // NS)
    mac = _query_mac(_derived(key.psk), query, key.name, t)
    return f'{SCHEME} id="{quote_from_bytes(key.name.data)}", t="{t}", mac="{mac.hex()}"', mac


def read_answer(key: SharedKey, mac: bytes, header: str | None, body: bytes) -> list[Identity]:
    """Return the groups in an answer.

    `mac` is the MAC of the query. Raises Refused if the MAC in `header` does not verify, and
    WireError if the body cannot be read.
    """
    found = _ANSWER.fullmatch(header or "")
    expected = _answer_mac(_derived(key.psk), mac, body)
    if found is None or not hmac.compare_digest(bytes.fromhex(found[1]), expected):
        raise Refused(
            "the answer about groups is not from the KMS that has your key: its MAC fails"
        )
    try:
        groups = json.loads(body)["groups"]
        named = [Identity(bytes.fromhex(one["id_hex"]), int(one["id_type"])) for one in groups]
    except (ValueError, KeyError, TypeError):
        raise WireError("the answer about groups cannot be read") from None
    return [checked(one) for one in named]


def answer(store: Store, header: str | None, query: str, now_ns: int) -> tuple[bytes, str]:
    """Return the body of the answer to a query, and the header with its MAC.

    Raises Refused if the sender is not authenticated or is disabled, Forbidden if their clock
    is off or they are not allowed to make the query, and WireError if the query cannot be read.
    """
    user, key, mac, sent = _authenticated(store, header, query, now_ns)
    try:
        about = _permitted(store, user, query, sent, now_ns)
    except Refused as refusal:
        asked = query.removeprefix(f"{PATH}?")
        store.log_refused(
            LogEntry(now_ns, "groups", str(user.identity), asked, "refused", str(refusal))
        )
        raise
    kind = "group" if query.startswith(f"{PATH}?group=") else "member"
    body = json.dumps({"groups": list(_found(store, kind, about))}).encode()
    return body, f'mac="{_answer_mac(key, mac, body).hex()}"'


def _permitted(store: Store, user: User, query: str, sent: int, now_ns: int) -> Identity:
    """The identity that an authenticated user asks about. Raises the same errors as `answer`."""
    if abs(sent - now_ns // NS) > store.policy().max_skew:
        raise Forbidden("the time of the query is too far from this clock; check both")
    if not user.enabled:
        raise Refused(f"the user {user.identity} is disabled")
    parameter = _QUERY.fullmatch(query.removeprefix(f"{PATH}?"))
    if parameter is None:
        raise WireError(f"{PATH} takes one of member=URI and group=URI")
    about = checked(Identity(unquote_to_bytes(parameter[2])))
    if not store.act_as(user.identity) and about != user.identity:
        raise Forbidden("only users who may act as others may ask about others")
    return about


def _found(store: Store, kind: str, about: Identity) -> Iterator[dict[str, str | int]]:
    """The groups of a member, or the group itself if it exists."""
    there = [about] if kind == "group" and store.is_group(about) else []
    for group in store.groups_of(about) if kind == "member" else there:
        yield {"id_hex": group.data.hex(), "id_type": int(group.id_type)}


def _authenticated(
    store: Store, header: str | None, query: str, now_ns: int
) -> tuple[User, bytes, bytes, int]:
    """The sender of a query, the derived key, and the query's MAC and time."""
    found = _AUTHORIZATION.fullmatch(header or "")
    if found is None:
        raise Refused("the Authorization header is missing or cannot be read")
    name, t, mac = checked(Identity(unquote_to_bytes(found[1]))), found[2], bytes.fromhex(found[3])
    # As in messages, a key is identified by its own name or by the identity of its user.
    user = store.owner(name)
    if user is None or user.sealed_psk is None:
        raise Refused(f"the key {name} is not known")
    key = _derived(store.psk(user))
    if not hmac.compare_digest(mac, _query_mac(key, query, name, t)):
        refusal = Refused(f"the MAC of {name} does not verify")
        store.log_refused(unauthenticated(now_ns, "groups", user.identity, str(refusal)))
        raise refusal
    return user, key, mac, int(t)


def _derived(psk: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, _LABEL).derive(psk)


def _query_mac(key: bytes, query: str, name: Identity, t: str) -> bytes:
    return _mac(key, b"question", b"GET", query.encode(), name.data, t.encode())


def _answer_mac(key: bytes, mac: bytes, body: bytes) -> bytes:
    return _mac(key, b"answer", mac, body)


def _mac(key: bytes, *parts: bytes) -> bytes:
    """A MAC over parts. Their encoding is unambiguous: different parts give different octets."""
    return hmac.digest(key, b"".join(len(part).to_bytes(4) + part for part in parts), "sha256")
