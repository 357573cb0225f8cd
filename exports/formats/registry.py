"""Every format by its name.

Belongs here: what a caller needs to know of a format before writing. Does not belong here: writers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exports.formats.writing import Result


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        extension: of file names, without the dot.
        content_type: its media type.
        writer: module and function that write it.
        seeks: the target must be an empty file that can be read, written and sought; otherwise
            it is only written, from front to back, and may be an upload.
    """

    extension: str
    content_type: str
    writer: str
    seeks: bool = False

    @property
    def write(self) -> Callable[..., Result]:
        """`(rows, description, target) -> Result`; CSV also takes `CsvOptions`.

        One that seeks also takes what gives it further temporary files.

        Imported on first use: who only asks for a file needs no engine in memory.
        """
        found: Callable[..., Result] = resolve_name(f"exports.formats.{self.writer}")
        return found


FORMATS = {
    "csv": Format("csv", "text/csv; charset=utf-8", "csv_file:write_csv"),
    "xlsx": Format(
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx:write_xlsx",
        seeks=True,
    ),
    "pdf": Format("pdf", "application/pdf", "pdf:write_pdf"),
    "json": Format("json", "application/json", "json_file:write_json"),
    "ndjson": Format("ndjson", "application/x-ndjson", "json_file:write_ndjson"),
    "parquet": Format("parquet", "application/vnd.apache.parquet", "parquet:write_parquet"),
}
