"""The commands that answer questions about numbers: ``status``, ``explain`` and ``as-of``.

Belongs here: how the answers are shown. Does not belong here: the answers (``assets.explain``,
``assets.as_of``, ``warehouse.freshness``, ``warehouse.periods``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.console import fail, load_settings

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from assets.as_of import Then
    from assets.explain import Explanation

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON; money is in minor units.")]
_WIDEST = 10_000
_EVENT = Annotated[int | None, typer.Option(help="Only this event.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(status)
    app.command()(explain)
    app.command("as-of")(as_of)


def status(as_json: _JSON = False) -> None:
    """How far the numbers go, what is held back, waiting or unusable, and what is final."""
    import psycopg

    from warehouse.freshness import read_freshness
    from warehouse.periods import bucket_name, read_states
    from warehouse.publish import connect

    settings = load_settings()
    try:
        with connect(settings.warehouse_url.get_secret_value()) as connection:
            fresh = read_freshness(connection, settings.time_zone)
            states = read_states(
                connection, settings.time_zone, settings.final_after_days, datetime.now(UTC)
            )
    except psycopg.Error as error:
        raise fail(error) from None
    if as_json:
        _print_json(asdict(fresh) | {"period_states": asdict(states)})
        return
    console = _console()
    _table(
        console,
        "Source facts",
        ("fact", "newest day", "ingested until", "late days waiting"),
        ((f.fact, f.newest_day, f.ingested_until, f.late_days_waiting) for f in fresh.facts),
    )
    _table(
        console,
        "Datasets",
        ("dataset", "complete through", "published at", "open / provisional / final", "missing"),
        (
            (
                d.dataset,
                d.complete_through,
                d.published_at,
                " / ".join(map(str, states.counts.get(d.dataset, {}).values())),
                ", ".join(d.gaps) or "none",
            )
            for d in fresh.datasets
        ),
    )
    for held in fresh.held_back:
        serving = f"published at {held.serving_since}" if held.serving_since else "none"
        console.print(
            f"[red]Held back:[/red] {held.dataset} {held.partition_key} since {held.audited_at}"
            f" (readers see: {serving}; run {held.run_id})"
        )
        console.print(f"  {json.dumps(held.failures, default=str)}", markup=False)
    if fresh.quarantined:
        _table(
            console,
            "Quarantine",
            ("fact", "reason", "rows", "first day", "last day", "last seen at"),
            (tuple(asdict(row).values()) for row in fresh.quarantined),
        )
    if fresh.waiting:
        _table(
            console,
            "Late days that wait to be read again",
            ("day", "fact", "found at", "found by", "requests", "requested at"),
            (tuple(asdict(day).values()) for day in fresh.waiting),
        )
    p995 = "not measured" if states.p995_seconds is None else bucket_name(states.p995_seconds)
    console.print(
        f"99.5 % of movements are recorded within: {p995}. A complete day is final after"
        f" {bucket_name(int(states.final_after.total_seconds()))}."
    )


def explain(
    dataset: Annotated[str, typer.Argument(help="For example daily_metrics.")],
    event: Annotated[int, typer.Option(help="Event.")],
    metric: Annotated[str, typer.Option(help="For example refunds; see docs/metrics.md.")],
    day: Annotated[
        str | None, typer.Option(help="Any reporting day of the period, YYYY-MM-DD.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Needed only where the event has several.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Of daily_payments.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Of daily_payments.")] = None,
    ticket_type: Annotated[int | None, typer.Option(help="Of daily_ticket_types.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Movements to print; the sum is of all of them.")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """The passport of a published number: version, run, inputs and the movements it sums."""
    import duckdb
    import psycopg

    from assets.explain import explain as explain_cell
    from metrics.calendar import parse_date
    from pipelines.definitions import build_lake
    from warehouse.cells import Cell

    settings = load_settings()
    given = {"provider": provider, "instrument": instrument, "ticket_type_id": ticket_type}
    scope = {name: value for name, value in given.items() if value is not None}
    try:
        cell = Cell(dataset, metric, event, parse_date(day) if day else None, currency, scope)
        found = explain_cell(build_lake(settings), settings.warehouse_url.get_secret_value(), cell)
    except (ValueError, psycopg.Error, duckdb.Error) as error:
        raise fail(error) from None
    if as_json:
        _print_json(_explanation(found))
    else:
        _print_explanation(_console(), found, limit)
    if found.difference:
        raise typer.Exit(1)


def _explanation(found: Explanation) -> dict[str, Any]:
    return {
        **asdict(found.cell),
        **asdict(found.found),
        "unit": found.metric.unit,
        "definition": found.metric.definition,
        "formula": found.metric.formula,
        "total": found.total,
        "difference": found.difference,
        "lake_snapshots_read": found.snapshots,
        "notes": found.notes,
        "movements": found.movements.to_dicts(),
    }


def _print_explanation(console: Console, answer: Explanation, limit: int | None) -> None:
    found, cell = answer.found, answer.cell
    version = found.version
    scope = "".join(f", {name} {value}" for name, value in (cell.scope or {}).items())
    period = f"{found.first}" if found.first == found.last else f"{found.first} to {found.last}"
    console.print(
        f"[bold]{cell.dataset}[/bold], {period}, event {cell.event_id}{scope}:"
        f" [bold]{cell.metric} = {_amount(found.value, answer)}[/bold]"
    )
    console.print(f"{answer.metric.definition} Formula: {answer.metric.formula}.")
    _pairs(
        console,
        ("state", f"{version.state}{'' if version.is_complete else ' (not complete)'}"),
        ("publication", f"{version.publication_id}, version {version.data_version}"),
        ("published at", version.published_at),
        ("run", version.run_id),
        ("definition", version.code_version),
        ("lake snapshot", version.lake_snapshot),
        ("source watermark", version.source_watermark),
    )
    if found.held_back:
        console.print("[red]A newer version is held back; readers see this one:[/red]")
        for failure in found.held_back:
            console.print(f"  {json.dumps(failure, default=str)}", markup=False)
    _table(
        console,
        "Read from the source",
        ("fact", "days", "oldest snapshot", "newest snapshot", "rows", "quarantined", ""),
        (
            (
                *(i.fact, i.days, i.oldest_snapshot_at, i.newest_snapshot_at, i.row_count),
                *(i.quarantined_count, "read again since" if i.is_newer else ""),
            )
            for i in found.inputs
        ),
    )
    if found.restatements:
        _table(
            console,
            "Restated",
            ("at", "old", "new", "cause", "was final", "run"),
            (
                (
                    *(r.restated_at, _amount(r.old_value, answer), _amount(r.new_value, answer)),
                    *(r.cause, r.was_final, r.run_id),
                )
                for r in found.restatements
            ),
        )
    shown = answer.movements if limit is None else answer.movements.head(limit)
    filled = _columns_worth_showing(shown, answer)
    _table(
        console,
        "Movements",
        filled,
        (
            tuple(_cell(name, value, answer) for name, value in zip(filled, row, strict=True))
            for row in shown.select(filled).iter_rows()
        ),
    )
    count = answer.movements.height
    if shown.height < count:
        console.print(f"{shown.height:,} of {count:,} are shown (--limit); the sum is of all.")
    console.print(f"Sum of {count:,}: [bold]{_amount(answer.total, answer)}[/bold]")
    for note in answer.notes:
        console.print(f"[yellow]Note:[/yellow] {note}")


def _columns_worth_showing(shown: pl.DataFrame, answer: Explanation) -> list[str]:
    """Without the columns that are empty, the same in all rows by the question, or said twice."""
    said = {answer.metric.name}
    if answer.found.first == answer.found.last:
        said.add("business_date")
    return [
        name
        for name in shown.columns
        if name not in said and not set(shown[name].unique()) <= {None, 0}
    ]


def _cell(name: str, value: object, answer: Explanation) -> object:
    """A movement's contribution and its terms as amounts, everything else as it is."""
    from metrics.money import format_minor
    from metrics.registry import METRICS, MONEY

    if name == "contribution" and isinstance(value, int):
        return _amount(value, answer)
    if name in METRICS and METRICS[name].unit == MONEY and isinstance(value, int):
        return format_minor(value, answer.found.currency)
    return value


