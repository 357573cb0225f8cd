"""How an export is packed and written: one typed model of options for each format.

Belongs here: the options, their validation and their one stored form. Does not belong here: which
rows are asked for (``exports.filters``), or how a format carries its options out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exports.datasets import EVENT, ExportDataset
from exports.filters import Problem, RequestError, Switch
from exports.formats.registry import FORMATS

if TYPE_CHECKING:
    from exports.formats.csv_file import CsvOptions


class Options(BaseModel):
    """What every format has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    packaging: Literal["one_file", "file_per_event"] = Field(
        "one_file", description="One file, or a zip with one file for each event."
    )

    @property
    def by_event(self) -> bool:
        """Whether each event gets a file of its own."""
        return self.packaging == "file_per_event"

    def canonical(self) -> dict[str, Any]:
        """The same options as plain JSON data, always in the same form: defaults are left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


class CsvFileOptions(Options):
    """What CSV has; see ``formats.csv_file.CsvOptions``."""

    bom: Switch = Field(False, description="Begin with a byte order mark, as Excel needs it.")
    delimiter: Literal[",", ";", "\t", "|"] = Field(",", description="Between two values.")
    decimal_separator: Literal[".", ","] = Field(".", description="In money and decimals.")

    _own: ClassVar[tuple[str, ...]] = ("bom", "delimiter", "decimal_separator")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.delimiter == self.decimal_separator:
            raise ValueError("delimiter and decimal_separator must differ; choose delimiter ;")
        return self

    @property
    def writer(self) -> CsvOptions:
        """As the writer takes them."""
        from exports.formats.csv_file import CsvOptions

        return CsvOptions(**{name: getattr(self, name) for name in self._own})


def parse_options(
    format_name: object, raw: object, dataset: ExportDataset | None = None
) -> Options:
    """The options of an export, known to be right.

    Args:
        raw: plain JSON data; what is left out has its default.
        dataset: what is exported; None leaves unchecked whether it can be packed so.

    Raises:
        RequestError: with every problem of the format and its options.
    """
    if not isinstance(format_name, str) or format_name not in FORMATS:
        there = ", ".join(FORMATS)
        raise RequestError([Problem("format", f"{format_name!r} is not a format; it is {there}")])
    if not isinstance(raw, dict):
        raise RequestError([Problem("options", "must be an object")])
    model = CsvFileOptions if format_name == "csv" else Options
    try:
        options = model.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(format_name, model, dict(found)) for found in error.errors()]
        raise RequestError(problems) from None
    if options.by_event and dataset is not None and not dataset.has_events:
        names = f"{dataset.name} has no column {EVENT}: its rows belong to no single event"
        raise RequestError([Problem("options.packaging", f"{names}; ask for one_file")])
    return options


def _problem(format_name: str, model: type[Options], found: dict[str, Any]) -> Problem:
    field = ".".join(["options", *(str(part) for part in found["loc"])])
    if found["type"] == "extra_forbidden":
        names = ", ".join(model.model_fields)
        return Problem(field, f"is not an option of {format_name}; it has {names}")
    return Problem(field, str(found["msg"]).removeprefix("Value error, "))
