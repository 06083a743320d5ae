"""Messages as plain dictionaries, for `--json` and for whoever reads them by program.

The names are those of the grammar, which are the RFCs'; what a value looks like, the field
itself says (`Field.names` and `Field.show`). Payloads inside payloads are lists where they
can be read to the last octet, and hex otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mikeytool.wire.errors import WireError
from mikeytool.wire.grammar import Field, Record
from mikeytool.wire.header import GenericIdEntry, SrtpIdEntry, srtp_session_data
from mikeytool.wire.message import Message, contents, key_data
from mikeytool.wire.payloads import KEMAC, SP, TP, TR, KeyData, Payload, PolicyParam
from mikeytool.wire.registry import (
    EncrAlg,
    FecOrder,
    Namespace,
    ProtType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
    TicketFlag,
    TsRole,
    label,
    labels,
)
from mikeytool.wire.timestamp import Timestamp

Json = dict[str, Any]


def masked(secret: bytes) -> str:
    """What stands for a key that is not to be shown: the beginning of its SHA-256."""
    import hashlib  # loads OpenSSL, which most messages do not need

    return f"sha256:{hashlib.sha256(secret).hexdigest()[:8]}"


def describe(message: Message, *, show_keys: bool = False) -> Json:
    """A message as a dictionary that `json.dumps` takes.

    Keys that stand in the clear are masked unless `show_keys`.
    """
    header = message.header
    described = _fields(header)
    del described["next_payload"], described["next_payload_value"]
    described["cs_id_map"] = [
        describe_crypto_session(entry, at) for at, entry in enumerate(header.cs_id_map, 1)
    ]
    described["payloads"] = [describe_payload(p, show_keys) for p in message.payloads]
    described["trailing"] = message.trailing.hex() or None
    return described


def describe_crypto_session(entry: SrtpIdEntry | GenericIdEntry, position: int) -> Json:
    """One crypto session of a CS ID map; in an SRTP-ID map its CS ID is its position."""
    if isinstance(entry, SrtpIdEntry):
        return {
            "cs_id": position,
            "protocol": ProtType.SRTP.label,
            "protocol_value": ProtType.SRTP.value,
            "policies": [entry.policy_no],
            "ssrc": f"{entry.ssrc:#010x}",
            "roc": entry.roc,
            "seq": None,
            "session_data": None,
            "spi": None,
        }
    ssrc, roc, seq = srtp_session_data(entry) or (None, None, None)
    return {
        "cs_id": entry.cs_id,
        "protocol": label(ProtType, entry.protocol),
        "protocol_value": entry.protocol,
        "policies": entry.policies,
        "s": bool(entry.s),
        "ssrc": None if ssrc is None else f"{ssrc:#010x}",
        "roc": roc,
        "seq": seq,
        "session_data": entry.session_data.hex(),
        "spi": entry.spi.hex(),
    }


def describe_payload(payload: Payload, show_keys: bool = False) -> Json:
    """One payload with its place, its fields and what can be read inside it."""
    described: Json = {
        "payload": payload.label,
        "payload_value": payload.number,
        "offset": payload.offset,
        "length": payload.length,
        **_fields(payload),
    }
    if isinstance(payload, TP):
        described["flags_set"] = TicketFlag(payload.flags).letters
        _open_nested(described, payload, show_keys)
    elif isinstance(payload, SP):
        described["policy_param"] = [_param(payload, param) for param in payload.policy_param]
    elif isinstance(payload, TR) and payload.ts_role == TsRole.REKEY:
        described["ts_value"] = {"value": payload.ts_value.hex(), "utc": None}
        described["seconds"] = Timestamp.of(payload).interval
    elif isinstance(payload, KEMAC) and payload.encr_alg == EncrAlg.NULL:
        described["keys"] = _clear_keys(payload, show_keys)
    return described


def describe_keys(keys: Sequence[KeyData], *, show_keys: bool) -> list[Json]:
    """Key data sub-payloads, masked unless `show_keys`."""
    return [_key(key, show_keys) for key in keys]


def _key(key: KeyData, show_keys: bool) -> Json:
    described = _fields(key)
    for name in ("key", "salt"):
        secret = getattr(key, name)
        if secret is not None and not show_keys:
            described[name] = masked(secret)
    return described


def _clear_keys(payload: KEMAC, show_keys: bool) -> list[Json] | None:
    try:
        return describe_keys(list(key_data(payload.encr_data)), show_keys=show_keys)
    except WireError:
        return None


def _open_nested(described: Json, payload: TP, show_keys: bool) -> None:
    """Put lists of payloads where TP Data, Ticket Data and Initiator Data can be read."""
    for name, inside in contents(payload):
        if not described[name]:
            continue
        try:
            described[name] = [describe_payload(item, show_keys) for item in inside]
        except WireError:
            continue


_PARAM_NAMES: dict[int, type[Namespace]] = {
    SrtpParam.ENCR_ALG: SrtpEncrAlg,
    SrtpParam.AUTH_ALG: SrtpAuthAlg,
    SrtpParam.PRF: SrtpPrf,
    SrtpParam.FEC_ORDER: FecOrder,
}


def _param(policy: SP, param: PolicyParam) -> Json:
    """A policy parameter; `meaning` is the registry name of an enumerated value."""
    srtp = policy.protocol == ProtType.SRTP
    names = _PARAM_NAMES.get(param.type) if srtp else None
    return {
        "type": label(SrtpParam, param.type) if srtp else str(param.type),
        "type_value": param.type,
        "length": param.length,
        "value": param.value.hex(),
        "meaning": None if names is None else label(names, int.from_bytes(param.value)),
    }


Plan = list[tuple[str, Callable[[Any, Record, Json], None]]]
_PLANS: dict[type[Record], Plan] = {}


def _fields(record: Record) -> Json:
    """Every field of a record but lists of records, as its grammar says it is shown."""
    plan = _PLANS.get(type(record))
    if plan is None:
        plan = _PLANS[type(record)] = [
            (name, _shower(name, field)) for name, field in type(record).fields.items()
        ]
    described: Json = {}
    for name, show in plan:
        show(getattr(record, name), record, described)
    return described


def _shower(name: str, field: Field) -> Callable[[Any, Record, Json], None]:
    """The function that puts a field into a dictionary."""
    if field.names is not None:
        return _show_name(name, field.names)
    special = {"time": _show_time, "id": _show_id}.get(field.show)
    if special is not None:
        return special
    converters: dict[str, Callable[[Any], Any]] = {
        "hex": "{:#010x}".format,
        "flags": "{:#05x}".format,
        "flag": bool,
    }
    convert = converters.get(field.show)

    def show(value: Any, _record: Record, described: Json) -> None:
        if isinstance(value, bytes):
            described[name] = value.hex()
        elif not isinstance(value, list):
            described[name] = value if convert is None else convert(value)

    return show


def _show_name(name: str, namespace: type[Namespace]) -> Callable[[Any, Record, Json], None]:
    known = labels(namespace)
    number = f"{name}_value"

    def show(value: Any, _record: Record, described: Json) -> None:
        described[name] = known.get(value) or str(value)
        described[number] = value

    return show


def _show_time(value: Any, record: Any, described: Json) -> None:
    utc = Timestamp(record.ts_type, value).utc
    described["ts_value"] = {"value": value.hex(), "utc": utc}


def _show_id(value: Any, _record: Record, described: Json) -> None:
    try:
        described["id"] = value.decode()
    except UnicodeDecodeError:
        described["id_hex"] = value.hex()
