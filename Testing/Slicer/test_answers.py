"""What becomes of an answer in the scene."""

from __future__ import annotations

import pytest
from fake_worker import FakeWorker
from made_results import answer, organ, result

slicer = pytest.importorskip("slicer")

FATTY = result(answer("fatty liver", organ("liver", 0.8)))


@pytest.fixture
def session(scene):
    from CTGLIPSlicer.session import Session

    made = Session(FakeWorker())
    yield made
    made.close()


def answered(session, inputs, organs=None):
    """The outcome of a question; the child wrote `organs` as those it found."""
    from CTGLIPLib.result_files import to_dict
    from CTGLIPLib.segmentation_io import write_segmentation

    outcomes = []
    session.addObserver(lambda change: change.outcome and outcomes.append(change.outcome))
    session.ask(inputs, ["fatty liver"])
    session.poll()
    worker = session._worker
    if organs is not None:
        from pathlib import Path

        write_segmentation(organs, Path(worker.last["study"]["organs_path"]))
    worker.say("done", result={"findings": to_dict(FATTY)})
    session.poll()
    return outcomes[0]


def test_an_answer_about_given_organs_is_kept_with_them(session, patientScene):
    from CTGLIPSlicer.answers import receive
    from CTGLIPSlicer.keep import kept
    from CTGLIPSlicer.session_types import StudyInputs

    outcome = answered(session, StudyInputs(patientScene.volume, patientScene.segmentation))
    received = receive(session, outcome)
    assert (received.result, received.history) == (FATTY, FATTY)
    assert received.segmentationNode is patientScene.segmentation
    assert (kept()[0].volume, kept()[0].segmentation) == (patientScene.volume, patientScene.segmentation)


def test_organs_that_the_child_found_are_imported_once_however_many_receive_them(session, patientScene):
    from patient import make_patient

    from CTGLIPSlicer.answers import organsOf, receive
    from CTGLIPSlicer.keep import kept
    from CTGLIPSlicer.session_types import StudyInputs

    outcome = answered(session, StudyInputs(patientScene.volume, segmenter="own"), make_patient()[1])
    first, second = receive(session, outcome), receive(session, outcome)
    assert first.segmentationNode is second.segmentationNode is organsOf(session, outcome)
    assert first.segmentationNode.GetName() == f"Organs of {patientScene.volume.GetName()}"
    assert first.segmentationNode.GetSegmentation().GetNumberOfSegments() == len(patientScene.organs)
    assert len(kept()) == 1


def test_organs_whose_node_was_deleted_are_imported_again(session, patientScene):
    from patient import make_patient

    from CTGLIPSlicer.answers import organsOf
    from CTGLIPSlicer.session_types import StudyInputs

    outcome = answered(session, StudyInputs(patientScene.volume, segmenter="own"), make_patient()[1])
    slicer.mrmlScene.RemoveNode(organsOf(session, outcome))
    assert outcome.segmentationNode is None
    assert organsOf(session, outcome).GetScene() is slicer.mrmlScene