def _amount(value: int, answer: Explanation) -> str:
    from metrics.money import format_minor
    from metrics.registry import MONEY

    currency = answer.found.currency
    if answer.metric.unit == MONEY:
        return f"{format_minor(value, currency)} {currency}"
    return f"{value:,}"


def as_of(
    instant: Annotated[str, typer.Argument(help="With a zone: 2026-03-02T09:00Z.")],
    dataset: Annotated[str, typer.Argument(help="For example daily_metrics.")],
    day: Annotated[str | None, typer.Option(help="Reporting day, YYYY-MM-DD.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First reporting day.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Last reporting day.")
    ] = None,
    event: _EVENT = None,
    as_json: _JSON = False,
) -> None:
    """What readers saw at an instant: the versions in force, and their rows from the lake."""
    import duckdb
    import psycopg

    from assets.as_of import as_of as answer_as_of
    from assets.as_of import parse_instant
    from metrics.calendar import parse_date
    from pipelines.definitions import build_lake

    if day is not None and (first is not None or last is not None):
        raise fail("give --day, or --from and --to")
    settings = load_settings()
    try:
        start, end = (parse_date(text) if text else None for text in (day or first, day or last))
        then = answer_as_of(
            build_lake(settings),
            settings.warehouse_url.get_secret_value(),
            dataset,
            parse_instant(instant),
            settings.time_zone,
            start,
            end,
        )
    except (ValueError, psycopg.Error, duckdb.Error) as error:
        raise fail(error) from None
    if as_json:
        _print_json([_partition(partition, event) for partition in then])
        return
    _print_as_of(_console(), dataset, instant, then, event)


