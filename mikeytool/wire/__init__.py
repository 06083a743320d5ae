"""Convert MIKEY messages between octets and objects (RFC 3830, RFC 6043 and related RFCs).

    from mikeytool.wire import HDR, RAND, DataType, Message, Timestamp, dump

    header = HDR(data_type=DataType.PRE_SHARED, prf=0, csb_id=7, cs_id_map_type=1, cs_id_map=[])
    t = Timestamp.at(1_700_000_000_000_000_000).payload()
    octets = Message(header, [t, RAND(rand=bytes(16))]).build()

    message = Message.parse(octets)
    print(message.header.csb_id, message.payloads)
    for row in dump(message):
        print(row.offset, row.octets.hex(), row.text)

This package uses no keys, clocks or files. `mikeytool.decode`, `describe` and `encode` are built
on it. Its errors are those of `mikeytool.wire.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.wire.annotated_dump import Row as Row
    from mikeytool.wire.annotated_dump import dump as dump
    from mikeytool.wire.errors import MikeyError as MikeyError
    from mikeytool.wire.errors import Refused as Refused
    from mikeytool.wire.errors import StateError as StateError
    from mikeytool.wire.errors import Unavailable as Unavailable
    from mikeytool.wire.errors import Unreachable as Unreachable
    from mikeytool.wire.errors import UsageError as UsageError
    from mikeytool.wire.errors import WireError as WireError
    from mikeytool.wire.grammar import Record as Record
    from mikeytool.wire.header import HDR as HDR
    from mikeytool.wire.header import GenericIdEntry as GenericIdEntry
    from mikeytool.wire.header import SrtpIdEntry as SrtpIdEntry
    from mikeytool.wire.header import SrtpSessionData as SrtpSessionData
    from mikeytool.wire.ibake import ECCPT as ECCPT
    from mikeytool.wire.ibake import ESK as ESK
    from mikeytool.wire.ibake import IBAKE as IBAKE
    from mikeytool.wire.ibake import SK as SK
    from mikeytool.wire.identity import Identity as Identity
    from mikeytool.wire.lua_dissector import dissector as dissector
    from mikeytool.wire.message import Message as Message
    from mikeytool.wire.message import build_chain as build_chain
    from mikeytool.wire.message import key_data as key_data
    from mikeytool.wire.message import leading_chain as leading_chain
    from mikeytool.wire.message import nested as nested
    from mikeytool.wire.message import ticket_data as ticket_data
    from mikeytool.wire.message_types import answers as answers
    from mikeytool.wire.message_types import is_update as is_update
    from mikeytool.wire.message_types import is_update_of as is_update_of
    from mikeytool.wire.message_types import updates as updates
    from mikeytool.wire.payloads import CERT as CERT
    from mikeytool.wire.payloads import CHASH as CHASH
    from mikeytool.wire.payloads import DH as DH
    from mikeytool.wire.payloads import ERR as ERR
    from mikeytool.wire.payloads import ID as ID
    from mikeytool.wire.payloads import IDR as IDR
    from mikeytool.wire.payloads import KEMAC as KEMAC
    from mikeytool.wire.payloads import PKE as PKE
    from mikeytool.wire.payloads import RAND as RAND
    from mikeytool.wire.payloads import RANDR as RANDR
    from mikeytool.wire.payloads import SIGN as SIGN
    from mikeytool.wire.payloads import SP as SP
    from mikeytool.wire.payloads import THDR as THDR
    from mikeytool.wire.payloads import TICKET as TICKET
    from mikeytool.wire.payloads import TP as TP
    from mikeytool.wire.payloads import TR as TR
    from mikeytool.wire.payloads import GeneralExt as GeneralExt
    from mikeytool.wire.payloads import KeyData as KeyData
    from mikeytool.wire.payloads import Payload as Payload
    from mikeytool.wire.payloads import PolicyParam as PolicyParam
    from mikeytool.wire.payloads import Raw as Raw
    from mikeytool.wire.payloads import T as T
    from mikeytool.wire.payloads import V as V
    from mikeytool.wire.registry import CacheType as CacheType
    from mikeytool.wire.registry import CertType as CertType
    from mikeytool.wire.registry import CsIdMapType as CsIdMapType
    from mikeytool.wire.registry import DataType as DataType
    from mikeytool.wire.registry import DhGroup as DhGroup
    from mikeytool.wire.registry import EncrAlg as EncrAlg
    from mikeytool.wire.registry import ErrorNo as ErrorNo
    from mikeytool.wire.registry import ExtensionType as ExtensionType
    from mikeytool.wire.registry import HashFunc as HashFunc
    from mikeytool.wire.registry import IdRole as IdRole
    from mikeytool.wire.registry import IdType as IdType
    from mikeytool.wire.registry import KeyType as KeyType
    from mikeytool.wire.registry import KeyValidity as KeyValidity
    from mikeytool.wire.registry import MacAlg as MacAlg
    from mikeytool.wire.registry import Namespace as Namespace
    from mikeytool.wire.registry import NextPayload as NextPayload
    from mikeytool.wire.registry import PrfFunc as PrfFunc
    from mikeytool.wire.registry import ProtType as ProtType
    from mikeytool.wire.registry import RandRole as RandRole
    from mikeytool.wire.registry import SrtpAuthAlg as SrtpAuthAlg
    from mikeytool.wire.registry import SrtpEncrAlg as SrtpEncrAlg
    from mikeytool.wire.registry import SrtpParam as SrtpParam
    from mikeytool.wire.registry import SrtpPrf as SrtpPrf
    from mikeytool.wire.registry import SType as SType
    from mikeytool.wire.registry import TicketFlag as TicketFlag
    from mikeytool.wire.registry import TicketType as TicketType
    from mikeytool.wire.registry import TsRole as TsRole
    from mikeytool.wire.registry import TsType as TsType
    from mikeytool.wire.registry import label as label
    from mikeytool.wire.sakke import SAKKE as SAKKE
    from mikeytool.wire.srtp_policy import SrtpPolicy as SrtpPolicy
    from mikeytool.wire.srtp_policy import srtp_defaults as srtp_defaults
    from mikeytool.wire.text_dump import DumpLine as DumpLine
    from mikeytool.wire.text_dump import dump_lines as dump_lines
    from mikeytool.wire.text_tree import Branch as Branch
    from mikeytool.wire.text_tree import message_tree as message_tree
    from mikeytool.wire.timestamp import Timestamp as Timestamp

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "annotated_dump": (
            "Row",
            "dump",
        ),
        "errors": (
            "MikeyError",
            "Refused",
            "StateError",
            "Unavailable",
            "Unreachable",
            "UsageError",
            "WireError",
        ),
        "grammar": ("Record",),
        "header": (
            "HDR",
            "GenericIdEntry",
            "SrtpIdEntry",
            "SrtpSessionData",
        ),
        "ibake": (
            "ECCPT",
            "ESK",
            "IBAKE",
            "SK",
        ),
        "identity": ("Identity",),
        "message": (
            "Message",
            "build_chain",
            "key_data",
            "leading_chain",
            "nested",
            "ticket_data",
        ),
        "text_dump": (
            "DumpLine",
            "dump_lines",
        ),
        "text_tree": (
            "Branch",
            "message_tree",
        ),
        "message_types": (
            "answers",
            "is_update",
            "is_update_of",
            "updates",
        ),
        "payloads": (
            "CERT",
            "CHASH",
            "DH",
            "ERR",
            "GeneralExt",
            "ID",
            "IDR",
            "KEMAC",
            "KeyData",
            "PKE",
            "Payload",
            "PolicyParam",
            "RAND",
            "RANDR",
            "Raw",
            "SIGN",
            "SP",
            "T",
            "THDR",
            "TICKET",
            "TP",
            "TR",
            "V",
        ),
        "registry": (
            "CacheType",
            "CertType",
            "CsIdMapType",
            "DataType",
            "DhGroup",
            "EncrAlg",
            "ErrorNo",
            "ExtensionType",
            "HashFunc",
            "IdRole",
            "IdType",
            "KeyType",
            "KeyValidity",
            "MacAlg",
            "Namespace",
            "NextPayload",
            "PrfFunc",
            "ProtType",
            "RandRole",
            "SType",
            "SrtpAuthAlg",
            "SrtpEncrAlg",
            "SrtpParam",
            "SrtpPrf",
            "TicketFlag",
            "TicketType",
            "TsRole",
            "TsType",
            "label",
        ),
        "sakke": ("SAKKE",),
        "srtp_policy": (
            "SrtpPolicy",
            "srtp_defaults",
        ),
        "timestamp": ("Timestamp",),
        "lua_dissector": ("dissector",),
    },
)
