"""Questions about groups over HTTP, for both sides: who asks, and that the answer is the KMS's.

A conference system has to know who is in which group. It asks with GET, and shows who it is
by a MAC under a key that is derived from its pre-shared key; the answer has a MAC under the
same key, which covers the one of the question. So neither hangs on TLS alone, and neither
can be taken for anything that the pre-shared key itself protects.
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
from mikeytool.kms.store.records import User
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity

PATH = "/groups"
SCHEME = "MIKEY-PSK"
ANSWER_HEADER = "Authentication-Info"
"""Where the MAC of the answer stands (RFC 9110 11.6.3)."""

_LABEL = b"mikeytool groups over HTTP"
_QUESTION = re.compile(r"(member|group)=([^&=]{1,2000})")
_AUTHORIZATION = re.compile(
    rf'{SCHEME} +id="([^"\\]{{1,2000}})", *t="(\d{{1,12}})", *mac="([0-9a-f]{{64}})"', re.ASCII
)
_ANSWER = re.compile(r'mac="([0-9a-f]{64})"', re.ASCII)


class Forbidden(Refused):
    """It is known who asks, and they may not."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the name of their key, which may be their identity, and that key."""

    name: Identity
    psk: bytes = field(repr=False)


def target(kind: str, identity: Identity) -> str:
    """What is asked for: the groups of a `member`, or whether there is such a `group`."""
    return f"{PATH}?{kind}={quote_from_bytes(identity.data, safe='')}"


def authorization(asker: Asker, asked: str, now_ns: int) -> tuple[str, bytes]:
    """The Authorization header for a target, and the MAC in it, which the answer's covers."""
    t = str(now_ns // NS)
    mac = _question_mac(_derived(asker.psk), asked, asker.name, t)
    return f'{SCHEME} id="{quote_from_bytes(asker.name.data)}", t="{t}", mac="{mac.hex()}"', mac


def read_answer(asker: Asker, mac: bytes, header: str | None, body: bytes) -> list[Identity]:
    """The groups in an answer; raises Refused when its MAC is not good."""
    found = _ANSWER.fullmatch(header or "")
    expected = _answer_mac(_derived(asker.psk), mac, body)
    if found is None or not hmac.compare_digest(bytes.fromhex(found[1]), expected):
        raise Refused("the answer about groups is not of the KMS that has your key: its MAC fails")
    try:
        groups = json.loads(body)["groups"]
        return [Identity(bytes.fromhex(one["id_hex"]), int(one["id_type"])) for one in groups]
    except (ValueError, KeyError, TypeError):
        raise WireError("the answer about groups is not what it should be") from None


def answer(store: Store, header: str | None, asked: str, now_ns: int) -> tuple[bytes, str]:
    """The body of an answer, and its MAC as a header.

    Raises Refused for who is not authenticated, whose clock is off or who is disabled,
    Forbidden for who may not ask that, WireError for a question that is none.
    """
    user, key, mac = _authenticated(store, header, asked, now_ns)
    question = _QUESTION.fullmatch(asked.removeprefix(f"{PATH}?"))
    if question is None:
        raise WireError(f"{PATH} takes one of member=URI and group=URI")
    about = Identity(unquote_to_bytes(question[2]))
    if not store.act_as(user.identity) and about != user.identity:
        raise Forbidden("only who may act as others is told about others")
    body = json.dumps({"groups": list(_found(store, question[1], about))}).encode()
    return body, f'mac="{_answer_mac(key, mac, body).hex()}"'


def _found(store: Store, kind: str, about: Identity) -> Iterator[dict[str, str | int]]:
    """The groups of a member; of a group itself, if there is such a one."""
    there = [about] if kind == "group" and store.is_group(about) else []
    for group in store.groups_of(about) if kind == "member" else there:
        yield {"id_hex": group.data.hex(), "id_type": int(group.id_type)}


def _authenticated(
    store: Store, header: str | None, asked: str, now_ns: int
) -> tuple[User, bytes, bytes]:
    """Who asks, the derived key and the MAC of the question."""
    found = _AUTHORIZATION.fullmatch(header or "")
    if found is None:
        raise Refused("there is no Authorization that can be read")
    name, t, mac = Identity(unquote_to_bytes(found[1])), found[2], bytes.fromhex(found[3])
    # As in messages, a key goes by its name or by the identity of its user.
    user = store.user_of_key(name) or store.user(name)
    if user is None or user.sealed_psk is None:
        raise Refused(f"the key {name} is not known")
    key = _derived(store.psk(user))
    if not hmac.compare_digest(mac, _question_mac(key, asked, name, t)):
        raise Refused(f"the MAC of {name} is not good")
    if abs(int(t) - now_ns // NS) > store.policy().max_skew:
        raise Forbidden("the time of the question is too far from this clock; check both")
    if not user.enabled:
        raise Refused(f"the user {user.identity} is disabled")
    return user, key, mac


def _derived(psk: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, _LABEL).derive(psk)


def _question_mac(key: bytes, asked: str, name: Identity, t: str) -> bytes:
    return _mac(key, b"question", b"GET", asked.encode(), name.data, t.encode())


def _answer_mac(key: bytes, mac: bytes, body: bytes) -> bytes:
    return _mac(key, b"answer", mac, body)


def _mac(key: bytes, *parts: bytes) -> bytes:
    """A MAC over parts such that no other parts are the same octets."""
    return hmac.digest(key, b"".join(len(part).to_bytes(4) + part for part in parts), "sha256")
