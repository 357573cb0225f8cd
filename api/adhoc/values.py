"""Values of an ad-hoc answer as JSON has them, without losing a digit.

Belongs here: what each Postgres type becomes. Does not belong here: running statements.

Integers stay integers; ``numeric`` becomes a string as Postgres writes it; ``float`` becomes a
number, or a string where JSON has none (NaN, Infinity); dates and times become ISO 8601 strings, or
what Postgres writes where ISO 8601 has none (infinity, years BC); intervals ISO 8601 durations;
ranges, UUIDs and everything else strings; arrays and rows become lists; JSON stays JSON, with its
decimals, and integers of more than a thousand digits, as strings, but where it is nested more than
a hundred deep it becomes a string as a whole.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader

_OFFSET_WITHOUT_MINUTES = re.compile(r"[+-]\d\d$")
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_MAX_DEPTH = 100
_MAX_DIGITS = 1000
_TEXTS = ("numeric", "date", "time", "interval", "uuid", "bytea")
_RANGES = ("daterange", "int4range", "int8range", "numrange", "tsrange", "tstzrange")


class _Text(Loader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


class _Time(Loader):
    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        if not text[0].isdigit() or text.endswith("BC"):
            return text
        text = text.replace(" ", "T", 1)
        return f"{text}:00" if _OFFSET_WITHOUT_MINUTES.search(text, 8) else text


class _Float(Loader):
    def load(self, data: Buffer) -> float | str:
        number = float(bytes(data))
        return number if math.isfinite(number) else bytes(data).decode()


class _Json(Loader):
    def load(self, data: Buffer) -> Any:
        text = bytes(data).decode()
        if _is_deep(text):
            return text
        return json.loads(text, parse_float=str, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _is_deep(text: str) -> bool:
    """Whether brackets are nested deeper than readers and writers of JSON can follow."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return False
    depth = 0
    for mark in _MARKS.findall(text):
        depth += (mark in "[{") - (mark in "]}")
        if depth > _MAX_DEPTH:
            return True
    return False


def json_safe(adapters: AdaptersMap) -> None:
    """Make the owner of the map, a cursor, load every value as JSON has it."""
    for name in (*_TEXTS, *_RANGES):
        adapters.register_loader(name, _Text)
    for name in ("timestamp", "timestamptz", "timetz"):
        adapters.register_loader(name, _Time)
    for name in ("float4", "float8"):
        adapters.register_loader(name, _Float)
    for name in ("json", "jsonb"):
        adapters.register_loader(name, _Json)


def type_name(adapters: AdaptersMap, oid: int) -> str:
    """Name of a type as SQL writes it, for example ``numeric`` or ``text[]``."""
    known = adapters.types.get(oid)
    if known is None:
        return "unknown"
    return f"{known.name}[]" if oid == known.array_oid else known.name
