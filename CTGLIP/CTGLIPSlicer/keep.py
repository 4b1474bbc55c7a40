"""Answers kept in the scene, where they survive saving and loading it.

For each CT, segmentation and model there is one text node with the answers as findings.json (docs/file_formats.md,
provenance included) and one table of them for people. The text node refers to CT and segmentation, so that the answers
about two CTs never mix; without them it stays readable.

Conventions:
- a question that is asked again takes its new place at the end, other questions stay
  (test_keep: `a repeated question replaces its earlier answer`);
- answers of another model or another segmentation are kept apart, for their provenance differs
  (test_keep: `answers of another model are kept apart`);
- each segment has tags of the last question that it was scored for.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import slicer
import vtk
from slicer.i18n import tr as _

from CTGLIPLib.errors import InputError
from CTGLIPSlicer.findings import FindingRow, rowsOf

if TYPE_CHECKING:
    from CTGLIPLib.results import QueryResult

logger = logging.getLogger(__name__)

ROLE = "CTGLIP.role"
FINDINGS, TABLE = "findings", "findings table"
ORDER = "CTGLIP.order"
ORDERS = re.compile(r"[0-9]{1,15}")
TO_VOLUME, TO_SEGMENTATION, TO_TABLE = "CTGLIP.volume", "CTGLIP.segmentation", "CTGLIP.table"
SAME_ML = 1e-5
"""Volumes closer than this are equal; findings.json rounds to a tenth of it."""
SEGMENT_TAGS = ("CTGLIP.question", "CTGLIP.answer", "CTGLIP.score", "CTGLIP.similarity", "CTGLIP.model")


@dataclass(frozen=True, eq=False)
class Kept:
    """Answers in the scene.

    Attributes:
        volume: the CT; None where it is no longer in the scene.
        segmentation: the organs; None where they are no longer in the scene.
        table: the answers for people; None where somebody deleted it.
        text: the answers as findings.json.
        result: the answers.
    """

    volume: slicer.vtkMRMLScalarVolumeNode | None
    segmentation: slicer.vtkMRMLSegmentationNode | None
    table: slicer.vtkMRMLTableNode | None
    text: slicer.vtkMRMLTextNode
    result: QueryResult


def keepResult(
    result: QueryResult,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
) -> QueryResult:
    """All answers about the study that are kept now, those of `result` last."""
    from CTGLIPLib.result_files import to_json

    earlier = _sameStudy(result, volumeNode, segmentationNode)
    text = earlier.text if earlier else slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    merged = _merged(earlier.result, result) if earlier else result
    table = (earlier.table if earlier else None) or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    name = volumeNode.GetName()
    with slicer.util.NodeModify(text):
        text.SetName(_("CT-GLIP findings of {name} (JSON)").format(name=name))
        text.SetText(to_json(merged))
        text.SetAttribute(ROLE, FINDINGS)
        text.SetAttribute(ORDER, str(_lastOrder() + 1))
        text.SetNodeReferenceID(TO_VOLUME, volumeNode.GetID())
        text.SetNodeReferenceID(TO_SEGMENTATION, segmentationNode.GetID() if segmentationNode else None)
        text.SetNodeReferenceID(TO_TABLE, table.GetID())
    table.SetName(_("CT-GLIP findings of {name}").format(name=name))
    table.SetAttribute(ROLE, TABLE)
    rows = rowsOf(merged)
    _fillTable(table, rows)
    if segmentationNode is not None:
        _tagSegments(segmentationNode, rows, merged.model.name)
    for node in (text, table):
        _putBeside(node, volumeNode)
    return merged


def kept(volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None) -> list[Kept]:
    """The answers about a CT, or all that the scene has; those kept last come last. What cannot be read is logged."""
    found = [entry for entry in _entries() if volumeNode is None or entry.volume is volumeNode]
    return sorted(found, key=lambda entry: _order(entry.text))


def keptResult(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> QueryResult | None:
    """The answers about the CT that were kept last; None where there are none."""
    entries = kept(volumeNode)
    return entries[-1].result if entries else None


def removeResult(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Remove all answers about the CT, with their tables and tags."""
    for entry in kept(volumeNode):
        if entry.segmentation is not None:
            _untagSegments(entry.segmentation)
        for node in (entry.table, entry.text):
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)


def _sameStudy(result: QueryResult, volumeNode: object, segmentationNode: object | None) -> Kept | None:
    """What is kept of the same CT, organs and model."""
    for entry in kept(volumeNode):
        same = entry.segmentation is segmentationNode and _provenance(entry.result) == _provenance(result)
        if same and _sameOrgans(entry.result, result):
            return entry
    return None


def _provenance(result: QueryResult) -> tuple:
    """What answers must share to stand together, as it is after being written and read."""
    from CTGLIPLib.result_files import to_dict

    values = to_dict(replace(result, queries=()))
    study = {name: value for name, value in values["study"].items() if name not in ("name", "warnings")}
    return study, values["model"], values["segmentation"]


