"""What `ctglip segment-tumor` does: read, find, write, print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from CTGLIPLib.errors import InputError
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.outputs import require_writable
from CTGLIPLib.progress import ProgressCallback
from CTGLIPLib.result_files import to_json
from CTGLIPLib.tumor import TumorModel, find_tumors
from CTGLIPLib.tumor_files import to_table, write_tumor_files


def segment_tumor(options: argparse.Namespace, progress: ProgressCallback) -> None:
    """Find tumours in a CT and write what was found; fails before any work where it could not be written."""
    out: Path = options.out
    if out.is_file():
        msg = f"Expected a folder for the results with -o, got the file {out}. Name another one."
        raise InputError(msg)
    require_writable(out / "tumors.json")
    model = TumorModel.from_pretrained(options.model, options.device)
    given = load_input(options.study, options.organs, InputOptions(options.series, options.names))
    for warning in given.warnings:
        sys.stderr.write(f"Note: {warning}\n")
    found = find_tumors(given, model, given.segmentation, progress)
    files = write_tumor_files(given.volume, found, out, progress)
    sys.stdout.write(to_json(found.result) if options.json else to_table(found.result))
    sys.stderr.write(f"Wrote {len(files)} files to {out}\n")
