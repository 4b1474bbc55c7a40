"""Organ names in a NIfTI's own header, where TotalSegmentator v2 leaves them.

They are the label table of a "CaretExtension", an XML text between the header and the voxels. A file without one, or
with one that is broken, names nothing. Guarded by Testing/Lib/test_segmentation_names.py.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

from CTGLIPLib.label_names import whole_number

LARGEST_EXTENSION_BYTES = 4_000_000


def names_in_nifti(path: Path) -> dict[int, str]:
    """The organ name of each id that the header of a .nii or .nii.gz file gives, background left out; {} if none."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            start = file.read(544)
            text = start + file.read(min(_voxel_offset(start), LARGEST_EXTENSION_BYTES) - len(start))
    except (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError):
        return {}
    return _label_table(text)


def _voxel_offset(header: bytes) -> int:
    """The first byte of the voxels, 544 at least; NIfTI-1 stores it as a float, NIfTI-2 as a whole number."""
    order = ">" if header[:1] == b"\0" else "<"
    code, place = ("q", 168) if 540 in struct.unpack(f"{order}i", header[:4]) else ("f", 108)
    return max(int(struct.unpack_from(order + code, header, place)[0]), 544)


def _label_table(text: bytes) -> dict[int, str]:
    start, end = text.find(b"<CaretExtension>"), text.find(b"</CaretExtension>")
    if start < 0 or end < start:
        return {}
    try:
        labels = ElementTree.fromstring(text[start:end] + b"</CaretExtension>").iter("Label")
    except ElementTree.ParseError:
        return {}
    found = {whole_number(label.get("Key")): " ".join((label.text or "").split()) for label in labels}
    return {key: name for key, name in found.items() if key and name}
