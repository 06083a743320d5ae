"""A message as a tree for people, from the same dictionary that `--json` prints."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

Json = dict[str, Any]

# Said elsewhere in a line, or of no use to people: where, how long, what comes next.
_UNSAID = {
    "payload", "payload_value", "offset", "length", "next_payload", "next_payload_value",
    "keys", "policy_param", "tp_data", "ticket_data", "initiator_data", "flags", "res",
    "id_len", "cert_len", "rand_len", "rand_length", "encr_data_len", "policy_param_length",
    "tp_data_length", "ticket_data_length", "initiator_data_length", "thdr_data_length",
    "signature_len", "data_len", "data_length", "reserved",
}  # fmt: skip
_TITLES = {
    "tp_data": "Ticket Policy",
    "ticket_data": "Ticket Data",
    "initiator_data": "Initiator Data",
}
_NO_WIDTH = 1 << 18
"""Wider than the hex of the longest field."""

_STYLES = {"verified": "green", "FAILED": "bold red", "not checked": "dim"}


class _Console(Console):
    """A console that leaves a closed pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Standard output; into a pipe it is plain, and no line is folded or cut."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _NO_WIDTH
    return _Console(highlight=False, emoji=False, markup=False, width=width)


def show_tree(described: Json) -> None:
    """Print the tree of one message."""
    console().print(message_tree(described))


def message_tree(described: Json) -> Tree:
    """The tree of a described message."""
    facts = [f"CSB ID {described['csb_id']}", described["prf"]]
    facts += ["V"] if described["v"] else []
    facts += [] if described["version"] == 1 else [f"version {described['version']}"]
    name = described["data_type"]
    tree = Tree(
        _line(
            f"data type {name}" if name.isdecimal() else name, ", ".join(facts), style="bold cyan"
        ),
        guide_style="dim",
    )
    opened = described.get("opened") or {}
    sessions = tree.add(
        _line(described["cs_id_map_type"], f"#CS {described['cs_count']}", style="bold")
    )
    for entry in described["cs_id_map"]:
        sessions.add(_line(f"CS {entry['cs_id']}", _crypto_session(entry)))
    for payload in described["payloads"]:
        _add_payload(tree, payload, opened)
    if described["trailing"]:
        tree.add(_line("trailing octets", described["trailing"], style="bold red"))
    if opened.get("keys"):
        keys = tree.add(_line("Keys", "opened with the keys given", style="bold"))
        for key in opened["keys"]:
            keys.add(_key(key))
    return tree


def _crypto_session(entry: Json) -> str:
    parts = [entry["protocol"]]
    parts.append("no SSRC yet" if entry["ssrc"] is None else f"SSRC {entry['ssrc']}")
    parts += [f"{name.upper()} {entry[name]}" for name in ("roc", "seq") if entry[name] is not None]
    if entry["spi"] is not None:
        parts.append(f"SPI {entry['spi']}" if entry["spi"] else "no SPI yet")
    policies = ", ".join(map(str, entry["policies"]))
    parts.append(f"policy {policies}" if policies else "no policy yet")
    return ", ".join(parts)


def _add_payload(tree: Tree, payload: Json, opened: Json) -> None:
    name = payload["payload"]
    line = _line(name, ", ".join(_values(payload)), style="bold")
    if name == "V" and payload is not None:
        _result(line, opened.get("mac"))
    if name == "TICKET":
        _result(line, opened.get("ticket"))
    branch = tree.add(line)
    for param in payload.get("policy_param", ()):
        meaning = param["meaning"] or int(param["value"] or "0", 16)
        branch.add(_line(param["type"], str(meaning)))
    for key in payload.get("keys") or ():
        branch.add(_key(key))
    for field, title in _TITLES.items():
        inside = payload.get(field)
        if not inside:
            continue
        if isinstance(inside, str):
            branch.add(_line(title, inside))
            continue
        node = branch.add(_line(title, ""))
        if field == "initiator_data":
            _result(node.label, opened.get("initiator_data"))
        for item in inside:
            _add_payload(node, item, {})


def _values(payload: Json) -> list[str]:
    """The fields of a payload: names of the registries alone, others with their name."""
    shown = []
    for field, value in payload.items():
        if field == "ts_value":
            shown.append(value["utc"] or value["value"])
        elif field in _UNSAID or field.endswith("_value") or value in (None, ""):
            continue
        elif field == "encr_data" and payload.get("keys"):
            continue  # the keys in it are shown, or masked, behind this line
        elif field == "id" or (f"{field}_value" in payload and not field.endswith("_alg")):
            shown.append(str(value))
        elif field == "flags_set":
            shown.append(f"flags {value}")
        else:
            shown.append(f"{field.replace('_', ' ')} {value}")
    return shown


def _key(key: Json) -> Text:
    parts = [f"{name} {key[name]}" for name in ("key", "salt", "spi") if key[name]]
    return _line(key["type"], ", ".join(parts))


def _line(head: str, rest: str, *, style: str = "") -> Text:
    text = Text(_printable(head), style=style)
    if rest:
        text.append(f"  {_printable(rest)}", style="not bold default")
    return text


def _printable(text: str) -> str:
    """Octets from the wire must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _result(line: Any, result: str | None) -> None:
    if result is not None:
        line.append("  ")
        line.append(result, style=_STYLES[result])
