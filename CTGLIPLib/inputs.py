"""What a user hands in, loaded and checked: a CT, and organs where they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from CTGLIPLib.checks import require_finite
from CTGLIPLib.files import shown_name
from CTGLIPLib.io import read_volume
from CTGLIPLib.segmentation_io import read_segmentation, require_overlap
from CTGLIPLib.segmentation_names import Vocabulary
from CTGLIPLib.volume import Segmentation, Volume


@dataclass(frozen=True, eq=False)
class StudyInput:
    """A CT with or without organs.

    Attributes:
        name: file or folder name, without its path.
        volume: the CT in HU.
        segmentation: the organs, on the CT's grid or another that overlaps it; None = still to be found.
        warnings: what the reader of the results should know.
    """

    name: str
    volume: Volume
    segmentation: Segmentation | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputOptions:
    """How to read what is doubtful by itself.

    Attributes:
        series: number or UID of the DICOM series.
        names: name list of the label map.
        vocabulary: TotalSegmentator version of a label map without names.
    """

    series: str | None = None
    names: Path | Mapping[int, str] | None = None
    vocabulary: Vocabulary | None = None


def load_input(
    ct: str | Path | Volume, segmentation: str | Path | Segmentation | None, options: InputOptions | None = None
) -> StudyInput:
    """Read and check a CT and its organs.

    Raises:
        InputError: if a file is missing, broken, or not a CT in HU, or a volume has values that are not finite.
        LabelError: if the label map's names are missing or ambiguous.
        GeometryError: if CT and organs do not overlap in space.
    """
    options = options or InputOptions()
    warnings: list[str] = []
    if isinstance(ct, Volume):
        require_finite(ct.array, "The CT")
        volume, name = ct, "volume"
    else:
        loaded = read_volume(Path(ct), options.series)
        volume, name = loaded.volume, _name(Path(ct))
        warnings += loaded.warnings
    if isinstance(segmentation, (str, Path)):
        read = read_segmentation(Path(segmentation), options.names, options.vocabulary)
        segmentation = read.segmentation
        warnings += read.warnings
    if segmentation is not None:
        require_overlap(volume.grid, segmentation.grid)
    return StudyInput(name, volume, segmentation, tuple(warnings))


def _name(path: Path) -> str:
    """The name that results show: the one given, not that of a link's target, which may be a patient's."""
    name = path.resolve().name if path.name in ("", "..") else path.name
    return shown_name(name)
