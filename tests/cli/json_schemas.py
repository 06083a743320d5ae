"""Validators of what commands print as JSON."""

from __future__ import annotations

import json
from typing import Any

import jsonschema


def closed(text: str) -> jsonschema.Draft202012Validator:
    """Make a validator of a schema that refuses names which it does not list."""
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)

    def close(part: Any) -> None:
        if isinstance(part, dict) and "properties" in part:
            part.setdefault("additionalProperties", False)
        for below in part.values() if isinstance(part, dict) else part:
            if isinstance(below, (dict, list)):
                close(below)

    close(schema)
    return jsonschema.Draft202012Validator(schema)
