"""The module `SampleData` that records which data sets are registered, and refuses what the real one would not accept.

Argument names and defaults are those of Slicer 5.12 (facts read in Modules/Scripted/SampleData/SampleData.py).
"""

from __future__ import annotations

import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import slicer

FILE_TYPES = {"VolumeFile", "SegmentationFile", "SceneFile", "ModelFile", "TableFile", "ZipFile", "MarkupsFile", None}
_CHECKSUM = re.compile(r"(SHA256|SHA512|MD5):[0-9a-fA-F]+")


@dataclass(frozen=True)
class SampleDataSource:
    """One registered data set; values per file are lists."""

    sampleName: str
    sampleDescription: str
    uris: list[str]
    fileNames: list[str]
    nodeNames: list[str | None]
    checksums: list[str | None]
    loadFiles: list[bool | None]
    loadFileType: list[str | None]
    loadFileProperties: dict[str, object]
    customDownloader: object
    thumbnailFileName: str | None


class SampleDataLogic:
    """Registers data sets in slicer.modules.sampleDataSources."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: str | list[str] | None = None,
        fileNames: str | list[str] | None = None,
        nodeNames: str | list[str] | None = None,
        customDownloader: object = None,
        thumbnailFileName: str | None = None,
        loadFileType: str | list[str] = "VolumeFile",
        loadFiles: bool | list[bool] | None = None,
        loadFileProperties: dict[str, object] | None = None,
        checksums: str | list[str] | None = None,
    ) -> None:
        """Add a data set, once.

        Raises:
            ValueError: if lists differ in length, or a checksum, file type or thumbnail is none.
        """
        count = len(uris) if isinstance(uris, (list, tuple)) else 1
        lists = {
            "uris": _perFile(uris, count),
            "fileNames": _perFile(fileNames, count),
            "nodeNames": _perFile(nodeNames, count),
            "checksums": _perFile(checksums, count),
            "loadFiles": _perFile(loadFiles, count),
            "loadFileType": _perFile(loadFileType, count),
        }
        _check(lists, thumbnailFileName)
        source = SampleDataSource(
            sampleName=sampleName,
            sampleDescription=sampleName,
            loadFileProperties=loadFileProperties or {},
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            **lists,
        )
        known = sources().setdefault(category, [])
        if source not in known:
            known.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> object:
        """The data sets of a category, or all by category."""
        return sources() if category is None else sources().get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        """Whether that data set is in the category."""
        return sampleDataSource in sources().get(category, [])


def sources() -> dict[str, list[SampleDataSource]]:
    """All registered data sets by category: slicer.modules.sampleDataSources."""
    return vars(slicer.modules).setdefault("sampleDataSources", {})


def install() -> None:
    """Publish the module."""
    module = types.ModuleType("SampleData")
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    sys.modules["SampleData"] = module


def restore() -> None:
    """Forget all data sets."""
    vars(slicer.modules).pop("sampleDataSources", None)
    install()


def _perFile(value: object, count: int) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


def _check(lists: dict[str, list[object]], thumbnail: str | None) -> None:
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) != 1:
        msg = f"All fields of sample data source must have the same length: {lengths}"
        raise ValueError(msg)
    wrong = [checksum for checksum in lists["checksums"] if checksum is not None and not _CHECKSUM.fullmatch(checksum)]
    if wrong:
        msg = f"expected checksums like SHA256:<hex>, got {wrong}"
        raise ValueError(msg)
    unknown = set(lists["loadFileType"]) - FILE_TYPES
    if unknown:
        msg = f"unknown file types {sorted(unknown)}"
        raise ValueError(msg)
    if thumbnail is not None and not Path(thumbnail).is_file():
        msg = f"no thumbnail at {thumbnail}"
        raise ValueError(msg)
