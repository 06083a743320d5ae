"""What is wrong with a MIKEY message: what the RFCs forbid, and known habits of senders.

    from mikeytool.lint import RULES, lint

    report = lint("a=key-mgmt:mikey AQAFAAAAAAEAAQsA7JpS8QAAAAALEAECAwQFBgcICQoLDA0ODxA=")
    for finding in report.findings:
        print(finding.level, finding.code, finding.payload, finding.offset, finding.text)
    print(report.error, len(RULES))

Nothing is decrypted and no MAC is verified: the rules look at what everyone can see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikeytool.lazy import face

if TYPE_CHECKING:
    from mikeytool.lint.check import RULES as RULES
    from mikeytool.lint.check import Report as Report
    from mikeytool.lint.check import lint as lint
    from mikeytool.lint.code_list import codes_of as codes_of
    from mikeytool.lint.code_list import rule_rows as rule_rows
    from mikeytool.lint.code_list import rule_table as rule_table
    from mikeytool.lint.rule import Finding as Finding
    from mikeytool.lint.rule import Level as Level
    from mikeytool.lint.rule import Profile as Profile
    from mikeytool.lint.rule import Rule as Rule
    from mikeytool.lint.sarif import Sarif as Sarif

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "check": ("RULES", "Report", "lint"),
        "code_list": ("codes_of", "rule_rows", "rule_table"),
        "rule": ("Finding", "Level", "Profile", "Rule"),
        "sarif": ("Sarif",),
    },
)
