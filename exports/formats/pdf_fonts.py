"""Texts as PDF shows them: fonts with fallbacks, shaping, direction, widths, wrapping.

Belongs here: everything between a text and the operators that show it. Does not belong here:
where on a page it goes (`pdf`).

Latin text is shown in one byte per character. All else is shaped by HarfBuzz, run by run, in the
first font that has its characters; each pair of glyph and text gets a code of its own, so that
searching and copying give back the original text, even of characters no font has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from typing import Any

import bidi.algorithm as bidi
import uharfbuzz as hb

from exports.formats.pdf_file import PdfFile

REGULAR, BOLD = "NotoSans-Regular", "NotoSans-Bold"
_FALLBACKS = ("NotoSansArabic-Regular", "NotoSansEthiopic-Regular", "NotoEmoji-Regular")
# Latin-1 but for the no-break space and the soft hyphen, which would be copied as other texts.
_PLAIN = re.compile(r"[ -~\xa1-\xac\xae-\xff]*")
_CODES = [*range(0x20, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_ESCAPES = str.maketrans({"(": r"\(", ")": r"\)", "\\": r"\\"})
_UNUSED_TABLES = ("GSUB", "GPOS", "GDEF", "STAT", "name", "OS/2", "post", "gasp", "vhea", "vmtx")
_NOTHING = "\u200b"  # what a glyph without a text of its own is copied as
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\u200f\u202b\u202e\u2067\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff"
    "\U0001e800-\U0001efff]"
)
# No name reverses what stands beside it; and the library refuses isolates.
_NOT_OBEYED = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
_CACHED = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """Operators that show a text, its width in thousandths, and its characters without a glyph."""

    code: str
    width: int
    boxes: int = 0


class Font:
    """One font file, the glyphs that were used of it, and the codes they have in this document."""

    def __init__(self, name: str, key: str) -> None:
        """Open a font of this package; `key` is its name on pages."""
        self.name, self.key = name, key
        data = (files("exports.formats") / "fonts" / f"{name}.ttf").read_bytes()
        self.face = hb.Face(hb.Blob(data))
        self.shaper = hb.Font(self.face)
        self.characters = frozenset(self.face.unicodes)
        self.codes: dict[tuple[int, str], int] = {}
        self.plain_used = False
        self._advances: dict[int, int] = {}

    def scaled(self, units: int) -> int:
        """Font units in thousandths."""
        return round(units * 1000 / int(self.face.upem))

    def advance(self, glyph: int) -> int:
        """Width of a glyph in thousandths."""
        if glyph not in self._advances:
            self._advances[glyph] = self.scaled(self.shaper.get_glyph_h_advance(glyph))
        return self._advances[glyph]

    def glyph(self, character: str) -> int:
        """The glyph of a character by itself; 0, an empty box, when there is none."""
        return int(self.shaper.get_nominal_glyph(ord(character)) or 0)

    def code(self, glyph: int, text: str) -> int:
        """The code of a glyph that stands for a text; 0 when all 65,535 are taken."""
        if len(self.codes) < 65_535:
            return self.codes.setdefault((glyph, text), len(self.codes) + 1)
        return self.codes.get((glyph, text), 0)

    def write(self, pdf: PdfFile) -> str:
        """Embed what was used; the entries of the pages' font dictionary."""
        if not (self.codes or self.plain_used):
            return ""
        subset = hb.SubsetInput()
        subset.flags = (
            hb.SubsetFlags.RETAIN_GIDS
            | hb.SubsetFlags.NO_HINTING
            | hb.SubsetFlags.NO_LAYOUT_CLOSURE
        )
        subset.sets(hb.SubsetInputSets.GLYPH_INDEX).update({0, *(g for g, _ in self.codes)})
        tags = {int.from_bytes(tag.ljust(4).encode(), "big") for tag in _UNUSED_TABLES}
        subset.sets(hb.SubsetInputSets.DROP_TABLE_TAG).update(tags)
        if self.plain_used:
            subset.sets(hb.SubsetInputSets.UNICODE).update(set(_CODES))
        data = hb.subset(self.face, subset).blob.data
        program = pdf.stream(data, f"/Length1 {len(data)}")
        name = f"BOXOFC+{self.name}"
        extents = self.shaper.get_font_extents("ltr")
        ascent, descent = self.scaled(extents.ascender), self.scaled(extents.descender)

        def descriptor(flags: int) -> int:
            return pdf.add(
                f"<</Type/FontDescriptor/FontName/{name}/Flags {flags}/ItalicAngle 0"
                f"/FontBBox[-1000 {descent} 3000 {ascent}]/Ascent {ascent}/Descent {descent}"
                f"/CapHeight 714/StemV 80/FontFile2 {program} 0 R>>"
            )

        entries = ""
        if self.plain_used:
            widths = " ".join(
                str(self.advance(self.glyph(chr(c))) if c in _CODES else 0) for c in range(32, 256)
            )
            font = pdf.add(
                f"<</Type/Font/Subtype/TrueType/BaseFont/{name}/FirstChar 32/LastChar 255"
                f"/Widths[{widths}]/Encoding/WinAnsiEncoding/FontDescriptor {descriptor(32)} 0 R>>"
            )
            entries += f"/{self.key} {font} 0 R"
        if self.codes:
            entries += f"/{self.key}U {self._write_coded(pdf, name, descriptor(4))} 0 R"
        return entries

    def _write_coded(self, pdf: PdfFile, name: str, descriptor: int) -> int:
        widths = " ".join(str(self.advance(glyph)) for glyph, _ in self.codes)
        glyphs = b"\0\0" + b"".join(glyph.to_bytes(2, "big") for glyph, _ in self.codes)
        to_glyphs = pdf.stream(glyphs)
        inner = pdf.add(
            f"<</Type/Font/Subtype/CIDFontType2/BaseFont/{name}/CIDToGIDMap {to_glyphs} 0 R"
            "/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
            f"/DW 1000/W[1[{widths}]]/FontDescriptor {descriptor} 0 R>>"
        )
        pairs = [
            f"<{code:04X}><{(text or _NOTHING).encode('utf-16-be').hex()}>"
            for (_, text), code in self.codes.items()
        ]
        blocks = [pairs[at : at + 100] for at in range(0, len(pairs), 100)]
        mapping = "".join(
            f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar\n" for block in blocks
        )
        texts = pdf.stream(
            "/CIDInit/ProcSet findresource begin\n12 dict begin\nbegincmap\n"
            "/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def\n"
            "/CMapName/Adobe-Identity-UCS def\n/CMapType 2 def\n"
            "1 begincodespacerange\n<0000><FFFF>\nendcodespacerange\n"
            f"{mapping}endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend".encode()
        )
        return pdf.add(
            f"<</Type/Font/Subtype/Type0/BaseFont/{name}/Encoding/Identity-H"
            f"/DescendantFonts[{inner} 0 R]/ToUnicode {texts} 0 R>>"
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """A part of a line that is shown with one font in one direction."""

    font: Font
    text: str
    rtl: bool
    plain: bool


class Typesetter:
    """Turns texts into lines, in the regular and the bold face of one document."""

    def __init__(self) -> None:
        """Open the fonts."""
        regular, bold = Font(REGULAR, "R"), Font(BOLD, "B")
        others = [Font(name, f"F{at}") for at, name in enumerate(_FALLBACKS)]
        self.fonts = [regular, bold, *others]
        self._chains = {False: [regular, *others], True: [bold, regular, *others]}
        regular.plain_used = bold.plain_used = True
        self._plain = frozenset(chr(code) for code in _CODES)
        self._shaped: dict[tuple[_Run, float, bool], Line] = {}
        self._widths: dict[bool, dict[str, int]] = {}
        for is_bold, chain in self._chains.items():
            first = chain[0]
            self._widths[is_bold] = {
                chr(code): first.advance(first.glyph(chr(code))) for code in _CODES
            }

    def measure(self, text: str, *, bold: bool = False) -> int:
        """Width of a text, unshaped, in thousandths of the font size."""
        widths = self._widths[bold]
        try:
            return sum([widths[character] for character in text])
        except KeyError:
            return sum(self._width(character, bold=bold) for character in text)

    def wrap(self, text: str, limit: int, *, bold: bool = False) -> list[str]:
        """The text in pieces no wider than `limit` thousandths; joined they are the text again.

        Line breaks end a piece and are dropped. Pieces end behind a blank where there is one.
        """
        pieces = []
        for paragraph in re.split(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]", text):
            if self.measure(paragraph, bold=bold) <= limit:
                pieces.append(paragraph)
            else:
                pieces += self._wrapped(paragraph, limit, bold=bold)
        return pieces

    def plain_line(self, text: str, limit: int) -> Line | None:
        """The line of a Latin text no wider than `limit`: what most cells are, made quickly."""
        if not _PLAIN.fullmatch(text):
            return None
        widths = self._widths[False]
        width = sum([widths[character] for character in text])
        return Line(f"({text.translate(_ESCAPES)})Tj", width) if width <= limit else None

    def line(self, text: str, size: float, *, bold: bool = False) -> Line:
        """Operators that show a text at the present position; leaves the plain font selected."""
        if _PLAIN.fullmatch(text):
            return Line(f"({text.translate(_ESCAPES)})Tj", self.measure(text, bold=bold))
        parts = self._runs(text, bold=bold)
        runs = [self._run(part, size, bold=bold) for part in parts]
        code = "".join(run.code for run in runs)
        if any(part.rtl for part in parts):  # shown from left to right, but not read so
            actual = text.encode("utf-16-be", "replace").hex()
            code = f"/Span<</ActualText<FEFF{actual}>>>BDC {code}EMC "
        return Line(code, sum(run.width for run in runs), sum(run.boxes for run in runs))

    def _width(self, character: str, *, bold: bool) -> int:
        widths = self._widths[bold]
        if character not in widths:
            if len(widths) > _CACHED:  # never so many in a real document: begin anew
                return self._advance_of(character, bold=bold)
            widths[character] = self._advance_of(character, bold=bold)
        return widths[character]

    def _advance_of(self, character: str, *, bold: bool) -> int:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            return 0
        chain = self._chains[bold]
        font = next((f for f in chain if ord(character) in f.characters), chain[0])
        return font.advance(font.glyph(character))

    def _wrapped(self, text: str, limit: int, *, bold: bool) -> Iterator[str]:
        start, width, blank = 0, 0, 0
        at = 0
        while at < len(text):
            width += self._width(text[at], bold=bold)
            # A mark stays with the character it belongs to.
            if width > limit and at > start and unicodedata.category(text[at]) not in ("Mn", "Cf"):
                end = blank if blank > start else at
                yield text[start:end]
                start = at = end
                width = 0
                continue
            at += 1
            if text[at - 1] in " -\t":
                blank = at
        yield text[start:]

    def _runs(self, text: str, *, bold: bool) -> list[_Run]:
        """Parts of one font and direction, in the order they stand on the line, left to right."""
        chain = self._chains[bold]
        levels = _levels(text)
        kinds: list[tuple[int, Font, bool]] = []
        for character, level in zip(text, levels, strict=True):
            plain = level % 2 == 0 and character in self._plain
            font = chain[0]
            if not plain:
                font = next((f for f in chain if ord(character) in f.characters), font)
                joins = unicodedata.category(character) in ("Mn", "Me", "Cf")
                if joins and kinds:  # shaped together with the character before
                    before = kinds[-1][1]
                    font = before if ord(character) in before.characters else font
                    kinds[-1] = (kinds[-1][0], before, False)
            kinds.append((level, font, plain))
        parts: list[tuple[int, _Run]] = []
        at = 0
        for (level, font, plain), same in groupby(kinds):
            end = at + sum(1 for _ in same)
            parts.append((level, _Run(font, text[at:end], level % 2 == 1, plain)))
            at = end
        # Rule L2 of the bidirectional algorithm: from the highest level down, reverse each stretch.
        for level in range(max(levels, default=0), 0, -1):
            reordered: list[tuple[int, _Run]] = []
            for deep, stretch in groupby(parts, key=lambda part: part[0] >= level):
                held_parts = list(stretch)
                reordered += reversed(held_parts) if deep else held_parts
            parts = reordered
        return [run for _, run in parts]

    def _run(self, run: _Run, size: float, *, bold: bool) -> Line:
        if run.plain:
            return Line(f"({run.text.translate(_ESCAPES)})Tj ", self.measure(run.text, bold=bold))
        key = (run, size, bold)
        if key not in self._shaped:
            if len(self._shaped) > _CACHED:
                self._shaped.clear()
            self._shaped[key] = self._shape(run, size, self._chains[bold][0])
        return self._shaped[key]

    def _shape(self, run: _Run, size: float, base: Font) -> Line:
        font, text, rtl = run.font, run.text, run.rtl
        buffer = hb.Buffer()
        # Marks keep characters of their own, so that each glyph is copied as its own text.
        buffer.cluster_level = hb.BufferClusterLevel.MONOTONE_CHARACTERS
        shown = text.replace("\t", " ")
        buffer.add_codepoints([ord(character) for character in shown])
        buffer.direction = "rtl" if rtl else "ltr"
        buffer.guess_segment_properties()
        hb.shape(font.shaper, buffer, {})
        starts = sorted({info.cluster for info in buffer.glyph_infos})
        ends = dict(zip(starts, [*starts[1:], len(text)], strict=True))
        code, row, width, boxes, told = [], "", 0, 0, set()
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            start = info.cluster
            said = "" if start in told else text[start : ends[start]]
            told.add(start)
            boxes += info.codepoint == 0
            natural, wanted = font.advance(info.codepoint), font.scaled(position.x_advance)
            right, rise = font.scaled(position.x_offset), position.y_offset
            glyph = f"<{font.code(info.codepoint, said):04X}>"
            before = f"{-right}" if right else ""
            after = natural + right - wanted
            piece = f"{before}{glyph}{after or ''}"
            if rise:
                code.append(f"[{row}]TJ {rise * size / font.face.upem:.2f} Ts[{piece}]TJ 0 Ts")
                row = ""
            else:
                row += piece
            width += wanted
        code.append(f"[{row}]TJ")
        shows = f"/{font.key}U {size:g} Tf{' '.join(code)}".replace("><", "")
        shows += f"/{base.key} {size:g} Tf "
        return Line(shows, width, boxes)


def _levels(text: str) -> list[int]:
    """Embedding levels of the Unicode bidirectional algorithm; odd ones run right to left."""
    if not _RIGHT_TO_LEFT.search(text):
        return [0] * len(text)
    directed = "".join(_directed(character) for character in text)
    storage: dict[str, Any] = bidi.get_empty_storage()
    base = bidi.get_base_level(directed)
    storage["base_level"], storage["base_dir"] = base, "LR"[base]
    bidi.get_embedding_levels(directed, storage)
    for place, character in enumerate(storage["chars"]):
        character["place"] = place
    bidi.explicit_embed_and_overrides(storage)
    bidi.resolve_weak_types(storage)
    bidi.resolve_neutral_types(storage, debug=False)
    bidi.resolve_implicit_levels(storage, debug=False)
    known = {character["place"]: character["level"] for character in storage["chars"]}
    levels, last = [], base
    for place in range(len(text)):
        last = known.get(place, last)  # characters the algorithm removes follow the one before
        levels.append(last)
    return levels


def _directed(character: str) -> str:
    """The character, or one with a direction the algorithm knows and the same effect as none."""
    kind = unicodedata.bidirectional(character)
    if kind in _NOT_OBEYED:
        return "\N{ZERO WIDTH SPACE}"
    return character if kind else "\N{REPLACEMENT CHARACTER}"
