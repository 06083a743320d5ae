"""Craft and inspect MIKEY-TICKET messages (RFC 6043) and use the keys that they carry."""

__version__ = "0.1.0"
