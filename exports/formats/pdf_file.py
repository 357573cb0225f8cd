"""A PDF file as a stream of objects, written once from front to back.

Belongs here: objects, streams, cross references. Does not belong here: fonts (`pdf_fonts`), pages
(`pdf`).
"""

from __future__ import annotations

import hashlib

from isal import isal_zlib

from exports.formats.writing import Output

_LEVEL = 2


class PdfFile:
    """Writes objects and remembers where they begin; nothing else is kept."""

    def __init__(self, output: Output) -> None:
        """Begin a file of version 1.7."""
        self._output = output
        self._offsets: list[int] = []
        # Four bytes above 127 tell programs that move files that this one is binary.
        output.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")

    def reserve(self) -> int:
        """Number of an object that is written later."""
        self._offsets.append(0)
        return len(self._offsets)

    def put(self, number: int, body: str) -> int:
        """Write a reserved object."""
        self._offsets[number - 1] = self._output.length
        self._output.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
        return number

    def add(self, body: str) -> int:
        """Write an object; its number."""
        return self.put(self.reserve(), body)

    def stream(self, data: bytes, extra: str = "") -> int:
        """Write a deflated stream; its number."""
        number = self.reserve()
        packed = isal_zlib.compress(data, _LEVEL)
        self._offsets[number - 1] = self._output.length
        head = f"{number} 0 obj\n<</Length {len(packed)}/Filter/FlateDecode{extra}>>\nstream\n"
        self._output.write(head.encode("ascii"))
        self._output.write(packed)
        self._output.write(b"\nendstream\nendobj\n")
        return number

    def close(self, catalog: int, information: int, identity: str) -> None:
        """Write the table of objects and the trailer; equal identities give equal files."""
        start = self._output.length
        table = "".join(f"{offset:010d} 00000 n \n" for offset in self._offsets)
        size = len(self._offsets) + 1
        digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._output.write(
            f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n"
            f"<</Size {size}/Root {catalog} 0 R/Info {information} 0 R"
            f"/ID[<{digest}><{digest}>]>>\nstartxref\n{start}\n%%EOF\n".encode("ascii")
        )


def text_string(text: str) -> str:
    """A text outside of pages, such as the title in the document's properties."""
    return f"<FEFF{text.encode('utf-16-be', 'replace').hex()}>"
