"""The module's own tests, which run in Slicer (Developer tools, Reload and Test) and in the repository's harness.

A CT of two boxes made of numbers is asked: once with an answer that is made up, so that the scene's part is tested
without PyTorch; once, where the child process has PyTorch, by the shipped model.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from CTGLIPSlicer.keep import kept, keptResult
from CTGLIPSlicer.logic import ScriptLogic
from CTGLIPSlicer.session import Session

SHAPE_KJI = (28, 34, 40)
SPACING_MM = 8.0
BOXES_KJI = {
    "liver": (slice(8, 20), slice(8, 24), slice(20, 34)),
    "spleen": (slice(8, 18), slice(14, 24), slice(6, 14)),
}
ORGAN_HU, BODY_HU, AIR_HU = {"liver": 60, "spleen": 50}, 40, -1000
MOST_ML_OFF = 0.01
QUESTION = "fatty liver"


class MadeUpWorker:
    """A worker that answers every question about the liver with what it was made with."""

    def __init__(self, findings: dict) -> None:
        self.findings = findings
        self.events: list[dict] = []
        self.asked: list[dict] = []

    def start(self) -> None:
        """Nothing."""

    def send(self, request: dict) -> int:
        """The request's number; it is answered at once."""
        self.asked.append(request)
        number = len(self.asked)
        self.events.append({"id": number, "event": "progress", "what": "encoding windows", "done": 1, "total": 1})
        self.events.append({"id": number, "event": "done", "result": {"findings": self.findings, "organs": None}})
        return number

    def poll(self) -> list[dict]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def cancel(self, requestId: int) -> None:
        """Nothing: all is answered."""

    def kill(self) -> None:
        """Forget what was not polled."""
        self.events.clear()

    def isRunning(self) -> bool:
        """Always."""
        return True

    def lastErrorLines(self) -> str:
        """Nothing."""
        return ""


def makeScene() -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """A CT with liver and spleen as boxes in a body, 8 mm voxels, in the scene."""
    hu = np.full(SHAPE_KJI, AIR_HU, dtype=np.int16)
    hu[:, 4:-4, 4:-4] = BODY_HU
    for organ, box in BOXES_KJI.items():
        hu[box] = ORGAN_HU[organ]
    rng = np.random.default_rng(1)
    hu += rng.integers(-8, 9, SHAPE_KJI, dtype=np.int16)
    volume = slicer.util.addVolumeFromArray(hu, name="CT-GLIP test CT")
    volume.SetSpacing(SPACING_MM, SPACING_MM, SPACING_MM)
    volume.SetOrigin(-150.0, -130.0, -100.0)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "CT-GLIP test organs")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for organ, box in BOXES_KJI.items():
        mask = np.zeros(SHAPE_KJI, dtype=np.uint8)
        mask[box] = 1
        segmentId = segmentation.GetSegmentation().AddEmptySegment(organ, organ)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segmentId, volume)
    return volume, segmentation


def madeUpFindings() -> dict:
    """An answer: fatty liver found in the liver with score .8."""
    from CTGLIPLib.geometry import Grid
    from CTGLIPLib.result_files import to_dict
    from CTGLIPLib.results import ModelInfo, OrganScore, QueryAnswer, QueryResult, SegmentationInfo, StudyInfo

    study = StudyInfo.of("CT-GLIP test CT", Grid(SHAPE_KJI[::-1], np.diag([SPACING_MM] * 3 + [1.0])))
    liver = OrganScore("liver", "liver", "present", 0.4, 0.8, 1376.3, (66.0, -2.0, 12.0), 0.1)
    answer = QueryAnswer(
        text=QUESTION,
        kind="finding",
        finding="fatty_liver",
        negated=False,
        organs_asked=("liver",),
        answer="found",
        threshold=0.5,
        positive_prompts=("fatty liver",),
        negative_prompts=("normal liver",),
        organs=(liver,),
        phrase=QUESTION,
    )
    result = QueryResult(study, ModelInfo("made up", "0" * 64), SegmentationInfo("boxes", "test"), (answer,))
    return to_dict(result)


def testAnswersAreKept(_case: ScriptedLoadableModuleTest) -> None:
    """A question is answered and kept in the scene."""
    volume, segmentation = makeScene()
    worker = MadeUpWorker(madeUpFindings())
    logic = ScriptLogic(Session(worker))
    try:
        result = logic.query(volume, segmentation, [QUESTION])
        logic.query(volume, segmentation, [QUESTION])
    finally:
        logic.close()
    assert [answer.answer for answer in result.queries] == ["found"]
    assert keptResult(volume) == result
    assert len(kept()) == 1
    assert kept()[0].table.GetCellText(0, 2) == "liver"
    assert worker.asked[0]["study"]["ct"] == worker.asked[1]["study"]["ct"]
    tag = vtk.reference("")
    segmentation.GetSegmentation().GetSegment("liver").GetTag("CTGLIP.question", tag)
    assert str(tag) == QUESTION


def testChildAnswers(case: ScriptedLoadableModuleTest) -> None:
    """The child process encodes a small CT and answers, where it has PyTorch."""
    logic = ScriptLogic()
    try:
        if logic.describe()["torch"] is None:
            case.delayDisplay("PyTorch is not installed: the child process is not tested. See Set up.")
            return
        volume, segmentation = makeScene()
        result = logic.query(volume, segmentation, ["liver", "gallbladder", QUESTION], device="cpu")
    finally:
        logic.close()
    rows = {(answer.text, organ.organ): organ for answer in result.queries for organ in answer.organs}
    voxels = np.prod([box.stop - box.start for box in BOXES_KJI["liver"]])
    assert abs(rows["liver", "liver"].volume_ml - voxels * SPACING_MM**3 / 1000) < MOST_ML_OFF
    assert rows["gallbladder", "gallbladder"].state == "absent"
    assert rows[QUESTION, "liver"].score is not None
    assert [answer.text for answer in keptResult(volume).queries] == [answer.text for answer in result.queries]


TESTS = (testAnswersAreKept, testChildAnswers)
