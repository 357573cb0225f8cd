"""Every format by its name.

Belongs here: what a caller needs to know of a format before writing. Does not belong here: writers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exports.formats.csv_file import write_csv
from exports.formats.json_file import write_json, write_ndjson
from exports.formats.parquet import write_parquet
from exports.formats.pdf import write_pdf
from exports.formats.writing import Result
from exports.formats.xlsx import write_xlsx


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        extension: of file names, without the dot.
        content_type: its media type.
        write: `(rows, description, target) -> Result`; CSV also takes `CsvOptions`.
        seeks: the target must be an empty file that can be read, written and sought; otherwise
            it is only written, from front to back, and may be an upload.
    """

    extension: str
    content_type: str
    write: Callable[..., Result]
    seeks: bool = False


FORMATS = {
    "csv": Format("csv", "text/csv; charset=utf-8", write_csv),
    "xlsx": Format(
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        write_xlsx,
        seeks=True,
    ),
    "pdf": Format("pdf", "application/pdf", write_pdf),
    "json": Format("json", "application/json", write_json),
    "ndjson": Format("ndjson", "application/x-ndjson", write_ndjson),
    "parquet": Format("parquet", "application/vnd.apache.parquet", write_parquet),
}