def _of_event(rows: pl.DataFrame | None, event: int | None) -> pl.DataFrame | None:
    if rows is None or event is None:
        return rows
    return rows.filter(rows["event_id"] == event)


def _partition(partition: Then, event: int | None) -> dict[str, Any]:
    rows = _of_event(partition.rows, event)
    return {
        "partition_key": partition.partition_key,
        "origin": partition.origin,
        "problem": partition.problem,
        "version": partition.version,
        "rows": None if rows is None else rows.to_dicts(),
    }


def _print_as_of(
    console: Console, dataset: str, instant: str, then: Sequence[Then], event: int | None
) -> None:
    _table(
        console,
        f"{dataset} as of {instant}",
        ("partition", "publication", "published at", "version", "complete", "rows", "from"),
        (
            (
                partition.partition_key,
                version.get("publication_id"),
                version.get("published_at"),
                version.get("data_version"),
                version.get("is_complete"),
                version.get("row_count"),
                partition.origin,
            )
            for partition in then
            for version in (partition.version or {},)
        ),
    )
    for partition in then:
        if partition.problem:
            console.print(f"[yellow]{partition.partition_key}:[/yellow] {partition.problem}")
        elif partition.version is None:
            console.print(f"{partition.partition_key}: nothing was published yet.")
    _print_sums(console, dataset, then, event)


def _print_sums(console: Console, dataset: str, then: Sequence[Then], event: int | None) -> None:
    from metrics.datasets import DATASETS
    from metrics.money import format_minor
    from metrics.registry import METRICS, MONEY, Distinct

    sums: dict[str, dict[str, int]] = {}
    names = [n for n in DATASETS[dataset].metric_names if not isinstance(METRICS[n], Distinct)]
    for partition in then:
        rows = _of_event(partition.rows, event)
        if rows is None:
            continue
        for row in rows.iter_rows(named=True):
            total = sums.setdefault(row["currency"], dict.fromkeys(names, 0))
            for name in names:
                total[name] += row[name]
    if not sums:
        console.print("There is nothing to sum.")
        return
    currencies = sorted(sums)
    of = "all events" if event is None else f"event {event}"
    _table(
        console,
        f"Sums over these partitions, {of}",
        ("metric", *currencies),
        (
            (
                name,
                *(
                    format_minor(sums[c][name], c)
                    if METRICS[name].unit == MONEY
                    else f"{sums[c][name]:,}"
                    for c in currencies
                ),
            )
            for name in names
        ),
    )
    lost = sum(partition.rows is None for partition in then)
    if lost:
        console.print(f"[yellow]{lost} of {len(then)} partitions are not in these sums.[/yellow]")


def _console() -> Console:
    from rich.console import Console

    return Console()


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in columns:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    # In a narrow terminal lines go on below; folded cells would be hard to read, cut ones wrong.
    natural = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    Console(width=max(natural, console.width)).print(table)


def _pairs(console: Console, *pairs: tuple[str, object]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        console.print(f"  {name:<{width}}  {_text(value)}", markup=False, highlight=False)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(_plain(value), indent=2))


def _plain(value: object) -> object:
    """As JSON has it: instants and dates as ISO 8601, integers as they are."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
