"""A message as a tree for people, from the same dictionary that `--json` prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from rich.tree import Tree

from mikeytool.cli.render.guarded_streams import unguarded
from mikeytool.wire.printable import printable
from mikeytool.wire.timestamp import Timestamp

if TYPE_CHECKING:
    from mikeytool.wire.payloads import Payload

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

NO_WIDTH = 1 << 18
"""Wider than the hex of the longest field."""

_RESULTS = {"SIGN": "signature", "PKE": "envelope", "TICKET": "ticket"}
"""The result that is shown with each payload; that of the MAC is with V, or KEMAC."""

STYLES = {"verified": "green", "FAILED": "bold red", "not checked": "dim"}


class _Console(Console):
    """A console that raises BrokenPipeError for a closed pipe, and prints what is printable."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def render(self, *args: Any, **options: Any) -> Iterator[Segment]:
        for one in super().render(*args, **options):
            yield one if one.control else one._replace(text=printable(one.text, keep="\n"))


def console() -> Console:
    """Make the console of standard output; in a pipe it is plain and folds no line."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else NO_WIDTH
    file = unguarded(sys.stdout)
    return _Console(file=file, highlight=False, emoji=False, markup=False, width=width)


def is_plain(out: Console) -> bool:
    """Tell whether lines can be written as they are, which is much quicker."""
    return out.width == NO_WIDTH and out.color_system is None and not out.options.ascii_only


def show_tree(described: Json) -> None:
    """Print the tree of one message."""
    out, tree = console(), message_tree(described)
    if is_plain(out):
        sys.stdout.writelines(f"{line}\n" for line in _plain_lines(tree))
    else:
        out.print(tree)


def _plain_lines(tree: Tree, first: str = "", others: str = "") -> Iterator[str]:
    yield f"{first}{tree.label}"
    for at, branch in enumerate(tree.children, 1):
        here, below = ("└── ", "    ") if at == len(tree.children) else ("├── ", "│   ")
        yield from _plain_lines(branch, others + here, others + below)


def message_tree(described: Json) -> Tree:
    """Make the tree of a described message."""
    facts = [f"CSB ID {described['csb_id']}"] if described["csb_id"] else []
    facts += [_named("purpose", described["key_purpose"])] if "key_purpose" in described else []
    facts += [_named("prf", described["prf"])] if described["prf"] else []
    facts += ["V"] if described["v"] else []
    facts += [] if described["version"] == 1 else [f"version {described['version']}"]
    name = described["data_type"] or "broken header"
    tree = Tree(
        _line(
            f"data type {name}" if name.isdecimal() else name, ", ".join(facts), style="bold cyan"
        ),
        guide_style="dim",
    )
    opened = described.get("opened") or {}
    if described["cs_count"] is not None:
        kind = described["cs_id_map_type"] or "CS ID map"
        head = f"CS ID map type {kind}" if kind.isdecimal() else kind
        sessions = tree.add(_line(head, f"#CS {described['cs_count']}", style="bold"))
        for entry in described["cs_id_map"] or ():
            sessions.add(_line(f"CS {entry['cs_id']}", _crypto_session(entry)))
    for payload in described["payloads"]:
        _add_payload(tree, payload, opened)
    if described["trailing"]:
        tree.add(_line("trailing octets", described["trailing"], style="bold red"))
    if opened.get("keys"):
        keys = tree.add(_line("Keys", "opened with the keys given", style="bold"))
        names = _mpk_names(opened["keys"])
        for key in opened["keys"]:
            keys.add(_key(key, names.get(key["key"], "") if key["type"] == "MPK" else ""))
    for note in opened.get("notes") or ():
        tree.add(_line("note", note, style="dim"))
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


def _add_payload(tree: Tree, payload: Json, opened: Json) -> None:
    from mikeytool.wire.describe import kind_of  # tables are drawn without messages

    kind = kind_of(payload)
    name = payload["payload"]
    line = _line(name, ", ".join(_values(payload, kind)), style="bold")
    if name == "V" or (name == "KEMAC" and payload["mac"]):
        _result(line, opened.get("mac"))
    elif name in _RESULTS:
        _result(line, opened.get(_RESULTS[name]))
    branch = tree.add(line)
    if filetime := _filetime(payload):
        branch.add(_line("note", f"as a Windows FILETIME it is {filetime}", style="dim"))
    for param in payload.get("policy_param", ()):
        branch.add(_line(_named("type", param["type"]), _param(param)))
    if named := payload.get("keys_id"):
        branch.add(_line("ID", ", ".join(_values(named, kind_of({"payload": "ID"})))))
    for key in payload.get("keys") or ():
        branch.add(_key(key))
    if error := payload.get("keys_error"):
        branch.add(_line("Keys cannot be read", error, style="bold red"))
    facts = payload.get("certificate") or payload.get("content") or {}
    _add_facts(branch, facts)
    if error := payload.get("content_error"):
        branch.add(_line("Data cannot be read", error, style="bold red"))
    for field, declared in kind.fields.items():
        inside, title = payload.get(field), declared.title
        if not inside or not title or field in _BEHIND:
            continue
        if isinstance(inside, str):
            branch.add(_line(title, inside))
            if error := payload.get(f"{field}_error"):
                branch.add(_line(f"{title} cannot be read", error, style="bold red"))
            continue
        node = branch.add(_line(title, ""))
        if field == "initiator_data":
            _result(node.label, opened.get("initiator_data"))
        for item in inside:
            _add_payload(node, item, {})


def _filetime(payload: Json) -> str | None:
    """Give the time of a timestamp that is a FILETIME in place of NTP."""
    if "ts_value" not in payload:
        return None
    return Timestamp(payload["ts_type_value"], bytes.fromhex(payload["ts_value"]["value"])).filetime


def _add_facts(branch: Tree, facts: Json) -> None:
    """Add the facts of a certificate, or the fields of an extension."""
    for name, value in _shown_facts(facts).items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                branch.add(_line(name.replace("_", " "), str(one) or "empty"))
            elif "utc" in one:
                branch.add(_line(name.replace("_", " "), one["utc"] or "none"))
            elif any(isinstance(inner, list) for inner in one.values()):
                _add_facts(branch, one)
            else:
                (first, kind), *others = _shown_facts(one).items()
                rest = ", ".join(str(other) or "empty" for _, other in others)
                branch.add(_line(_named(first, str(kind)), rest))


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


def _key(key: Json, name: str = "") -> Text:
    parts = [f"{name} {key[name]}" for name in ("key", "salt", "spi") if key[name]]
    head = name or _named("type", key["type"])
    return _line(head, ", ".join([*parts, *_validity(key)]))


def _validity(key: Json) -> list[str]:
    """Give the validity of a key (RFC 3830 6.14), but not its SPI."""
    if key["kv"] == "Interval":
        return [f"valid from {key['valid_from'] or 'empty'} to {key['valid_to'] or 'empty'}"]
    return [_named("kv", key["kv"])] if key["kv"].isdecimal() else []


def _param(param: Json) -> str:
    """Give the value of a policy parameter by its name, else its number, or "empty"."""
    if not param["value"]:
        return "empty"
    return str(param["meaning"] or int(param["value"], 16))


def _line(head: str, rest: str, *, style: str = "") -> Text:
    text = Text(printable(head), style=style)
    if rest:
        text.append(f"  {printable(rest)}", style="not bold default")
    return text


def _result(line: Any, result: str | None) -> None:
    if result is not None:
        line.append("  ")
        line.append(result, style=STYLES[result])
