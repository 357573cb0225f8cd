"""Looking for contact data in exported files, whatever the format and however it is packed."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import pyarrow.parquet as pq
from pypdf import PdfReader

CONTACT = ["attendee_name", "attendee_email", "attendee_phone"]
UNIQUE_CONTACTS = """UPDATE tickets SET
    attendee_name = '=Zoë' || md5('n' || ticket_id) || ' Q' || md5('m' || ticket_id),
    attendee_email = 'L' || md5('l' || ticket_id) || '@D' || md5('d' || ticket_id) || '.example',
    attendee_phone = '+25479' || lpad((ticket_id * 7919 % 1000000000)::text, 9, '8')"""
"""Gives every ticket contact data that cannot occur anywhere else by chance."""


def spill() -> AbstractContextManager[BinaryIO]:
    """A temporary file for formats that seek."""
    return cast("AbstractContextManager[BinaryIO]", TemporaryFile("w+b"))


def said(name: str, data: bytes) -> str:
    """Everything a file says, unpacked: contents, names inside it, properties, statistics."""
    match name.rsplit(".", 1)[-1]:
        case "xlsx" | "zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return "".join(n + said(n, archive.read(n)) for n in archive.namelist())
        case "pdf":
            reader = PdfReader(io.BytesIO(data))
            pages = "".join(page.extract_text() for page in reader.pages)
            return re.sub(r"\s", "", pages) + str(reader.metadata) + data.decode("latin-1")
        case "parquet":
            file = pq.ParquetFile(io.BytesIO(data))
            rows = json.dumps(file.read().to_pylist(), default=str, ensure_ascii=False)
            groups = range(file.metadata.num_row_groups)
            statistics = [file.metadata.row_group(n).to_dict() for n in groups]
            return f"{rows}{statistics}{file.schema_arrow.metadata}"
        case _:
            return data.decode()


def fragments(text: str) -> set[str]:
    """Every part of the contact data in a text: name parts, local parts, domains, numbers."""
    return set(re.findall(r"[ëQLD][0-9a-f]{32}|(?<=79)[0-9]{9}\b", text))


def of_person(person: dict[str, Any], columns: Iterable[str] = CONTACT) -> set[str]:
    """Every part of a person's contact data."""
    return set().union(*(fragments(person[column]) for column in columns))


def anywhere(text: str, parts: set[str]) -> set[str]:
    """Parts that are somewhere in a text, whatever their case and whatever is around them."""
    folded = text.lower()
    hashes = set(re.findall(r"(?=([0-9a-f]{32}))", folded))
    digits = set(re.findall(r"(?=(79[0-9]{9}))", folded))
    return {p for p in parts if p[1:].lower() in hashes or "79" + p in digits}
