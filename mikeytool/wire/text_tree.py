"""A message as a tree for people, made from the dictionary that `--json` prints.

for line in message_tree(describe(message)).lines():
    print(line)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mikeytool.wire.describe import kind_of
from mikeytool.wire.json_field import MASKED
from mikeytool.wire.payloads import Payload
from mikeytool.wire.printable import number_of, printable
from mikeytool.wire.registry import KeyType, TicketFlag
from mikeytool.wire.timestamp import Timestamp

Json = dict[str, Any]

# Shown elsewhere in a line, or of no use to people: offsets, lengths, next payloads.
_HIDDEN = frozenset({
    "payload", "payload_value", "offset", "length", "next_payload", "next_payload_value",
    "keys", "keys_id", "policy_param", "flags", "content", "certificate", "valid_from", "valid_to",
})  # fmt: skip
_BEHIND = {"encr_data": "keys", "data": "content", "cert_data": "certificate"}
"""Octets that are left out of a line, because their content is shown below it."""

_RESERVED = ("res", "reserved")
"""Bits that are shown only if they are not 0, as they must be."""

_RESULTS = {"SIGN": "signature", "PKE": "envelope", "TICKET": "ticket"}
"""The result that is shown with each payload; that of the MAC is with V, or KEMAC."""

_KEY_AND_SALT = frozenset(key + salt for key in (16, 24, 32) for salt in (12, 14))
"""Octets of a key and a salt for SRTP together (RFC 3711, 6188, 7714)."""


class Part(NamedTuple):
    """A piece of a line. `role` says what it is, for a terminal that has styles.

    It is `title`, `name`, `value`, `note` or `error`, a result (`verified`, `FAILED` or
    `not checked`), or empty.
    """

    text: str
    role: str = ""


class Branch:
    """A line of a tree, and the branches below it."""

    def __init__(self, line: list[Part]) -> None:
        self.line = line
        self.below: list[Branch] = []

    def add(self, head: str, rest: str, role: str = "") -> Branch:
        """Add a branch with a line of its own."""
        branch = Branch(_line(head, rest, role))
        self.below.append(branch)
        return branch

    def lines(self, first: str = "", others: str = "") -> Iterator[str]:
        """The tree as text; `first` and `others` come before its first line and the others."""
        yield first + "".join(part.text for part in self.line)
        for at, branch in enumerate(self.below, 1):
            here, below = ("└── ", "    ") if at == len(self.below) else ("├── ", "│   ")
            yield from branch.lines(others + here, others + below)


def message_tree(described: Json) -> Branch:
    """Make the tree of a described message."""
    facts = [f"CSB ID {described['csb_id']}"] if described["csb_id"] else []
    facts += [_named("purpose", described["key_purpose"])] if "key_purpose" in described else []
    facts += [_named("prf", described["prf"])] if described["prf"] else []
    facts += ["V"] if described["v"] else []
    facts += [] if described["version"] == 1 else [f"version {described['version']}"]
    name = described["data_type"] or "broken header"
    title = f"data type {name}" if name.isdecimal() else name
    tree = Branch(_line(title, ", ".join(facts), "title"))
    opened = described.get("opened") or {}
    if described["cs_count"] is not None:
        kind = described["cs_id_map_type"] or "CS ID map"
        head = f"CS ID map type {kind}" if kind.isdecimal() else kind
        sessions = tree.add(head, f"#CS {described['cs_count']}", "name")
        for entry in described["cs_id_map"] or ():
            sessions.add(f"CS {entry['cs_id']}", _crypto_session(entry))
    for payload in described["payloads"]:
        _add_payload(tree, payload, opened)
    if described["trailing"]:
        tree.add("trailing octets", described["trailing"], "error")
    if opened.get("keys"):
        keys = tree.add("Keys", "opened with the keys given", "name")
        names = _mpk_names(opened["keys"])
        for key in opened["keys"]:
            _add_key(keys, key, names.get(key["key"], "") if key["type"] == "MPK" else "")
    for note in opened.get("notes") or ():
        tree.add("note", note, "note")
    return tree


def _crypto_session(entry: Json) -> str:
    parts = [_named("protocol", entry["protocol"])]
    surplus = entry["session_data"] or ""
    if entry["ssrc"] is not None:
        parts.append(f"SSRC {entry['ssrc']}")
        surplus = surplus[2 * (4 if entry["seq"] is None else 10) :]
    elif not surplus:
        parts.append("no SSRC yet")
    parts += [f"{name.upper()} {entry[name]}" for name in ("roc", "seq") if entry[name] is not None]
    if surplus:
        parts.append(f"session data {'... ' if entry['ssrc'] else ''}{surplus}")
    if entry["spi"] is not None:
        parts.append(f"SPI {entry['spi']}" if entry["spi"] else "no SPI yet")
    policies = ", ".join(map(str, entry["policies"]))
    parts.append(f"policy {policies}" if policies else "no policy yet")
    return ", ".join(parts)


def _add_payload(tree: Branch, payload: Json, opened: Json) -> None:
    kind = kind_of(payload)
    name = payload["payload"]
    branch = tree.add(name, ", ".join(_values(payload, kind)), "name")
    _add_result(branch, payload_result(payload, opened))
    if filetime := _filetime(payload):
        branch.add("note", f"as a Windows FILETIME it is {filetime}", "note")
    if flags := payload.get("flags_set"):
        spelled = branch.add("Flags", "")
        for flag in TicketFlag.from_letters(flags):
            spelled.add(flag.letters, flag.meaning)
    for param in payload.get("policy_param", ()):
        branch.add(_named("type", param["type"]), _param(param))
    if named := payload.get("keys_id"):
        branch.add("ID", ", ".join(_values(named, kind_of({"payload": "ID"}))))
    for key in payload.get("keys") or ():
        _add_key(branch, key)
    if error := payload.get("keys_error"):
        branch.add("Keys cannot be read", error, "error")
    facts = payload.get("certificate") or payload.get("content") or {}
    _add_facts(branch, facts)
    if error := payload.get("content_error"):
        branch.add("Data cannot be read", error, "error")
    for field, declared in kind.fields.items():
        inside, title = payload.get(field), declared.title
        if not inside or not title or field in _BEHIND:
            continue
        if isinstance(inside, str):
            branch.add(title, inside)
            if error := payload.get(f"{field}_error"):
                branch.add(f"{title} cannot be read", error, "error")
            continue
        node = branch.add(title, "")
        if field == "initiator_data":
            _add_result(node, opened.get("initiator_data"))
        for item in inside:
            _add_payload(node, item, {})


def payload_result(payload: Json, opened: Json) -> str | None:
    """The result of the check that a payload of the message itself is for; None without one."""
    name = payload["payload"]
    if name == "V" or (name == "KEMAC" and payload["mac"]):
        return opened.get("mac")
    return opened.get(_RESULTS[name]) if name in _RESULTS else None


def _filetime(payload: Json) -> str | None:
    """Give the time of a timestamp that is a FILETIME in place of NTP."""
    if "ts_value" not in payload:
        return None
    return Timestamp(payload["ts_type_value"], bytes.fromhex(payload["ts_value"]["value"])).filetime


def _add_facts(branch: Branch, facts: Json) -> None:
    """Add the facts of a certificate, or the fields of an extension."""
    for name, value in _shown_facts(facts).items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                branch.add(name.replace("_", " "), str(one) or "empty")
            elif "utc" in one:
                branch.add(name.replace("_", " "), one["utc"] or "none")
            elif any(isinstance(inner, list) for inner in one.values()):
                _add_facts(branch, one)
            else:
                (first, kind), *others = _shown_facts(one).items()
                rest = ", ".join(str(other) or "empty" for _, other in others)
                branch.add(_named(first, str(kind)), rest)


def _shown_facts(facts: Json) -> Json:
    """Leave out lengths, next payloads, and the numbers of what has a name."""
    return {
        name: value
        for name, value in facts.items()
        if not (_is_number_beside(name, facts) or name == "next_payload")
        and not (name.endswith("_length") or name.startswith("number_of"))
    }


def _values(payload: Json, kind: type[Payload]) -> list[str]:
    """Give the fields of a payload: registry names alone, other values with their field."""
    shown = []
    hidden = _HIDDEN | {
        field
        for field, declared in kind.fields.items()
        if declared.show == "length" or (declared.title and field not in _BEHIND)
    }
    hidden |= {
        field
        for field, inside in _BEHIND.items()
        if payload.get(inside) and f"{inside}_error" not in payload
    }
    for field, value in payload.items():
        if field == "ts_value":
            shown.append(value["utc"] or value["value"])
        elif field == "kv":
            shown += _validity(payload)
        elif (
            field in hidden
            or field.endswith("_error")
            or _is_number_beside(field, payload)
            or value in (None, "")
            or (field in _RESERVED and not value)
        ):
            continue
        elif field == "id" or (f"{field}_value" in payload and not field.endswith("_alg")):
            shown.append(_named(field, str(value)))
        elif field == "flags_set":
            shown.append(f"flags {value}")
        else:
            shown.append(f"{field.replace('_', ' ')} {value}")
    return shown


def _is_number_beside(field: str, described: Json) -> bool:
    """Tell whether a field is the number of an enumerated field that is shown by name."""
    return field.endswith("_value") and field.removesuffix("_value") in described


def _named(field: str, name: str) -> str:
    """Give a registry name alone, a number without a name with its field."""
    return f"{field.replace('_', ' ')} {name}" if field != "id" and name.isdecimal() else name


def _mpk_names(keys: Sequence[Json]) -> dict[str, str]:
    """Name the MPKs, which have the order of a KEMAC of the KMS (interpretation 19)."""
    found = dict.fromkeys(key["key"] for key in keys if key["type"] == "MPK")
    return dict(zip(found, ("MPKi", "MPKr"), strict=False)) if len(found) <= 2 else {}


def _add_key(branch: Branch, key: Json, name: str = "") -> None:
    head = name or _named("type", key["type"])
    branch.add(head, ", ".join([*key_values(key), *_validity(key)]))


def key_values(key: Json) -> list[str]:
    """Give key, salt and SPI of a described key; one that is masked comes with its length."""
    values = []
    for name, size in ("key", key["key_data_len"]), ("salt", key["salt_len"]):
        if key[name]:
            is_masked = size is not None and key[name].startswith(MASKED)
            values.append(f"{name} {key[name]}{_length(key, size) if is_masked else ''}")
    return values + ([f"spi {key['spi']}"] if key["spi"] else [])


def _length(key: Json, octets: int) -> str:
    """Give the length of a key or salt; RTSP cameras send a TEK and its salt as one key."""
    is_both = key["type_value"] == KeyType.TEK and octets in _KEY_AND_SALT
    return f" ({number_of(octets, 'octet')}{': key and salt' if is_both else ''})"


def _validity(key: Json) -> list[str]:
    """Give the validity of a key (RFC 3830 6.14), but not its SPI."""
    if key["kv"] == "Interval":
        return [f"valid from {key['valid_from'] or 'empty'} to {key['valid_to'] or 'empty'}"]
    return [_named("kv", key["kv"])] if key["kv"].isdecimal() else []


def _param(param: Json) -> str:
    """Give the value of a policy parameter by its name, else its number, or "empty"."""
    if not param["value"]:
        return "empty"
    value = int(param["value"], 16)
    if param["type"].endswith(" off/on") and value < 2:
        return ("off", "on")[value]
    return str(param["meaning"] or value)


def _line(head: str, rest: str, role: str = "") -> list[Part]:
    line = [Part(printable(head), role)]
    if rest:
        line.append(Part(f"  {printable(rest)}", "value"))
    return line


def _add_result(branch: Branch, result: str | None) -> None:
    if result is not None:
        branch.line += Part("  "), Part(result, result)
