"""Messages that something happened to: octets changed, taken out, put in, cut off, spliced."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.wire.samples import SAMPLES


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with a few faults; what is spliced in comes from another message."""
    data = bytearray(draw(st.sampled_from(SAMPLES)).data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        end = min(len(data), at + draw(st.integers(1, 12)))
        change = draw(st.sampled_from(["set", "flip", "cut", "insert", "double", "end", "splice"]))
        if change == "set":
            data[at] = draw(st.sampled_from([0, 1, 2, 20, 127, 128, 255]))
        elif change == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut" and len(data) > end - at:
            del data[at:end]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        elif change == "end" and at:
            del data[at:]
        elif change == "splice":
            other = draw(st.sampled_from(SAMPLES)).data
            start = draw(st.integers(0, len(other) - 1))
            data[at:end] = other[start : start + draw(st.integers(1, 80))]
        else:
            data[at:at] = data[at:end]
    return bytes(data)
