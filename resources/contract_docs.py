"""The source contract as tables of ``docs/adopting.md``; ``python -m resources.contract_docs``.

Belongs here: turning ``resources.source_contract`` into text between two marks of that page. Does
not belong here: the rest of the page, which is written by hand.
"""

from __future__ import annotations

from pathlib import Path

from resources.source_contract import FACTS, Fact, SourceColumn

PAGE = Path(__file__).parent.parent / "docs" / "adopting.md"
BEGIN = "<!-- contract: written by python -m resources.contract_docs -->\n"
END = "<!-- end of contract -->\n"


def _fact(fact: Fact) -> str:
    reads = (
        f"A row belongs to the reporting day of {', '.join(f'`{day}`' for day in fact.days)}."
        if fact.days
        else "Read whole with every run: return every row."
    )
    lines = [f"#### `{fact.name}`\n", f"{fact.description} {reads}\n"]
    lines += ["| column | type | may be NULL | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{c.name}` | {c.type} | {'yes' if c.nullable else 'no'} | {_meaning(c)} |"
        for c in fact.columns
    ]
    return "\n".join(lines) + "\n"


def _meaning(column: SourceColumn) -> str:
    """Description, and the closed domain where there is one."""
    if not column.values:
        return column.description
    return f"{column.description} One of {', '.join(f'`{value}`' for value in column.values)}."


def render() -> str:
    """A section for each fact."""
    return "\n".join(_fact(fact) for fact in FACTS.values())


def page_with(tables: str, page: str) -> str:
    """The page with the text between its marks replaced; raises ``ValueError`` without marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(render(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
