"""Real studies as nodes, and the skip where Slicer's libraries are missing (harness/study_nodes.py, conftest.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
WITHOUT_SLICER = (
    "import sys; sys.modules['slicer'] = None; import pytest;"
    "sys.exit(pytest.main(['-rs', '-p', 'no:cacheprovider', 'test_harness_io.py']))"
)


def nodeCentre(study, organ):
    """Centre of mass of a segment, from the node's own labelmap and geometry."""
    import slicer
    import vtk

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(study.segmentation, study.segmentId(organ), study.volume)
    matrix = vtk.vtkMatrix4x4()
    study.volume.GetIJKToRASMatrix(matrix)
    centre = np.argwhere(mask).mean(axis=0)[::-1]
    return np.array(matrix.MultiplyPoint((*centre, 1.0))[:3])


@pytest.mark.parametrize("organ", ["liver", "spleen", "gallbladder", "kidney_cyst_left"])
def test_a_segments_centre_is_that_of_its_array(patientScene, organ):
    assert nodeCentre(patientScene, organ) == pytest.approx(patientScene.centreRas(organ), abs=1e-6)


def test_the_thinned_chest_lies_where_the_full_one_does(dataFolder):
    from harness.study_nodes import chestArrays

    full, thin = chestArrays(dataFolder), chestArrays(dataFolder, (4, 4, 2))
    assert (full.hu.shape, thin.hu.shape) == ((512, 512, 133), (128, 128, 67))
    assert np.array_equal(thin.hu[5, 6, 7], full.hu[20, 24, 14])
    points = thin.grid.affine @ [5, 6, 7, 1], full.grid.affine @ [20, 24, 14, 1]
    assert points[0] == pytest.approx(points[1], abs=1e-4)


def test_the_chest_has_its_organs_on_the_right_sides(chestScene):
    centre = {organ: nodeCentre(chestScene, organ) for organ in ("liver", "spleen", "heart", "lung_upper_lobe_left")}
    assert len(chestScene.organs) == 89
    assert centre["liver"][0] > 20
    assert centre["spleen"][0] < -20
    assert centre["lung_upper_lobe_left"][2] > centre["heart"][2] > centre["liver"][2]


def test_the_abdomen_has_the_names_of_totalsegmentator_v1(abdomenScene):
    assert "autochthon_left" in abdomenScene.organs
    assert nodeCentre(abdomenScene, "liver")[0] > 0 > nodeCentre(abdomenScene, "spleen")[0]


def test_without_slicers_libraries_the_tests_are_skipped_with_the_reason():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_SLICER],
        cwd=HERE,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "needs slicer-core (pip install '.[dev]')" in ended.stdout
    assert "1 skipped" in ended.stdout
