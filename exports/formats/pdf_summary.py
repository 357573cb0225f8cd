"""The first page of a PDF: what it is, what was asked for, what it adds up to, and charts.

Belongs here: that page (or pages, when there is much to say). Does not belong here: the table.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from exports.columns import Description, Kind
from exports.formats.pdf_fonts import Typesetter
from exports.formats.writing import Tally
from metrics.money import format_minor

Points = dict[tuple[str, str], dict[date, int]]
"""(value, currency or nothing) → day → sum, in minor units where it is money."""

_CHART_HEIGHT, _AXIS = 130.0, 62.0
_PER_TABLE = 4


def add_points(points: Points, frame: pl.DataFrame, description: Description) -> None:
    """Add a frame's rows to the sums that charts are drawn of."""
    if description.series is None:
        return
    day = description.series.day
    columns = {column.name: column for column in description.columns}
    for name in description.series.values:
        currency = columns[name].currency
        code = pl.lit("") if currency is None else pl.col(currency)
        sums = (
            frame.lazy()
            .filter(pl.col(name).is_not_null(), pl.col(day).is_not_null())
            .group_by(code.alias("code"), pl.col(day).alias("day"))
            .agg(pl.col(name).cast(pl.Int128).sum().alias("sum"))
            .collect()
        )
        for key, at, amount in sums.iter_rows():
            days = points.setdefault((name, key), {})
            days[at] = days.get(at, 0) + int(amount)


def grouped(number: str) -> str:
    """A plain decimal with its thousands separated: ``-1,234,567.50``."""
    if not number:
        return number
    sign, digits = ("-", number[1:]) if number[0] == "-" else ("", number)
    whole, point, fraction = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{fraction}"


