"""What a rule says about itself, for ``explain``, for SARIF and for the pages under docs/rules/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossdoctor.core.report import RuleDoc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lossdoctor.rules.base import Rule


def rule_doc(rule: Rule) -> RuleDoc:
    """The rule's docstring taken apart at its fixed headings; its first paragraph is the summary."""
    from lossdoctor.rules import sections

    told = sections(rule)
    summary = " ".join(told.pop("Summary", "").split("\n\n")[0].split())
    return RuleDoc(
        code=rule.code,
        name=rule.name,
        severity=rule.severity,
        summary=summary,
        sections=told,
        options=rule.options,
        needs=rule.needs,
        preview=rule.preview,
    )


def rule_docs() -> list[RuleDoc]:
    """Of all rules, in the order of their codes."""
    from lossdoctor.rules import all_rules

    return [rule_doc(r) for r in all_rules()]


def rule_page(doc: RuleDoc, pictures: Sequence[str] = (), vocabulary: Sequence[str] = ()) -> str:
    """The rule's page as Markdown, with the lines of two more sections: after the summary, and before the options."""
    lines = [
        f"# {doc.code} {doc.name}",
        "",
        doc.summary,
        "",
        f"Default severity: **{doc.severity}**. Needs {doc.needs}."
        + (" In preview: it runs only when selected by its full code." if doc.preview else ""),
    ]
    lines += pictures
    for title, body in doc.sections.items():
        lines += ["", f"## {title}", "", body]
    lines += vocabulary
    if doc.options:
        lines += ["", "## Options", "", "| option | default | range | unit | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{o.name}` | {o.default:g} | {o.low:g} to {o.high:g} | {_cell(o.unit)} | {_cell(o.meaning)} |"
            for o in doc.options
        ]
        first = doc.options[0]
        lines += ["", "Set them in `lossdoctor.toml`:", "", "```toml", f"[rules.{doc.code}]"]
        lines += [f"{first.name} = {first.default:g}", "```"]
    lines += ["", "## On the command line", "", "```console"]
    lines += [f"$ lossdoctor diagnose runs/ --select {doc.code}", f"$ lossdoctor explain {doc.code}", "```"]
    return "\n".join(lines) + "\n"


def index_page(docs: Sequence[RuleDoc]) -> str:
    """The table of all rules as Markdown."""
    lines = [
        "# What lossdoctor can find",
        "",
        "One page per finding. Codes and names are stable. The same text: `lossdoctor explain CODE`.",
        "",
        "| code | name | severity | sees |",
        "|---|---|---|---|",
    ]
    lines += [f"| [{d.code}]({d.code}.md) | {_shown_name(d)} | {d.severity} | {_cell(d.summary)} |" for d in docs]
    return "\n".join(lines) + "\n"


def _shown_name(doc: RuleDoc) -> str:
    return doc.name + (" (preview)" if doc.preview else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
