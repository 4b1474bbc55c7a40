"""Pictures and files by which a simulated patient can be looked at."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ctglip_training.simulate.patient import Patient, SimulatedFinding
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import canonical_array, canonical_grid
from CTGLIPLib.io import write_volume
from CTGLIPLib.volume import Segmentation

LUNG_WINDOW_HU = (-1350.0, 150.0)
SOFT_WINDOW_HU = (-130.0, 230.0)
REACH_MM = 90.0
PLANES = (("axial", 2), ("coronal", 1), ("sagittal", 0))


def write_preview(patient: Patient, folder: Path, before: Patient | None = None) -> list[Path]:
    """The files written: the CT, its label map with names, the findings, and a picture of each finding.

    Args:
        patient: what to show.
        folder: made where it does not exist.
        before: the patient without the findings, shown in a second row.

    Raises:
        OutputError: if the folder cannot be written.
    """
    ct, labels = folder / "ct.nii.gz", folder / "labels.nii.gz"
    write_volume(np.rint(patient.volume.array).astype(np.int16), patient.volume.grid, ct)
    write_volume(flat_labels(patient.segmentation), patient.segmentation.grid, labels)
    written = [ct, labels, folder / "labels.json", folder / "findings.json"]
    names = {str(number): name for number, name in enumerate(patient.segmentation.names, start=1)}
    _write_json(names, folder / "labels.json")
    _write_json([asdict(finding) for finding in patient.findings], folder / "findings.json")
    for number, finding in enumerate(patient.findings, start=1):
        path = folder / f"{number:02d}_{finding.abnormality}_{finding.organ}.png"
        figure = finding_figure(patient, finding, before)
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=90)
        written.append(path)
    return written


def flat_labels(segmentation: Segmentation) -> np.ndarray:
    """One label map, uint16, of all layers; where organs overlap the first layer wins."""
    flat = np.zeros(segmentation.grid.shape_ijk, dtype=np.uint16)
    for layer in segmentation.layers[::-1]:
        np.copyto(flat, layer, where=layer > 0)
    return flat


def _write_json(value: object, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def finding_figure(patient: Patient, finding: SimulatedFinding, before: Patient | None = None) -> Figure:
    """Three slices through a finding with the organ's outline, its sentence above; a second row shows `before`."""
    rows = [patient] if before is None else [patient, before]
    figure = Figure(figsize=(13, 4.6 * len(rows)), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for row, shown in zip(panels, rows, strict=True):
        for panel, (plane, axis) in zip(row, PLANES, strict=True):
            _draw_slice(panel, shown, finding, axis)
            panel.set_title(plane, color="white", fontsize=9)
    figures = ", ".join(f"{key} {value:.3g}" for key, value in finding.details.items() if "centre" not in key)
    title = f"{finding.abnormality} in {finding.organ}: {finding.sentence}\n{figures}"
    figure.suptitle(title, color="white", fontsize=10)
    return figure


def _draw_slice(panel: Axes, patient: Patient, finding: SimulatedFinding, axis: int) -> None:
    grid = canonical_grid(patient.volume.grid)
    array = canonical_array(patient.volume.array, patient.volume.grid)
    mask = canonical_array(patient.segmentation.mask(finding.organ), patient.volume.grid)
    centre = np.array([finding.details[f"centre_{name}_mm"] for name in "ras"])
    index = np.clip(np.rint(grid.to_index(centre)).astype(int), 0, np.array(grid.shape_ijk) - 1)
    picked = tuple(int(index[axis]) if other == axis else slice(None) for other in range(3))
    across, up = (other for other in range(3) if other != axis)
    window = LUNG_WINDOW_HU if finding.organ.startswith("lung_") else SOFT_WINDOW_HU
    aspect = grid.spacing_mm[up] / grid.spacing_mm[across]
    low, high = window
    panel.imshow(array[picked].T, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
    if mask[picked].any():
        panel.contour(mask[picked].T.astype(float), levels=[0.5], colors="#ffb000", linewidths=0.6)
    reach = (REACH_MM / grid.spacing_mm[across], REACH_MM / grid.spacing_mm[up])
    left, right = index[across] - reach[0], index[across] + reach[0]
    panel.set_xlim((right, left) if axis == 2 or axis == 1 else (left, right))
    panel.set_ylim(index[up] - reach[1], index[up] + reach[1])
    panel.set_axis_off()