class Summary:
    """Pages written from top to bottom."""

    def __init__(self, setter: Typesetter, size: tuple[float, float], margin: float) -> None:
        """Begin the first page of this size, in points."""
        self._setter, self._margin = setter, margin
        self._width, self._height = size
        self._pages: list[list[str]] = [[]]
        self._y = self._height - margin
        self.boxes = 0

    def pages(self) -> list[bytes]:
        """Content of each page."""
        return ["\n".join(page).encode("latin-1") for page in self._pages]

    def compose(self, description: Description, tally: Tally, points: Points) -> None:
        """Write everything."""
        self._paragraph(description.title, size=18, bold=True)
        self._y -= 8
        facts = [
            ("Data version", description.data_version),
            ("Data as of", description.published),
            ("Time zone of days and times", description.time_zone.key),
            ("Rows", f"{tally.rows:,}"),
            *description.filters,
        ]
        for label, value in facts:
            self._fact(label, value)
        if tally.texts.unprintable:
            self._fact("Characters without a glyph", f"{tally.texts.unprintable:,}, shown as a box")
        self._totals(description, tally)
        headers = {column.name: column.header for column in description.columns}
        for name, total in tally.counts.items():
            self._fact(headers[name], f"{total:,}")
        order = list(description.series.values) if description.series else []
        for name, code in sorted(points, key=lambda key: (order.index(key[0]), key[1])):
            title = f"{headers[name]} per day" + (f", {code}" if code else "")
            self._chart(title, points[name, code], code)

    def _need(self, height: float) -> None:
        if self._y - height < self._margin:
            self._pages.append([])
            self._y = self._height - self._margin

    def _show(
        self, text: str, x: float, *, size: float, bold: bool = False, end: bool = False
    ) -> None:
        line = self._setter.line(text, size, bold=bold)
        self.boxes += line.boxes
        x -= line.width * size / 1000 if end else 0
        font = "B" if bold else "R"
        self._pages[-1].append(
            f"BT /{font} {size:g} Tf 1 0 0 1 {x:.2f} {self._y:.2f} Tm {line.code} ET"
        )

    def _paragraph(self, text: str, *, size: float, bold: bool = False, x: float = 0) -> None:
        room = int((self._width - 2 * self._margin - x) * 1000 / size)
        for piece in self._setter.wrap(text, room, bold=bold):
            self._need(size * 1.4)
            self._y -= size * 1.4
            self._show(piece, self._margin + x, size=size, bold=bold)

    def _fact(self, label: str, value: str) -> None:
        room = int(140 * 1000 / 9)
        labels = self._setter.wrap(label, room)
        values = self._setter.wrap(value, int((self._width - 2 * self._margin - 150) * 1000 / 9))
        for at in range(max(len(labels), len(values))):
            self._need(14)
            self._y -= 14
            if at < len(labels):
                self._pages[-1].append("0.35 g")
                self._show(labels[at], self._margin, size=9)
                self._pages[-1].append("0 g")
            if at < len(values):
                self._show(values[at], self._margin + 150, size=9)

    def _totals(self, description: Description, tally: Tally) -> None:
        money = description.of_kind(Kind.MONEY)
        codes = sorted(tally.money)
        for start in range(0, len(codes), _PER_TABLE):
            some = codes[start : start + _PER_TABLE]
            self._need(60)
            self._y -= 28
            self._show("Totals per currency", self._margin, size=11, bold=True)
            ends = [self._margin + 150 + 90 * (at + 1) for at in range(len(some))]
            self._y -= 4
            for column in (None, *money):
                self._need(14)
                self._y -= 14
                if column is not None:
                    self._show(column.header, self._margin, size=9)
                for code, end in zip(some, ends, strict=True):
                    if column is None:
                        self._show(code, end, size=9, bold=True, end=True)
                    else:
                        amount = format_minor(tally.money[code].get(column.name, 0), code)
                        self._show(grouped(amount), end, size=9, end=True)
                self._rule(self._margin, ends[-1])
        if codes:
            self._y -= 8

    def _rule(self, x: float, end: float) -> None:
        y = self._y - 4
        self._pages[-1].append(f"q 0.85 G 0.5 w {x:.2f} {y:.2f} m {end:.2f} {y:.2f} l S Q")

    def _chart(self, title: str, days: dict[date, int], code: str) -> None:
        """A line over days; money is labelled in its currency's units."""
        self._need(_CHART_HEIGHT + 70)
        self._y -= 30
        self._show(title, self._margin, size=11, bold=True)
        left, right = self._margin + _AXIS, self._width - self._margin - 10
        bottom, page = self._y - 14 - _CHART_HEIGHT, self._pages[-1]
        ordered = sorted(days.items())
        first, last = ordered[0][0], ordered[-1][0]
        least, most = min(*days.values(), 0), max(*days.values(), 0)
        step = _step(most - least)
        low, high = least // step * step, max(-(-most // step), 1) * step
        across, up = (right - left) / max((last - first).days, 1), _CHART_HEIGHT / (high - low)

        def place(day: date, value: int) -> str:
            x, y = left + across * (day - first).days, bottom + up * (value - low)
            return f"{x:.2f} {y:.2f}"

        for value in range(low, high + 1, step):
            level = bottom + up * (value - low)
            page.append(f"q 0.85 G 0.5 w {left:.2f} {level:.2f} m {right:.2f} {level:.2f} l S Q")
            self._y = level - 2.5
            label = format_minor(value, code) if code else str(value)
            self._show(grouped(label), left - 6, size=7, end=True)
        # Round caps make a dot of a series of one day.
        line = " l ".join([place(*ordered[0]), *(place(*point) for point in ordered)])
        page.append(f"q 0.12 0.37 0.60 RG 1.2 w 1 J 1 j {line.replace(' l ', ' m ', 1)} l S Q")
        self._y = bottom - 12
        marks = min((last - first).days, 4)
        for at in range(marks + 1):
            day = first + (last - first) * at // max(marks, 1)
            x = left + across * (day - first).days
            self._show(day.isoformat(), x if at else left + 36, size=7, end=True)
        self._y = bottom - 20


def _step(span: int) -> int:
    """A round distance between four or so marks over a span."""
    rough = max(span // 4, 1)
    power = 10 ** (len(str(rough)) - 1)
    for times in (1, 2, 5):
        if times * power >= rough:
            return int(times * power)
    return int(10 * power)
