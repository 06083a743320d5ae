"""A mixer for three members: each speaks a tone and hears the tones of the other two.

    python examples/mixer.py

G.711 (mu-law) in SRTP under the group key of a conference. The members call in with the library;
their telephones open packets with the session that the mixer's stream was told in.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from pathlib import Path

from mikeytool import client, conference
from mikeytool import exchange as mikey
from mikeytool.kms import Store
from mikeytool.srtp import MasterKey, Receiver, Sender, policy_for, suite

FRAME = 160  # samples of 20 ms
FRAMES = 50
SUITE = suite("AES_CM_128_HMAC_SHA1_80")
TONES = {"alice": 400, "bob": 650, "carol": 1100}  # Hz


def to_linear(octet: int) -> int:
    """A sample of mu-law, as 16 bits (ITU-T G.711)."""
    exponent, mantissa = (octet ^ 0xFF) >> 4 & 7, (octet ^ 0xFF) & 15
    size = ((mantissa << 3) + 132 << exponent) - 132
    return size if octet & 0x80 else -size


LINEAR = [to_linear(octet) for octet in range(256)]


def to_ulaw(sample: int) -> int:
    """Reverse `to_linear`, to the nearest sample below."""
    size = min(abs(sample), 32635) + 132
    exponent = size.bit_length() - 8
    return ((exponent << 4 | size >> exponent + 3 & 15) ^ 0xFF) & (0xFF if sample >= 0 else 0x7F)


def mixed(frames: list[bytes]) -> bytes:
    """The sum of frames."""
    columns = zip(*frames, strict=True)
    return bytes(to_ulaw(sum(LINEAR[one] for one in samples)) for samples in columns)


def loudness(samples: list[int], hertz: int) -> float:
    """How loud a tone is in some sound: the correlation with it, from 0 to 1."""
    turn = 2 * math.pi * hertz / 8000
    real = sum(sample * math.cos(turn * at) for at, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(turn * at) for at, sample in enumerate(samples))
    return 2 * math.hypot(real, imaginary) / len(samples) / 8000


class Member:
    """A member: their stream to send, and the mixer's stream, which they receive."""

    def __init__(self, name: str, session: mikey.Session) -> None:
        sent, received = session.crypto_sessions
        self.name, self.tone, self.heard = name, TONES[name], list[int]()
        self.ssrc, self.mixer_ssrc = sent.ssrc, received.ssrc
        media = session.media_key(sent)
        key = MasterKey(media.key, media.salt)
        self.sender = Sender(SUITE, key, ssrcs=frozenset({self.ssrc}))
        self.receiver = Receiver(SUITE, [key], ssrcs=frozenset({self.mixer_ssrc}))

    def speak(self, number: int) -> bytes:
        """An SRTP packet with 20 ms of the tone."""
        turn = 2 * math.pi * self.tone / 8000
        start = number * FRAME
        sound = (to_ulaw(int(8000 * math.cos(turn * (start + at)))) for at in range(FRAME))
        header = bytes([0x80, 0]) + number.to_bytes(2) + start.to_bytes(4) + self.ssrc.to_bytes(4)
        return self.sender.protect(header + bytes(sound))

    def hear(self, packet: bytes) -> None:
        """Open a packet of the mixer's; it has two CSRCs."""
        clear = self.receiver.unprotect(packet)
        self.heard += [LINEAR[octet] for octet in clear[12 + 4 * (clear[0] & 15) :]]


def set_up(folder: Path) -> list[Member]:
    """A KMS, a conference and three people in it."""
    env = mikey.Environment(clock=time.time_ns, random=os.urandom)
    name = mikey.Identity.from_text
    factory, focus = name("sip:factory@conf.example.com"), name("sip:room@conf.example.com")
    people = {one: name(f"sip:{one}@example.com") for one in TONES}
    store, psks = Store.in_memory(name("sip:kms.example.com")), {}
    for who in (*people.values(), factory):
        psks[who] = os.urandom(16)
        store.add_user(who, psks[who], act_as=["sip:*@conf.example.com"] if who == factory else [])
    kms = client.StoreKms(store)
    settings = conference.Settings(factory, psks[factory], "kms.db", kms.identity, ())
    state = conference.ConferenceState.init(folder / "conference.db", settings)
    system = conference.ConferenceSystem(state, env, kms)

    def call(
        caller: mikey.Identity, to: mikey.Identity, *guests: mikey.Identity
    ) -> tuple[mikey.HeldTicket, mikey.TransferInit]:
        """A ticket for `to` and a TRANSFER_INIT with it."""
        flags, prf = mikey.TicketFlag.from_letters("DEFGHIJMNO"), mikey.PROFILE_128.prf
        policy = mikey.TicketPolicy(prf, flags, responders=(to, *guests))
        pending = client.PreSharedKey(psks[caller]).request(env, policy, caller, kms.identity)
        held = pending.accept(env, kms.answer(env, pending.init.raw))[0].held
        streams = [mikey.CsSpec(send=True), mikey.CsSpec(send=False)]
        init = mikey.transfer_init(
            env, held, initiator=caller, responder=to, crypto_sessions=streams,
            policies=[policy_for(SUITE, 0)],
        )  # fmt: skip
        return held, init

    creator, *guests = people.values()
    conference.create(
        system, call(creator, factory, *guests)[1].raw, focus, [conference.Purpose.AUDIO],
        topology=conference.Topology.MIX_MINUS,
    )  # fmt: skip
    members = []
    for one, who in people.items():
        held, init = call(who, focus)
        answer = conference.call_in(system, init.raw)
        session = mikey.finish_transfer(env, held, init, answer, lambda _policy: True)
        members.append(Member(one, session))
    conference.set_up_mixer(system, focus, conference.Purpose.AUDIO, folder / "mixer.session")
    state.close()
    return members


def main() -> None:
    """Mix a second of sound."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MIKEYTOOL_STATE"] = str(folder / "client.state")
        members = set_up(folder)
        with conference.Mixer.open(folder / "conference.db", folder / "mixer.session") as mixer:
            listeners = {one.mixer_ssrc: one for one in members}
            for number in range(FRAMES):
                sound = {one.ssrc: mixer.take(one.speak(number)).payload for one in members}
                for stream in mixer.streams:
                    others = sound.keys() - stream.without
                    frame = mixed([sound[ssrc] for ssrc in others])
                    packet = mixer.send(stream, frame, number * FRAME, others)
                    listeners[stream.ssrc].hear(packet)
    for one in members:
        print(f"{one.name} hears", end="")
        for name, tone in TONES.items():
            share = loudness(one.heard, tone)
            print(f"  {name} {share:.2f}", end="")
            if not (share < 0.02 if name == one.name else 0.95 < share < 1.05):
                raise SystemExit(f"{one.name} should hear the other two, and nobody else")
        print()


if __name__ == "__main__":
    main()