def _sameOrgans(old: QueryResult, new: QueryResult) -> bool:
    """Whether no organ's volume changed: answers from before its mask was edited do not stand beside new ones."""
    before, now = ({o.organ: o.volume_ml for answer in r.queries for o in answer.organs} for r in (old, new))
    return all(abs(before[organ] - now[organ]) < SAME_ML for organ in before.keys() & now.keys())


def _merged(old: QueryResult, new: QueryResult) -> QueryResult:
    asked = {answer.text for answer in new.queries}
    return replace(new, queries=(*(answer for answer in old.queries if answer.text not in asked), *new.queries))


def _entries() -> Iterator[Kept]:
    for text in slicer.util.getNodesByClass("vtkMRMLTextNode"):
        if text.GetAttribute(ROLE) != FINDINGS:
            continue
        try:
            result = _parsed(text.GetText() or "")
        except (InputError, ValueError, RecursionError) as error:
            logger.warning("The findings in the scene's node %s cannot be read: %s", text.GetID(), error)
            continue
        references = (text.GetNodeReference(role) for role in (TO_VOLUME, TO_SEGMENTATION, TO_TABLE))
        yield Kept(*references, text, result)


@lru_cache(maxsize=4)
def _parsed(text: str) -> QueryResult:
    """The answers in a findings.json; reading a long history takes longer than all else here."""
    from CTGLIPLib.result_reader import result_from_dict

    return result_from_dict(json.loads(text))


def _order(text: slicer.vtkMRMLTextNode) -> int:
    order = text.GetAttribute(ORDER) or ""
    return int(order) if ORDERS.fullmatch(order) else 0


def _lastOrder() -> int:
    return max((_order(node) for node in slicer.util.getNodesByClass("vtkMRMLTextNode")), default=0)


def _fillTable(table: slicer.vtkMRMLTableNode, rows: Sequence[FindingRow]) -> None:
    from CTGLIPLib.results import NOTICE

    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        for title, value in _textColumns().items():
            table.AddColumn(_column(vtk.vtkStringArray(), title, [value(row) for row in rows]))
        for title, value in _numberColumns().items():
            numbers = [math.nan if (number := value(row)) is None else number for row in rows]
            table.AddColumn(_column(vtk.vtkDoubleArray(), title, numbers))
        table.SetUseColumnNameAsColumnHeader(True)
        table.SetDescription(NOTICE.capitalize() + ".")
        table.SetLocked(True)


def _textColumns() -> dict[str, Callable[[FindingRow], str]]:
    """Titles, and how a row gives their values."""
    return {
        _("Question"): lambda row: row.question,
        _("Answer"): lambda row: row.answer,
        _("Organ"): lambda row: row.organ,
        _("Side"): lambda row: row.side,
        _("State"): lambda row: row.state,
    }


def _numberColumns() -> dict[str, Callable[[FindingRow], float | None]]:
    """Titles, and how a row gives their values; positions are RAS."""
    columns: dict[str, Callable[[FindingRow], float | None]] = {
        _("Score"): lambda row: row.score,
        _("Similarity"): lambda row: row.similarity,
        _("Volume ml"): lambda row: row.volumeMl,
    }
    for axis, letter in enumerate("RAS"):
        columns[f"{letter} mm"] = lambda row, axis=axis: None if row.centroidRas is None else row.centroidRas[axis]
    return columns


def _column(array: vtk.vtkAbstractArray, title: str, values: Sequence[str] | Sequence[float]) -> vtk.vtkAbstractArray:
    array.SetName(title)
    for value in values:
        array.InsertNextValue(value)
    return array


def _tagSegments(segmentationNode: slicer.vtkMRMLSegmentationNode, rows: Sequence[FindingRow], model: str) -> None:
    from CTGLIPSlicer.nodes import segmentIdsOf

    last = {row.organName: row for row in rows if row.similarity is not None}
    segmentation = segmentationNode.GetSegmentation()
    _untagSegments(segmentationNode)
    with slicer.util.NodeModify(segmentationNode):
        for organ, segmentId in segmentIdsOf(segmentationNode).items():
            row = last.get(organ)
            if row is None:
                continue
            score = "" if row.score is None else f"{row.score:.6f}"
            values = (row.question, row.answerCode, score, f"{row.similarity:.6f}", model)
            for tag, value in zip(SEGMENT_TAGS, values, strict=True):
                segmentation.GetSegment(segmentId).SetTag(tag, value)


def _untagSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    segmentation = segmentationNode.GetSegmentation()
    with slicer.util.NodeModify(segmentationNode):
        for index in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(index)
            for tag in SEGMENT_TAGS:
                if segment.HasTag(tag):
                    segment.RemoveTag(tag)


def _putBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show the node in the study of the CT."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    item, volumeItem = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
    if item and volumeItem:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
