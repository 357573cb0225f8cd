r"""The one rule that keeps a spreadsheet from executing a CSV file's texts.

An apostrophe is put in front of every place where a spreadsheet could begin a cell and would then
execute what follows: at the start of a text, and inside it after a comma, semicolon, tab, double
quote or line break, because a file read with another delimiter begins cells there. What executes:

- a formula: ``= + - @ |`` or one of their Unicode look-alikes, even behind blanks, invisible
  characters or quotes, unless the rest is a plain number (``-5.00``), a telephone number
  (``+254712345678``, also with blanks), a handle (``@name``) or only punctuation (``=)``, ``--``);
- at the start of a text also a link (``https:``, ``mailto:``, ``\\server`` ...), an error value
  (``#REF!``), ``DDE(`` and an XLSX escape (``_x003D_``).

Numbers, money and dates have columns of their own and are not texts. Nothing is lost: removing
each apostrophe in front of such a place gives the text back (`restore`).

Belongs here: that rule, for texts. Does not belong here: quoting (CSV) and control characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the read API neutralizes texts, and has no use for Polars otherwise
    import polars as pl

# Written for two engines: Rust's finds the few candidates, Python's has lookarounds.
_BLANK = (
    r"\s\x00-\x1f\x7f-\x9f\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ufffd"
)
_QUOTES = r"'\u2018\u2019\u201c\u201d`\u00b4"
_BREAKS = r",;\t\"\r\n\x0b\x0c\x85\u2028\u2029"
_PLUS, _MINUS = (
    r"+\u207a\u208a\ufb29\ufe62\uff0b",
    r"\-\u2010-\u2015\u207b\u208b\u2212\ufe58\ufe63\uff0d",
)
_AT = r"@\ufe6b\uff20"
_TRIGGERS = rf"=\u207c\u208c\ufe66\uff1d{_PLUS}{_MINUS}{_AT}|\uff5c"
_START = (
    r"[a-zA-Z][a-zA-Z0-9+.\-]*://|"
    r"(?i:https?|ftps?|file|mailto|javascript|vbscript|data|blob|internal|external|tel|sms|ms-\w+):\S|"
    r"(?i:www\.)|\\\\|(?i:dde)[\s\x1c-\x1f]*\(|_x[0-9a-fA-F]{4}_|"
    r"#(?i:REF|NAME|VALUE|DIV/0|NULL|NUM|N/A|SPILL|CALC|FIELD|BLOCKED|CONNECT|UNKNOWN|GETTING_DATA)\b"
)
_NUMBER = r"[+\-]?[0-9]+(?:[., \u00a0\u202f][0-9]+)*(?:[eE][+\-]?[0-9]+)?"

# Without word boundaries, which make Rust's engine slow on texts that are not ASCII.
_ROUGH_START = _START.replace(r"\b", "")
CANDIDATE = (
    rf"^[{_BLANK}{_QUOTES}{_BREAKS}]*(?:[{_TRIGGERS}]|{_ROUGH_START})"
    rf"|[{_BREAKS}][{_BLANK}{_QUOTES}]*[{_TRIGGERS}]"
)
_PLAIN = rf"^(?:{_NUMBER})$"

_HARMLESS = (
    r"(?:[+\-]?[0-9]++(?:[., \u00a0\u202f][0-9]++)*+(?:[eE][+\-]?[0-9]++)?+(?:[,;]|\Z)"
    r"|@(?![A-Za-z]{1,3}[0-9]+\Z|[rR][0-9]*[cC][0-9]*\Z)[^\W\d_][\w.]++\Z"
    r"|[^\w'\"{}#\u2018-\u201f]++\Z)"
)
_PLACE = re.compile(
    rf"\A(?=[{_BLANK}{_QUOTES}{_BREAKS}]*+(?:(?!{_HARMLESS})[{_TRIGGERS}]|{_START}))"
    rf"|(?<=[{_BREAKS}])(?=[{_BLANK}{_QUOTES}]*+(?!{_HARMLESS})[{_TRIGGERS}])"
)
_MARKED = re.compile(
    rf"\A'(?=[{_BLANK}{_QUOTES}{_BREAKS}]*+(?:(?!{_HARMLESS})[{_TRIGGERS}]|{_START}))"
    rf"|(?<=[{_BREAKS}])'(?=[{_BLANK}{_QUOTES}]*+(?!{_HARMLESS})[{_TRIGGERS}])"
)


def neutralize(text: str) -> str:
    """The text with an apostrophe before every place a spreadsheet would execute."""
    return _PLACE.sub("'", text)


def restore(text: str) -> str:
    """The text `neutralize` was given."""
    return _MARKED.sub("", text)


def neutralize_all(values: pl.Series, suspect: pl.Series) -> tuple[pl.Series, int]:
    """A column of texts neutralized, and how many of them were altered.

    Args:
        values: the texts.
        suspect: where they match at least `CANDIDATE`; nothing else is looked at.
    """
    hits = suspect & ~values.str.contains(_PLAIN)
    places = hits.fill_null(value=False).arg_true()
    if not places.len():
        return values, 0
    before = values.gather(places).to_list()
    after = [neutralize(text) for text in before]
    changed = sum(old != new for old, new in zip(before, after, strict=True))
    return (values.scatter(places, after), changed) if changed else (values, 0)
