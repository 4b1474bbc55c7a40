"""Which organ each label of a label map is: names decide, never bare ids.

Names come from the user, else from the map's own header, else from a list beside it, else from the TotalSegmentator
version that the user names. Sources that contradict each other are refused. Guarded by
Testing/Lib/test_segmentation_names.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from CTGLIPLib.errors import LabelError
from CTGLIPLib.label_names import FORMATS, image_stem, lists_beside, names_beside, read_names
from CTGLIPLib.organs import ORGANS, find_organ

Vocabulary = Literal["totalsegmentator_v1", "totalsegmentator_v2"]

VERSION_NAMES: dict[Vocabulary, dict[int, str]] = {
    "totalsegmentator_v1": {organ.v1_id: organ.name for organ in ORGANS if organ.v1_id is not None},
    "totalsegmentator_v2": {organ.v2_id: organ.name for organ in ORGANS if organ.v2_id is not None},
}
READABLE_VERSIONS: dict[str, str] = {
    "totalsegmentator_v1": "TotalSegmentator v1",
    "totalsegmentator_v2": "TotalSegmentator v2",
}
VOCABULARY_NAMES = frozenset(organ.name for organ in ORGANS)


@dataclass(frozen=True)
class NameList:
    """The name of each id, and where the names come from."""

    names: Mapping[int, str]
    origin: str


def names_of_label_map(
    path: Path,
    used: Sequence[int],
    header: Mapping[int, str],
    names: Path | Mapping[int, str] | None,
    vocabulary: Vocabulary | None,
) -> NameList:
    """The names that decide for a label map whose voxels have the ids `used`.

    Args:
        path: the label map's file.
        used: ids that have voxels, background left out.
        header: the names that the file itself carries; empty where it carries none.
        names: what the user gives: a list's file, or the names themselves.
        vocabulary: the TotalSegmentator version that the user names.

    Raises:
        InputError: if the list of names cannot be read.
        LabelError: if there are no names, two sources contradict each other, or a used id has no name.
    """
    if names is not None and vocabulary is not None:
        msg = "Give either the names (--names) or the TotalSegmentator version (--label-map-version), not both."
        raise LabelError(msg)
    sources = [_given(names)] if names is not None else _found(path, header, vocabulary)
    if not sources:
        raise LabelError(_no_names(path, used))
    chosen = sources[0]
    for other in sources[1:]:
        _require_agreement(path, used, chosen, other)
    unnamed = [number for number in used if number not in chosen.names]
    if unnamed:
        msg = (
            f"{path.name} has voxels with ids that {chosen.origin} does not name: {_shorten(unnamed)}. "
            "Add their names, or give the list that belongs to this map with --names FILE."
        )
        raise LabelError(msg)
    return chosen


def vocabulary_name(text: str) -> str:
    """The vocabulary's name of an organ ("left kidney" -> "kidney_left"), or the text itself outside the vocabulary."""
    organ = find_organ(text)
    return organ.name if organ else text


def organ_names(labels: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The vocabulary's name of each organ, in the given order.

    Args:
        labels: what carries the organ, for messages ("id 3", "liver.nii.gz"), and its name as the file has it.

    Raises:
        LabelError: if two of them are the same organ.
    """
    carriers: dict[str, tuple[str, str]] = {}
    for carrier, text in labels:
        name = vocabulary_name(text)
        if name in carriers:
            first, first_text = carriers[name]
            msg = (
                f"{first} ({first_text!r}) and {carrier} ({text!r}) are the same organ, {name}. "
                "Merge them, or rename one to what it is."
            )
            raise LabelError(msg)
        carriers[name] = (carrier, text)
    return tuple(carriers)


def vocabulary_of(names: Iterable[str]) -> str:
    """The TotalSegmentator version whose classes are all among the names, or "names" if none or both are."""
    known = {vocabulary_name(name) for name in names}
    whole = [version for version, classes in VERSION_NAMES.items() if known.issuperset(classes.values())]
    return whole[0] if len(whole) == 1 else "names"


def open_vocabulary_warnings(names: Sequence[str]) -> tuple[str, ...]:
    """A warning that lists the names outside the vocabulary, if there are any."""
    outside = [name for name in names if name not in VOCABULARY_NAMES]
    return (f"Not in the organ vocabulary, asked as open vocabulary: {', '.join(outside)}.",) if outside else ()


def _given(names: Path | Mapping[int, str]) -> NameList:
    if isinstance(names, Path):
        return NameList(read_names(names), names.name)
    return NameList(names, "the given list of names")


def _found(path: Path, header: Mapping[int, str], vocabulary: Vocabulary | None) -> list[NameList]:
    """Name lists in order of rank: the user's version, the map's header, the file beside it."""
    sources = [NameList(VERSION_NAMES[vocabulary], READABLE_VERSIONS[vocabulary])] if vocabulary else []
    if header:
        sources.append(NameList(header, f"the header of {path.name}"))
    beside = names_beside(path)
    if beside:
        sources.append(NameList(read_names(beside), beside.name))
    return sources


def _require_agreement(path: Path, used: Sequence[int], first: NameList, second: NameList) -> None:
    for number in used:
        if number in first.names and number in second.names:
            a, b = first.names[number], second.names[number]
            if vocabulary_name(a) != vocabulary_name(b):
                msg = (
                    f"Id {number} of {path.name} is {a} in {first.origin} but {b} in {second.origin}. "
                    "Say which is right with --names FILE, or remove the wrong one."
                )
                raise LabelError(msg)


def _no_names(path: Path, used: Sequence[int]) -> str:
    """The message for a label map without names: what its ids fit, and the user's choices."""
    v1, v2 = VERSION_NAMES.values()
    fits: list[Vocabulary] = [key for key, names in VERSION_NAMES.items() if set(names).issuperset(used)]
    if len(fits) == 2:
        number = next((n for n in used if v1[n] != v2[n]), None)
        example = f" ({number} is {v1[number]} in v1, {v2[number]} in v2)" if number else ""
        fit = f"fit TotalSegmentator v1 and v2{example}: say which with --label-map-version v1|v2"
    elif fits:
        flag = fits[0].removeprefix("totalsegmentator_")
        fit = f"fit {READABLE_VERSIONS[fits[0]]} only: if it made the map, say --label-map-version {flag}"
    else:
        fit = "fit no TotalSegmentator version (v1 ends at 104, v2 at 117)"
    passed_over = "".join(f" ({found.name} beside it is no list of names.)" for found in lists_beside(path))
    return (
        f"{path.name} has {len(used)} labels (ids {_shorten(used)}) but no organ names, "
        f"and ids alone do not tell organs. Its ids {fit}; or name them with --names FILE, "
        f"or beside it as {image_stem(path)}.json: {FORMATS}.{passed_over}"
    )


def _shorten(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown if len(numbers) <= 8 else f"{shown}, ... {numbers[-1]}"
