"""What an import tells the person who ran it.

Belongs here: the text of the summary. Does not belong here: the import (``importer``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from local.ticketing.importer import ImportReport
from metrics.calendar import business_date


def summary(report: ImportReport, report_path: Path, reporting_zone: str) -> Iterator[str]:
    """Lines of the summary: counts per file and reason, what was made up, what to do next.

    Args:
        report_path: where the refused rows were written.
        reporting_zone: IANA zone that defines the reporting days.
    """
    width = max(map(len, report.files))
    verb = "loaded" if report.is_loaded else "can be loaded"
    for name, file in report.files.items():
        blank = f", {file.blank_lines:,} blank lines passed over" if file.blank_lines else ""
        yield (
            f"  {name:<{width}}  {file.rows:>11,} rows, {file.accepted:>11,} {verb},"
            f" {file.refused:,} refused{blank}"
        )
        for reason_file, column, reason, rows in report.reasons:
            if reason_file == name:
                yield f"  {'':<{width}}    {rows:,} x {f'{column} ' if column else ''}{reason}"
        if file.ignored_columns:
            columns = ", ".join(file.ignored_columns)
            yield f"  {'':<{width}}    ignored columns: {columns}"
    if report.ignored_files:
        yield f"Ignored files: {', '.join(report.ignored_files)}"
    if report.refused:
        yield f"{report.refused:,} rows are refused; each one is in {report_path}"
    if not report.is_loaded:
        yield (
            "Nothing was loaded or changed. Correct the files, or load the other rows with"
            " --allow-refused."
        )
        return
    yield from _consequences(report, reporting_zone)


def _consequences(report: ImportReport, reporting_zone: str) -> Iterator[str]:
    if report.created_customers:
        yield f"Made {report.created_customers:,} customers, without contact data, of the buyers."
    if report.created_ticket_types:
        yield (
            f"Made {report.created_ticket_types:,} ticket types: an admission for each event and"
            " price of tickets without one."
        )
    if "tickets.csv" not in report.files:
        yield "There is no tickets.csv: orders are counted, but tickets and revenue stay 0."
    if "payments.csv" not in report.files:
        yield "There is no payments.csv: no payments are made up, so net_collected stays 0."
    if report.first_order and report.last_order:
        first = business_date(reporting_zone, report.first_order)
        last = business_date(reporting_zone, report.last_order)
        yield f"Orders were placed from {first} to {last}, in days of {reporting_zone}."
    if other := [zone for zone in report.time_zones if zone != reporting_zone]:
        yield (
            f"Events are in {', '.join(other)}, but reporting days are those of {reporting_zone}."
            " BOXOFFICE_TIME_ZONE sets another zone; it must be set before the first run."
        )
