"""The files of a tumour model's findings: results, segmentation, picture. All appear together or none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from CTGLIPLib.errors import DependencyError
from CTGLIPLib.files import whole_files, write_whole_text
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.result_files import columns, csv_text, to_json
from CTGLIPLib.results import NOTICE
from CTGLIPLib.segmentation_io import write_segmentation
from CTGLIPLib.tumor_checkpoint import TumorFolder
from CTGLIPLib.tumor_measure import TumorFindings
from CTGLIPLib.tumor_results import TumorResult, TumorRow, verdict
from CTGLIPLib.volume import Volume

WRITING = "writing results"
TABLE_WIDTH = 100
CSV_COLUMNS = (
    "study", "tumor", "detected", "volume_ml", "components", "largest_ml", "centre_r_mm", "centre_a_mm", "centre_s_mm",
    "organ", "detection_ml", "model", "model_sha256", "notice",
)  # fmt: skip


def write_tumor_files(
    volume: Volume, found: TumorFindings, folder: Path, progress: ProgressCallback | None = None
) -> list[Path]:
    """Write tumors.json, tumors.csv, tumors.png and the segmentation twice: for Slicer, and as a label map with names.

    Raises:
        OutputError: if the folder cannot be written.
        Cancelled: if `progress` asks to stop.
    """
    with whole_files(folder) as temporary:
        report(progress, WRITING, 0, 2)
        write_whole_text(temporary / "tumors.json", to_json(found.result))
        write_whole_text(temporary / "tumors.csv", to_csv(found.result))
        write_segmentation(found.segmentation, temporary / "segmentation.nii.gz")
        write_segmentation(found.segmentation, temporary / "segmentation.seg.nrrd")
        report(progress, WRITING, 1, 2)
        _draw(volume, found, temporary / "tumors.png")
        report(progress, WRITING, 2, 2)
        names = sorted(path.name for path in temporary.iterdir())
    return [folder / name for name in names]


def to_csv(result: TumorResult) -> str:
    """A header line, and a row for each tumour class."""
    shared: dict[str, object] = {
        "study": result.study.name,
        "detection_ml": result.detection_ml,
        "model": result.model.name,
        "model_sha256": result.model.sha256,
        "notice": NOTICE,
    }
    return csv_text(CSV_COLUMNS, [shared | _cells(row) for row in result.tumors])


def to_table(result: TumorResult) -> str:
    """The result for a terminal, ending with the notice."""
    rows = [
        (
            row.name,
            "yes" if row.detected else "no",
            f"{row.volume_ml:.2f}",
            str(row.components),
            "-" if row.centre_ras_mm is None else " ".join(f"{mm:.0f}" for mm in row.centre_ras_mm),
            row.organ or "-",
        )
        for row in result.tumors
    ]
    header = ("Tumour", "Detected", "Volume ml", "Pieces", "Centre RAS mm", "Organ")
    lines = [
        f"{result.study.name}: {verdict(result)}",
        *columns(header, rows, "<<>>><", TABLE_WIDTH),
        *(f"   {organ.name}: {organ.volume_ml:.1f} ml" for organ in result.organs),
        f"   detected from {result.detection_ml:g} ml on, by model {result.model.name} ({result.model.sha256[:12]})",
        *(f"   Warning: {warning}" for warning in result.study.warnings),
    ]
    return "\n".join(lines) + f"\n\n{NOTICE.capitalize()}.\n"


def describe_tumor_model(model: TumorFolder) -> str:
    """A text for the terminal: what the model finds, what it was made from, its card."""
    config = model.config
    rows: Mapping[str, str] = {
        "tumour model": config.name,
        "folder": str(model.folder),
        "sha256": model.sha256,
        "tumours": ", ".join(config.tumors),
        "other classes": ", ".join(name for name in config.classes if name not in config.tumors) or "none",
        "detected from": f"{config.detection_ml:g} ml on",
        "fine-tuned on": config.trained_on or "not stated",
        "started from": config.initialised_from,
        "vision encoder": config.backbone + (", with coordinates" if config.coordinates else ""),
        "voxels": f"{config.preprocess.spacing_mm:g} mm, windows of up to {config.preprocess.patch_voxels} voxels",
        "HU window": "{:g} to {:g}".format(*config.preprocess.window_hu),
    }
    width = max(map(len, rows))
    lines = [f"{key:<{width}}  {value}" for key, value in rows.items()]
    return "\n".join([*lines, "", model.card.strip() or "No model card.", "", f"{NOTICE.capitalize()}."])


def _cells(row: TumorRow) -> dict[str, object]:
    cells: dict[str, object] = asdict(row)
    del cells["centre_ras_mm"], cells["name"]
    r, a, s = row.centre_ras_mm or (None, None, None)
    return cells | {"tumor": row.name, "centre_r_mm": r, "centre_a_mm": a, "centre_s_mm": s}


def _draw(volume: Volume, found: TumorFindings, path: Path) -> None:
    """The picture.

    Raises:
        DependencyError: if matplotlib is missing.
    """
    try:
        from CTGLIPLib.tumor_picture import draw_tumors
    except ImportError as error:
        msg = f"The picture needs matplotlib, which could not be loaded: {error}. Install ctglip with its dependencies."
        raise DependencyError(msg) from error
    draw_tumors(volume, found, path)
