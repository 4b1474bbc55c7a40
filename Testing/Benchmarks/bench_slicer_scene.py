"""Time of the Slicer module's work on the scene with 104 organs in a CT of 320 x 320 x 300 voxels, as JSON.

    QT_QPA_PLATFORM=offscreen python Testing/Benchmarks/bench_slicer_scene.py [--quick]

Runs on Slicer's own libraries in the tests' harness, with three slice views and a 3D view of 640 x 560 pixels that are
drawn without a graphics card. --quick takes 80 x 80 x 75 voxels and leaves out Slicer's own import of label maps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = [str(REPOSITORY / name) for name in ("", "CTGLIP", "Testing/Slicer")]
VIEW_PIXELS = (640, 560)
ORGANS = 104
REPEATS = 5
IMPORT = (
    "import time, sys, numpy; from harness import application; application.start(); start = time.perf_counter();"
    "from CTGLIPSlicer import display, heat_overlay, jump, legend, nodes;"
    "print(time.perf_counter() - start); assert 'torch' not in sys.modules"
)


def timed(work: Callable[[], object], repeats: int = REPEATS) -> dict[str, float]:
    """Median and slowest in seconds, after one warm-up."""
    work()
    seconds = [once(work) for _ in range(repeats)]
    return {"median_s": round(statistics.median(seconds), 4), "slowest_s": round(max(seconds), 4)}


def once(work: Callable[[], object]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 4)


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)


def balls(shape_ijk: tuple[int, int, int]) -> np.ndarray:
    """104 balls of several sizes at random places, uint8."""
    rng, labels = np.random.default_rng(0), np.zeros(shape_ijk, np.uint8)
    largest = min(shape_ijk) // 14
    for number in range(1, ORGANS + 1):
        radius = int(rng.integers(largest // 2, largest + 1))
        centre = [int(rng.integers(radius, size - radius)) for size in shape_ijk]
        ball = sum(axis**2 for axis in np.ogrid[(slice(-radius, radius),) * 3]) < radius**2
        labels[tuple(slice(c - radius, c + radius) for c in centre)][ball] = number
    return labels


def scene_work(labels: np.ndarray, folder: Path, quick: bool) -> dict[str, object]:
    """Organs into the scene and out of it."""
    import slicer
    from harness.study_nodes import addVolume

    from CTGLIPLib.geometry import Grid
    from CTGLIPLib.organs import PAPER_ORGANS
    from CTGLIPLib.segmentation_io import write_segmentation
    from CTGLIPLib.volume import Segmentation
    from CTGLIPSlicer import nodes

    affine = np.diag([-1.2, -1.2, 1.5, 1.0])
    grid = Grid(labels.shape, affine)
    names = tuple(organ.name for organ in PAPER_ORGANS)
    ct = addVolume(labels.astype(np.int16), grid, "ct")
    write_segmentation(Segmentation(labels[None].astype(np.uint16), grid, names), folder / "organs.seg.nrrd")
    labelmap = addVolume(labels, grid, "labels", "vtkMRMLLabelMapVolumeNode")
    report: dict[str, object] = {
        "import_organs_file_s": once(lambda: nodes.importOrgans(folder / "organs.seg.nrrd", ct, "organs")),
        "segmentation_from_label_map_s": once(lambda: nodes.segmentationFromLabelmap(labelmap, "totalsegmentator_v1")),
    }
    organs = slicer.util.getNode("organs")
    report |= {
        "organs_from_node": timed(lambda: nodes.organsFromNode(organs), 3),
        "export_study": timed(lambda: nodes.exportStudy(ct, organs, folder / "out"), 3),
        "content_key": timed(lambda: nodes.contentKey(ct, organs)),
        "segment_ids": timed(lambda: nodes.segmentIdsOf(organs)),
    }
    if not quick:
        own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        report["slicers_own_label_map_import_s"] = once(lambda: logic.ImportLabelmapToSegmentationNode(labelmap, own))
        slicer.mrmlScene.RemoveNode(own)
    for node in (labelmap, slicer.util.getNode("labels organs")):
        slicer.mrmlScene.RemoveNode(node)
    return report


def view_work() -> dict[str, object]:
    """Answers shown in views, of 5 organs and of all."""
    import slicer

    from CTGLIPSlicer import display, jump, legend

    organs, ct = slicer.util.getNode("organs"), slicer.util.getNode("ct")
    report: dict[str, object] = {"closed_surfaces_s": once(organs.CreateClosedSurfaceRepresentation)}
    manager = slicer.app.layoutManager()
    slices = [manager.sliceWidget(name).view for name in ("Red", "Green", "Yellow")]
    whole = manager.threeDWidget(0).view
    for view in (*slices, whole):
        view.window.SetSize(*VIEW_PIXELS)
    for view in slices:
        view.logic.ResizeSliceNode(*VIEW_PIXELS)
        view.show(ct)
    whole.fit()
    for count in (5, ORGANS):
        answers = [answer(count, seed) for seed in range(2)]
        turn = iter(range(10_000))

        def recoloured(ghosts: bool = False, answers: list = answers, turn: object = turn) -> None:
            scale = display.showAnswer(organs, answers[next(turn) % 2], display.DisplayOptions(ghosts=ghosts))
            legend.showLegend(organs, scale)

        def with_slice(recoloured: Callable[[], None] = recoloured) -> None:
            recoloured()
            slices[0].image()

        def with_all(recoloured: Callable[..., None] = recoloured, ghosts: bool = False) -> None:
            recoloured(ghosts)
            for view in (*slices, whole):
                view.image()

        report[f"{count}_organs_asked"] = {
            "recolour": timed(recoloured),
            "recolour_and_first_slice_picture": timed(with_slice),
            "recolour_and_pictures_of_all_four_views": timed(with_all, 3),
            "the_same_with_ghosts": timed(lambda with_all=with_all: with_all(ghosts=True), 2),
        }
    report["jump"] = timed(lambda: jump.jumpTo((0.0, 0.0, 0.0), organs))
    report["restore_s"] = once(lambda: display.restoreColours(organs))
    return report


def answer(count: int, seed: int) -> object:
    """An answer that scores the first `count` organs at random."""
    from CTGLIPLib.organs import PAPER_ORGANS
    from CTGLIPLib.results import OrganScore, QueryAnswer

    scores = np.random.default_rng(seed).random(count)
    rows = tuple(
        OrganScore(organ.name, organ.readable, "present", float(score) - 0.5, float(score))
        for organ, score in zip(PAPER_ORGANS[:count], scores, strict=True)
    )
    asked = tuple(row.organ for row in rows)
    return QueryAnswer("lesion", "finding", None, False, asked, "found", 0.0, ("a",), ("b",), rows)


def heat_work(folder: Path) -> dict[str, object]:
    """A heat map of the whole CT over it."""
    import slicer

    from CTGLIPLib.io import read_array, write_volume
    from CTGLIPSlicer import heat_overlay

    ct = slicer.util.getNode("ct")
    array, grid, _ = read_array(folder / "out" / "ct.nii")
    write_volume(np.where(array > 0, array / 1000.0, -1.0).astype(np.float32), grid, folder / "heat.nii")
    result = {"path": str(folder / "heat.nii"), "low": 0.0, "high": 0.1, "outside": -1.0}
    return {
        "show_heatmap": timed(lambda: heat_overlay.showHeatmap(result, ct, "lesion"), 3),
        "hide_heatmap_s": once(lambda: heat_overlay.hideHeatmap(ct)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time of the Slicer module's work on the scene.")
    parser.add_argument("--quick", action="store_true", help="a smaller CT")
    quick = parser.parse_args().quick
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path[:0] = FOLDERS
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(FOLDERS)}
    command = [sys.executable, "-c", IMPORT]
    imports = [
        float(subprocess.run(command, check=True, capture_output=True, env=environment).stdout) for _ in range(3)
    ]
    import slicer
    import vtk
    from harness import application

    application.start(views=True)
    labels = balls((80, 80, 75) if quick else (320, 320, 300))
    report: dict[str, object] = {
        "device": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors",
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "vtk": vtk.vtkVersion().GetVTKVersion()},
        "ct": list(labels.shape),
        "segments": ORGANS,
        "import_of_the_modules_s": round(min(imports), 3),
    }
    with tempfile.TemporaryDirectory() as name:
        report |= scene_work(labels, Path(name), quick)
        report |= view_work()
        report |= heat_work(Path(name))
    report["torch_in_process"] = "torch" in sys.modules
    report["peak_mib"] = peak_mib()
    slicer.mrmlScene.Clear(0)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
