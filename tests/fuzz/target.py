"""A coverage-guided fuzz target, for atheris: `python -m tests.fuzz.target [CORPUS] [OPTIONS]`.

Any octets are read as a message, with a fault or without; what was read is written again
octet for octet, by way of its JSON too; and the dump has every octet once.
Options are those of libFuzzer, such as `-max_total_time=20`.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["mikeytool"]):
    from mikeytool.wire.annotated_dump import dump
    from mikeytool.wire.describe import compose, describe_text
    from mikeytool.wire.errors import WireError
    from mikeytool.wire.message import Message


def one_input(data: bytes) -> None:
    """Look at octets in every way that there is."""
    try:
        message = Message.read(data)
    except WireError:
        if data:
            raise
        return
    if message.build() != data:
        raise AssertionError("what was read is not what is written")
    if compose(json.loads(describe_text(message, show_keys=True))).build() != data:
        raise AssertionError("what is described is not what is written")
    if b"".join(row.octets for row in dump(message)) != data:
        raise AssertionError("the dump has other octets")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
