"""Rules about RSA-R, in which the responder sends the keys (RFC 4738)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import HEADER, Found, Level, Relation, rule
from mikeytool.lint.subject import Subject
from mikeytool.wire.payloads import RAND, SP, GeneralExt
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    ExtensionType,
    ProtType,
    SrtpParam,
    label,
)
from mikeytool.wire.srtp_policy import SrtpPolicy, srtp_defaults

_I, _R = [DataType.RSA_R_I_MSG], [DataType.RSA_R_R_MSG]


def _is_group(subject: Subject) -> bool:
    """Whether an R_MESSAGE is for a group: it has a CSB ID of the responder's (3.6)."""
    return any(ext.type == ExtensionType.CSB_ID for ext in subject.message.all(GeneralExt))


@rule("rsa-r-v", Level.ERROR, "RFC 4738 3.4", kinds=_I)
def rsa_r_v(subject: Subject) -> Iterator[Found]:
    """An I_MESSAGE that asks for no answer, which has the keys."""
    if not subject.header.v:
        yield Found(HEADER, "the V flag is 0, but the answer brings the keys; set it to 1")


@rule("rsa-r-map", Level.ERROR, "RFC 4738 3.6", kinds=_R)
def rsa_r_map(subject: Subject) -> Iterator[Found]:
    """An R_MESSAGE without crypto sessions."""
    is_left_out = subject.header.cs_id_map_type == CsIdMapType.EMPTY and not _is_group(subject)
    if not subject.map and not is_left_out:  # RFC 4563 5: they may be agreed on outside of MIKEY
        yield Found(HEADER, "there are no crypto sessions; the responder fills in #CS and the map")


@rule("rsa-r-group", Level.ERROR, "RFC 4738 3.2", kinds=_R, whole=True)
def rsa_r_group(subject: Subject) -> Iterator[Found]:
    """An R_MESSAGE for a group without RAND or SP, on which all members depend."""
    gaps = [kind.__name__ for kind in (RAND, SP) if subject.message.find(kind) is None]
    if gaps and _is_group(subject):
        yield Found(
            HEADER,
            f"the message is for a group (it has a CSB_ID), but has no {' and no '.join(gaps)};"
            " the responder adds it",
        )


@rule("rsa-r-group-offer", Level.ERROR, "RFC 4738 3.2", kinds=_R, relation=Relation.ANSWER)
def rsa_r_group_offer(subject: Subject) -> Iterator[Found]:
    """An R_MESSAGE for a group to an initiator that offers policies of its own."""
    offers = subject.init is not None and subject.init.find(SP) is not None
    if offers and _is_group(subject):
        yield Found(
            HEADER,
            "the I_MESSAGE has an SP, but in group mode the responder alone sets the policy;"
            " the initiator leaves it out",
        )


@rule("rsa-r-rand", Level.ERROR, "RFC 4738 3.6", kinds=_R, relation=Relation.ANSWER, whole=True)
def rsa_r_rand(subject: Subject) -> Iterator[Found]:
    """RSA-R with a RAND in both messages, or in neither."""
    if subject.init is None or _is_group(subject):
        return
    mine, theirs = subject.message.find(RAND), subject.init.find(RAND)
    if mine is None and theirs is None:
        yield Found(HEADER, "neither message has a RAND; the responder adds it")
    elif mine is not None and theirs is not None:
        yield Found(mine, "both messages have a RAND; the responder leaves its own out")


@rule("rsa-r-policy", Level.ERROR, "RFC 4738 3.6", kinds=_R, relation=Relation.ANSWER, whole=True)
def rsa_r_policy(subject: Subject) -> Iterator[Found]:
    """An RSA-R answer without a policy, although the initiator offered some."""
    offered = subject.init is not None and subject.init.find(SP) is not None
    if offered and subject.message.find(SP) is None:
        yield Found(HEADER, "the initiator offers policies, but the answer has no SP; choose one")


@rule("rsa-r-choice", Level.ERROR, "RFC 4738 3.6", on=SP, kinds=_R)
def rsa_r_choice(subject: Subject, payload: SP, within: object) -> Iterator[Found]:
    """An RSA-R answer that leaves several values of a parameter open."""
    seen = set()
    for param in payload.policy_param:
        if param.type in seen:
            yield Found(
                payload,
                f"parameter {_name(payload, param.type)} has several values; the responder"
                " chooses one",
            )
        seen.add(param.type)


@rule("rsa-r-not-offered", Level.ERROR, "RFC 4738 3.7", on=SP, kinds=_R, relation=Relation.ANSWER)
def rsa_r_not_offered(subject: Subject, payload: SP, within: object) -> Iterator[Found]:
    """An RSA-R answer with a policy that the initiator did not offer."""
    offered = [] if subject.init is None else subject.init.all(SP)
    if not offered:
        return
    same = [each for each in offered if each.protocol == payload.protocol]
    differences = [_difference(payload, each) for each in same]
    if not same:
        text = f"a policy for {label(ProtType, payload.protocol)} was not offered"
    elif all(differences):
        text = min(differences, key=len)
    else:
        return
    yield Found(payload, f"{text}; choose from the initiator's policies")


def _difference(chosen: SP, offered: SP) -> str:
    """What is in a policy and not among the values of an offered one; empty if nothing is."""
    if chosen.protocol != ProtType.SRTP:
        pairs = {(one.type, one.value) for one in offered.policy_param}
        others = [one.type for one in chosen.policy_param if (one.type, one.value) not in pairs]
        return f"parameter {others[0]} has a value that was not offered" if others else ""
    policy = SrtpPolicy(chosen)
    defaults = srtp_defaults(policy.encr_alg)
    options: dict[int, set[int]] = {}
    for param in offered.policy_param:
        options.setdefault(param.type, set()).add(int.from_bytes(param.value[:8]))
    for kind in sorted({*policy.given, *options}):
        default = defaults.get(kind, 0)
        value = policy.given.get(kind, default)
        if value not in options.get(kind, {default}):
            return f"{label(SrtpParam, kind)} {value} was not offered"
    return ""


def _name(policy: SP, kind: int) -> str:
    return label(SrtpParam, kind) if policy.protocol == ProtType.SRTP else str(kind)
