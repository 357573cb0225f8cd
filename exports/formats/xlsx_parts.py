"""The small parts of a workbook: styles, properties, and what ties its sheets together.

Belongs here: everything of XLSX (ECMA-376) that does not grow with the rows. Does not belong
here: cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from xml.sax.saxutils import escape, quoteattr

from exports.columns import Description
from exports.formats.archive import Archive

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"

HEADER, TEXT, TITLE, LABEL, DATE, INSTANT, INTEGER, KEY = 1, 2, 3, 4, 5, 6, 7, 8
_FIRST_DECIMAL = 9


@dataclass
class Styles:
    """Cell formats; those of numbers with decimals are added as they are needed."""

    decimals: dict[int, int] = field(default_factory=dict)

    def number(self, places: int) -> int:
        """Index of the format with so many decimals and separated thousands."""
        return self.decimals.setdefault(places, _FIRST_DECIMAL + len(self.decimals))

    def xml(self) -> str:
        """The part `xl/styles.xml`."""
        formats = [(164, "yyyy-mm-dd"), (165, "yyyy-mm-dd hh:mm:ss")]
        formats += [
            (166 + at, "#,##0" + ("." + "0" * places if places else ""))
            for at, places in enumerate(self.decimals)
        ]
        codes = "".join(f'<numFmt numFmtId="{n}" formatCode="{code}"/>' for n, code in formats)
        # Format 49 is text: what is typed or edited in such a cell never becomes a formula.
        number = '<xf numFmtId="{}" fontId="{}" fillId="{}" borderId="{}" xfId="0"'
        applied = ' applyNumberFormat="1" applyFont="1" applyFill="1" applyBorder="1"'
        centred = ' applyAlignment="1"><alignment vertical="center" wrapText="1"/></xf>'
        cells = [number.format(0, 0, 0, 0) + "/>", number.format(49, 1, 2, 1) + applied + centred]
        cells += [number.format(49, font, 0, 0) + f"{applied}/>" for font in (0, 2, 3)]
        cells += [
            number.format(code, 0, 0, 0) + ' applyNumberFormat="1"/>'
            for code in (164, 165, 3, 1, *range(166, 166 + len(self.decimals)))
        ]
        face = '<name val="Calibri"/><family val="2"/>'
        return (
            f'{_XML}<styleSheet xmlns="{MAIN}">'
            f'<numFmts count="{len(formats)}">{codes}</numFmts>'
            f'<fonts count="4"><font><sz val="11"/>{face}</font>'
            f'<font><b/><sz val="11"/><color rgb="FFFFFFFF"/>{face}</font>'
            f'<font><b/><sz val="16"/>{face}</font><font><b/><sz val="11"/>{face}</font></fonts>'
            '<fills count="3"><fill><patternFill patternType="none"/></fill>'
            '<fill><patternFill patternType="gray125"/></fill>'
            '<fill><patternFill patternType="solid"><fgColor rgb="FF1F3A5F"/></patternFill></fill>'
            "</fills>"
            '<borders count="2"><border><left/><right/><top/><bottom/><diagonal/></border>'
            '<border><left/><right/><top/><bottom style="thin"><color rgb="FF1F3A5F"/></bottom>'
            "<diagonal/></border></borders>"
            '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/>'
            "</cellStyleXfs>"
            f'<cellXfs count="{len(cells)}">{"".join(cells)}</cellXfs>'
            '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
            "</styleSheet>"
        )


@dataclass(frozen=True)
class Sheet:
    """A sheet that was written: its name, and the range of its autofilter if it has one."""

    name: str
    filtered: str | None = None


def write_parts(
    archive: Archive, sheets: list[Sheet], styles: Styles, description: Description
) -> None:
    """Write every part but the sheets, which are `xl/worksheets/sheet1.xml` and so on."""
    numbers = range(1, len(sheets) + 1)
    overrides = [(f"/xl/worksheets/sheet{n}.xml", f"{_TYPES}.worksheet+xml") for n in numbers]
    overrides += [
        ("/xl/workbook.xml", f"{_TYPES}.sheet.main+xml"),
        ("/xl/styles.xml", f"{_TYPES}.styles+xml"),
        ("/docProps/core.xml", "application/vnd.openxmlformats-package.core-properties+xml"),
        (
            "/docProps/app.xml",
            "application/vnd.openxmlformats-officedocument.extended-properties+xml",
        ),
    ]
    links = [(n, f"{_OFFICE}/worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
    links.append((len(sheets) + 1, f"{_OFFICE}/styles", "styles.xml"))
    roots = [
        (1, f"{_OFFICE}/officeDocument", "xl/workbook.xml"),
        (2, f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
        (3, f"{_OFFICE}/extended-properties", "docProps/app.xml"),
    ]
    parts = {
        "xl/styles.xml": styles.xml(),
        "xl/workbook.xml": _workbook(sheets),
        "xl/_rels/workbook.xml.rels": _relationships(links),
        "_rels/.rels": _relationships(roots),
        "docProps/core.xml": _properties(description),
        "docProps/app.xml": f"{_XML}<Properties xmlns="
        '"http://schemas.openxmlformats.org/officeDocument/2006/extended-properties">'
        "<Application>Box Office</Application></Properties>",
        "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        + "".join(f'<Override PartName="{p}" ContentType="{t}"/>' for p, t in overrides)
        + "</Types>",
    }
    for name, text in parts.items():
        with archive.entry(name) as entry:
            entry.write(text.encode())


def _relationships(links: list[tuple[int, str, str]]) -> str:
    entries = "".join(
        f'<Relationship Id="rId{n}" Type="{kind}" Target="{target}"/>' for n, kind, target in links
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{entries}</Relationships>'


def _workbook(sheets: list[Sheet]) -> str:
    entries = "".join(
        f'<sheet name={quoteattr(sheet.name)} sheetId="{n}" r:id="rId{n}"/>'
        for n, sheet in enumerate(sheets, 1)
    )
    names = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{at}" hidden="1">'
        f"{escape(_quoted(sheet.name))}!{_absolute(sheet.filtered)}</definedName>"
        for at, sheet in enumerate(sheets)
        if sheet.filtered
    )
    defined = f"<definedNames>{names}</definedNames>" if names else ""
    return (
        f'{_XML}<workbook xmlns="{MAIN}" xmlns:r="{_OFFICE}"><workbookPr/>'
        f'<bookViews><workbookView activeTab="0"/></bookViews><sheets>{entries}</sheets>'
        f"{defined}</workbook>"
    )


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _absolute(area: str) -> str:
    """``A1:L10`` as ``$A$1:$L$10``."""
    corners = []
    for corner in area.split(":"):
        letters = corner.rstrip("0123456789")
        corners.append(f"${letters}${corner[len(letters) :]}")
    return ":".join(corners)


def _properties(description: Description) -> str:
    at = description.as_of.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    title = escape("".join(c if c.isprintable() else "\ufffd" for c in description.title))
    return (
        f'{_XML}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{title}</dc:title><dc:creator>Box Office</dc:creator>"
        f'<dcterms:created xsi:type="dcterms:W3CDTF">{at}</dcterms:created>'
        f'<dcterms:modified xsi:type="dcterms:W3CDTF">{at}</dcterms:modified></cp:coreProperties>'
    )
