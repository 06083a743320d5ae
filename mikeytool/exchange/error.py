"""Error messages (RFC 6043 5.4, interpretation 32)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mikeytool.crypto.derive import MessageKeys
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.protection import check_mac, protect
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import TRANSFERS
from mikeytool.wire.payloads import ERR, SP, Payload, V
from mikeytool.wire.registry import CsIdMapType, DataType, ErrorNo, MacAlg, label
from mikeytool.wire.timestamp import Timestamp

_ABOUT_POLICIES = (ErrorNo.INVALID_SP, ErrorNo.INVALID_SPPAR)


class ErrorReceived(Refused):
    """The other side answered with an Error message.

    If `verified` is false, its MAC was not checked and the error is only a hint. `supported` are
    the policies that it names.
    """

    def __init__(
        self, text: str, error_no: int, *, verified: bool, supported: Sequence[SP] = ()
    ) -> None:
        super().__init__(text, error_no)
        self.verified = verified
        self.supported = tuple(supported)


def error_message(
    env: Environment,
    about: HDR,
    error_no: int,
    keys: MessageKeys | None,
    supported: Sequence[SP] = (),
    *,
    t: Timestamp | None = None,
    mac_alg: MacAlg | None = None,
) -> bytes:
    """Make an Error message about a message with the header `about` and the timestamp `t`.

    `keys` are those of the message in which the error occurred, or None for an Error message
    without a MAC. `supported` are the policies to name when security policies are refused. `t` is
    None if it could not be read. `mac_alg` is the MAC algorithm of the message if it is not that of
    its profile.
    """
    t = env.timestamp(t)
    transfer = about.data_type in TRANSFERS
    header = HDR(
        version=about.version,
        data_type=DataType.ERROR.value,
        prf=about.prf,
        csb_id=about.csb_id,
        cs_id_map_type=(CsIdMapType.GENERIC_ID if transfer else CsIdMapType.EMPTY).value,
        cs_id_map=[],
    )
    named = supported if transfer and error_no in _ABOUT_POLICIES else ()
    payloads: list[Payload] = [t.payload(), ERR(error_no=int(error_no)), *named]
    if keys is None:
        return Message(header, payloads).build()
    profile = profile_of(about.prf)
    profile = replace(profile, mac_alg=mac_alg or profile.mac_alg)
    return protect(header, payloads, profile, keys, b"").raw


@contextmanager
def error_message_on_refusal(
    env: Environment, incoming: Incoming, keys: MessageKeys | None, supported: Sequence[SP]
) -> Iterator[None]:
    """Add an Error message for the sender to the refusal of a Ticket Transfer message.

    `keys` are those of the message, which must be verified, or None for an Error message without a
    MAC. Unreadable content is refused in the same way.
    """
    try:
        yield
    except WireError as error:
        refusal = Refused(str(error))
    except Refused as error:
        refusal = error
    else:
        return
    if refusal.answer is None:
        header, t = incoming.message.header, incoming.t
        refusal.answer = error_message(env, header, refusal.error_no, keys, supported, t=t)
    raise refusal from None


def raise_if_error(env: Environment, message: Message, about: HDR, keys: MessageKeys) -> None:
    """Raise ErrorReceived if a message is an Error message about one with the header `about`.

    It counts as verified only with a valid MAC under `keys`, the CSB ID of `about` and an
    acceptable T. Otherwise the text calls it a hint. Raises WireError and Refused if it cannot be
    read.
    """
    if message.header.data_type != DataType.ERROR:
        return
    error = Incoming.read(message, DataType.ERROR)
    numbers = [p.error_no for p in error.message.all(ERR)]
    names = ", ".join(f"{label(ErrorNo, number)} ({number})" for number in numbers) or "none"
    supported = error.message.all(SP)
    first = numbers[0] if numbers else int(ErrorNo.UNSPECIFIED)
    try:
        error.check_answers(about)
        env.check_fresh(error.t)
        if error.message.find(V) is None:
            raise Refused("it has no MAC")
        check_mac(error, keys, b"")
    except Refused as reason:
        raise ErrorReceived(
            f"an Error message came that is not authenticated ({reason}); its hint is: {names}",
            first,
            verified=False,
            supported=supported,
        ) from None
    raise ErrorReceived(
        f"the answer to {label(DataType, about.data_type)} is an Error message: {names}",
        first,
        verified=True,
        supported=supported,
    )
