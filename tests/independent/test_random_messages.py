"""Lint over random messages of the second implementation: correct ones, and ones that are not."""

from __future__ import annotations

from collections import Counter

from mikeytool.lint import Level, lint
from mikeytool.wire.describe import compose, describe
from mikeytool.wire.message import Message
from tests.independent.broken_messages import MUSTS, UNSEEN
from tests.independent.random_messages import Draft, Writer
from tests.series import Series


def findings(draft: Draft, *levels: Level) -> Counter[str]:
    """The codes of these levels, with and without the message before."""
    init = None if draft.init is None else Message.parse(draft.init.build())
    found: Counter[str] = Counter()
    for before in (None, init) if init is not None else (None,):
        report = lint(draft.build(), init=before)
        found += Counter(one.code for one in report.findings if one.level in levels)
    return found


def test_correct_messages_have_no_error(series: Series) -> None:
    writer, seen = Writer(series.chance()), Counter[int]()
    while sum(seen.values()) < series.length(2000, 200):
        for draft in writer.messages():
            found = findings(draft, Level.ERROR)
            assert not found, (draft.kind, found, draft.build().hex())
            seen[draft.kind] += 1
    assert len(seen) == 27


def test_correct_messages_are_read_and_written_again(series: Series) -> None:
    writer = Writer(series.chance())
    for _ in range(series.length(700, 60)):
        for draft in writer.messages():
            raw = draft.build()
            described = describe(Message.parse(raw), show_keys=True)
            assert compose(described).build() == raw


TOLD = (Level.ERROR, Level.WARNING)


def test_one_broken_must_is_told(series: Series) -> None:
    """Or the table says why not."""
    chance = series.chance()
    writer, used, drafts = Writer(chance), Counter[str](), list[Draft]()
    every = {must.text for must in MUSTS} if series.whole else set()
    while sum(used.values()) < series.length(2000, 250) or every - set(used):
        drafts = drafts or writer.messages()
        original = drafts.pop()
        for must in chance.sample(MUSTS, 6):
            draft = original.copy()
            if not must.change(draft, chance):
                continue
            new = findings(draft, *TOLD) - findings(original, *TOLD)
            assert bool(new) != (must.text in UNSEEN), (must, draft.kind, draft.build().hex())
            used[must.text] += 1


def test_the_table_has_reasons_for_what_is_not_told() -> None:
    texts = [(must.section, must.text) for must in MUSTS]
    assert len(texts) == len(set(texts))
    assert all(len(reason) > 10 for reason in UNSEEN.values())
