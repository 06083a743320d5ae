"""Random calls: every packet with a key comes out clear, and no other is touched."""

from __future__ import annotations

import io
import os
from collections import Counter

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.media import Settings, decrypt_capture
from mikeytool.media.receiver_demux import MAX_TRIES, ReceiverDemux
from mikeytool.srtp.roc_search import SearchBudget
from tests.media.random_calls import Scene

SEEDS = int(os.environ.get("RANDOM_CALLS", "12"))


def decrypted(scene: Scene) -> tuple[list[bytes], Counter[str]]:
    """The packets of the capture afterwards, and the counts of all streams."""
    out = io.BytesIO()
    source = io.BytesIO(scene.capture())
    # A few attempts far from the likely ROC are enough: no gap in these calls is so long.
    settings = Settings(on_error="keep", search_budget=SearchBudget())
    report = decrypt_capture(source, out, settings=settings)
    total: Counter[str] = Counter()
    for row in report.streams:
        total.update(done=row.done, failed=row.failed, skipped=row.skipped, replayed=row.replayed)
    return [record.frame[14:] for record in open_capture(io.BytesIO(out.getvalue()))], total


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_calls(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(seed)
    tries: Counter[int] = Counter()
    try_one = ReceiverDemux._try

    def counted(self: ReceiverDemux, context, route, packet, record, **given):  # type: ignore[no-untyped-def]
        tries[record.number] += 1
        return try_one(self, context, route, packet, record, **given)

    monkeypatch.setattr(ReceiverDemux, "_try", counted)
    packets, counts = decrypted(scene)
    wrong = [
        (number, frame.keyed)
        for number, (frame, packet) in enumerate(zip(scene.frames, packets, strict=True), 1)
        if packet != frame.clear
    ]
    assert wrong == []
    assert counts["done"] == sum(frame.keyed for frame in scene.frames)
    if not scene.lost_answers:
        assert (counts["failed"], counts["replayed"]) == (0, 0)
    assert max(tries.values()) <= MAX_TRIES + 2


@pytest.mark.parametrize("seed", range(3))
def test_with_few_receivers_the_outcome_is_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mikeytool.media.receiver_demux.MAX_RECEIVERS", 8)
    monkeypatch.setattr("mikeytool.media.demux.MAX_ROUTES", 8)
    scene = Scene(seed)
    packets, _ = decrypted(scene)
    assert [frame.clear for frame in scene.frames] == packets
