"""MIKEY messages made and read by GStreamer's library for SDP.

Run as a program of its own, so that a fault in foreign code cannot end the tests: takes JSON
on standard input, `{"make": message}` or `{"read": hex}`, and prints JSON. The library is
called directly since its Python bindings can neither leave out the decryption parameters nor
set an interval. The structures are those of gstmikey.h.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sys
from ctypes import POINTER, Structure, c_int, c_size_t, c_uint, c_uint8, c_uint16, c_void_p
from typing import Any

KEMAC, PKE, T, SP, RAND, KEY_DATA = 1, 2, 5, 10, 11, 20


class ObjectStruct(Structure):
    _fields_ = (("mini_object", c_uint8 * 64),)


class MessageStruct(Structure):
    _fields_ = (
        ("object", ObjectStruct),
        ("version", c_uint8),
        ("data_type", c_int),
        ("v", c_int),
        ("prf", c_int),
        ("csb_id", c_uint),
        ("cs_id_map_type", c_int),
    )


class PayloadStruct(Structure):
    _fields_ = (("object", ObjectStruct), ("payload_type", c_int), ("payload_len", c_uint))


class KemacStruct(Structure):
    _fields_ = (("payload", PayloadStruct), ("encr_alg", c_int), ("mac_alg", c_int))


class KeyDataStruct(Structure):
    _fields_ = (
        ("payload", PayloadStruct),
        ("type", c_int),
        ("key_len", c_uint16),
        ("key", c_void_p),
        ("salt_len", c_uint16),
        ("salt", c_void_p),
        ("kv", c_int),
        ("kv_len", c_uint8 * 2),
        ("kv_data", c_void_p * 2),
    )


class TStruct(Structure):
    _fields_ = (("payload", PayloadStruct), ("ts_type", c_int), ("ts_value", c_void_p))


class PkeStruct(Structure):
    _fields_ = (("payload", PayloadStruct), ("c", c_int), ("len", c_uint16), ("data", c_void_p))


class RandStruct(Structure):
    _fields_ = (("payload", PayloadStruct), ("len", c_uint8), ("rand", c_void_p))


class SpStruct(Structure):
    _fields_ = (("payload", PayloadStruct), ("policy_no", c_uint), ("protocol", c_int))


class ParamStruct(Structure):
    _fields_ = (("type", c_uint8), ("len", c_uint8), ("value", c_void_p))


class MapStruct(Structure):
    _fields_ = (("policy_no", c_uint8), ("ssrc", c_uint), ("roc", c_uint))


def _library(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(ctypes.util.find_library(name))


class GStreamer:
    """The functions of the library, with the types that they return."""

    def __init__(self) -> None:
        _library("gstreamer-1.0").gst_init(None, None)
        self.sdp = _library("gstsdp-1.0")
        self.glib = _library("glib-2.0")

    def call(self, name: str, *arguments: Any, returns: Any = c_int) -> Any:
        function = getattr(self.sdp, f"gst_mikey_{name}")
        function.restype = returns
        result = function(*arguments)
        if returns is c_int and not result:
            raise RuntimeError(f"gst_mikey_{name} failed")
        return result

    def count(self, name: str, owner: c_void_p) -> int:
        function = getattr(self.sdp, f"gst_mikey_{name}")
        function.restype = c_uint
        return int(function(owner))

    def new_payload(self, number: int) -> c_void_p:
        return c_void_p(self.call("payload_new", number, returns=c_void_p))

    def make(self, wanted: dict[str, Any]) -> str:
        """The octets of a message in hex; its fields carry the names that `read` gives."""
        message = c_void_p(self.call("message_new", returns=c_void_p))
        names = ("version", "data_type", "v", "prf", "csb_id", "cs_id_map_type")
        self.call("message_set_info", message, *(wanted[name] for name in names))
        for entry in wanted["cs_id_map"]:
            numbers = (c_uint8(entry["policy_no"]), c_uint(entry["ssrc"]), c_uint(entry["roc"]))
            self.call("message_add_cs_srtp", message, *numbers)
        for payload in wanted["payloads"]:
            self.call("message_add_payload", message, self.make_payload(payload))
        written = c_void_p(self.call("message_to_bytes", message, None, None, returns=c_void_p))
        size = c_size_t()
        self.glib.g_bytes_get_data.restype = c_void_p
        data = self.glib.g_bytes_get_data(written, ctypes.byref(size))
        return ctypes.string_at(data, size.value).hex()

    def make_payload(self, wanted: dict[str, Any]) -> c_void_p:
        number = wanted["number"]
        payload = self.new_payload(number)
        if number == T:
            value = bytes.fromhex(wanted["ts_value"])
            self.call("payload_t_set", payload, wanted["ts_type"], value)
        elif number == RAND:
            rand = bytes.fromhex(wanted["rand"])
            self.call("payload_rand_set", payload, c_uint8(len(rand)), rand)
        elif number == SP:
            self.call("payload_sp_set", payload, wanted["policy_no"], wanted["protocol"])
            for type_, text in wanted["policy_param"]:
                value = bytes.fromhex(text)
                numbers = (c_uint8(type_), c_uint8(len(value)))
                self.call("payload_sp_add_param", payload, *numbers, value)
        elif number == KEMAC:
            self.call("payload_kemac_set", payload, wanted["encr_alg"], wanted["mac_alg"])
            for key in wanted["keys"]:
                self.call("payload_kemac_add_sub", payload, self.make_key(key))
        return payload

    def make_key(self, wanted: dict[str, Any]) -> c_void_p:
        payload = self.new_payload(KEY_DATA)
        key = bytes.fromhex(wanted["key"])
        self.call("payload_key_data_set_key", payload, wanted["type"] & ~1, c_uint16(len(key)), key)
        if wanted["salt"] is not None:
            salt = bytes.fromhex(wanted["salt"])
            self.call("payload_key_data_set_salt", payload, c_uint16(len(salt)), salt)
        if wanted["spi"] is not None:
            spi = bytes.fromhex(wanted["spi"])
            self.call("payload_key_data_set_spi", payload, c_uint8(len(spi)), spi)
        if wanted["valid_from"] is not None:
            start, end = bytes.fromhex(wanted["valid_from"]), bytes.fromhex(wanted["valid_to"])
            parts = (c_uint8(len(start)), start, c_uint8(len(end)), end)
            self.call("payload_key_data_set_interval", payload, *parts)
        return payload

    def read(self, raw: bytes) -> dict[str, Any]:
        """The fields of a message."""
        given = (raw, c_size_t(len(raw)), None, None)
        found = self.call("message_new_from_data", *given, returns=POINTER(MessageStruct))
        if not found:
            raise RuntimeError("GStreamer cannot read this message")
        message = ctypes.cast(found, c_void_p)
        names = ("version", "data_type", "v", "prf", "csb_id", "cs_id_map_type")
        fields: dict[str, Any] = {name: getattr(found.contents, name) for name in names}
        fields["cs_id_map"] = [
            self.read_map_entry(message, at)
            for at in range(self.count("message_get_n_cs", message))
        ]
        fields["payloads"] = [
            self.read_payload(
                c_void_p(self.call("message_get_payload", message, at, returns=c_void_p))
            )
            for at in range(self.count("message_get_n_payloads", message))
        ]
        return fields

    def read_map_entry(self, message: c_void_p, at: int) -> dict[str, int]:
        entry = self.call("message_get_cs_srtp", message, at, returns=POINTER(MapStruct)).contents
        return {name: getattr(entry, name) for name in ("policy_no", "ssrc", "roc")}

    def read_payload(self, payload: c_void_p) -> dict[str, Any]:
        number = ctypes.cast(payload, POINTER(PayloadStruct)).contents.payload_type
        fields: dict[str, Any] = {"number": number}
        if number == T:
            t = ctypes.cast(payload, POINTER(TStruct)).contents
            length = 4 if t.ts_type == 2 else 8
            fields |= {"ts_type": t.ts_type, "ts_value": _hex(t.ts_value, length)}
        elif number == RAND:
            rand = ctypes.cast(payload, POINTER(RandStruct)).contents
            fields["rand"] = _hex(rand.rand, rand.len)
        elif number == PKE:
            pke = ctypes.cast(payload, POINTER(PkeStruct)).contents
            fields |= {"c": pke.c, "data": _hex(pke.data, pke.len)}
        elif number == SP:
            sp = ctypes.cast(payload, POINTER(SpStruct)).contents
            fields |= {"policy_no": sp.policy_no, "protocol": sp.protocol}
            fields["policy_param"] = [
                self.read_param(payload, at)
                for at in range(self.count("payload_sp_get_n_params", payload))
            ]
        elif number == KEMAC:
            kemac = ctypes.cast(payload, POINTER(KemacStruct)).contents
            fields |= {"encr_alg": kemac.encr_alg, "mac_alg": kemac.mac_alg}
            fields["keys"] = [
                self.read_key(payload, at)
                for at in range(self.count("payload_kemac_get_n_sub", payload))
            ]
        return fields

    def read_param(self, payload: c_void_p, at: int) -> list[Any]:
        given = (payload, at)
        found = self.call("payload_sp_get_param", *given, returns=POINTER(ParamStruct)).contents
        return [found.type, _hex(found.value, found.len)]

    def read_key(self, payload: c_void_p, at: int) -> dict[str, Any]:
        given = (payload, at)
        key = self.call("payload_kemac_get_sub", *given, returns=POINTER(KeyDataStruct)).contents
        start, end = (_hex(key.kv_data[n], key.kv_len[n]) for n in (0, 1))
        return {
            "type": key.type | (1 if key.salt_len else 0),
            "key": _hex(key.key, key.key_len),
            "salt": _hex(key.salt, key.salt_len) if key.salt_len else None,
            "kv": key.kv,
            "spi": start if key.kv == 1 else None,
            "valid_from": start if key.kv == 2 else None,
            "valid_to": end if key.kv == 2 else None,
        }


def _hex(address: int | None, length: int) -> str:
    return ctypes.string_at(address, length).hex() if address else ""


def main() -> None:
    asked = json.load(sys.stdin)
    gstreamer = GStreamer()
    if "make" in asked:
        print(json.dumps(gstreamer.make(asked["make"])))
    else:
        print(json.dumps(gstreamer.read(bytes.fromhex(asked["read"]))))


if __name__ == "__main__":
    main()
