"""The page of messages as a library user makes it; `tests/cli/test_page.py` looks at its parts."""

from __future__ import annotations

from mikeytool.exchange import Inspector
from mikeytool.lint import lint
from mikeytool.media import HtmlSection, html_document
from tests.support import vectors
from tests.wire.samples import SAMPLES


def test_a_page_of_messages() -> None:
    data = bytes.fromhex(vectors("exchanges")[0]["REQUEST_INIT_PSK"])
    sections = [
        HtmlSection("first", Inspector().read(data), lint(data).findings),
        HtmlSection("second", Inspector().read(SAMPLES[0].data), ()),
    ]
    page = "".join(html_document("two <messages>", sections))
    assert page.count("<article") == 2
    assert "<title>two &lt;messages&gt;</title>" in page
