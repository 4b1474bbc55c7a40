"""Time of encoding the chest CT, of further questions about it, and of a question in a new process, as JSON.

    python Testing/Benchmarks/bench_query.py

Cold questions start a new process each, on a study file, with a phrase of the shipped bank.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import PeakMemory, at_least, at_most, data_folder, facts, in_turns, show

from CTGLIPLib import Predictor
from CTGLIPLib.inputs import InputOptions, StudyInput, load_input
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.study import save_study

QUESTION = "fatty liver"
COLD = """
import sys
from CTGLIPLib.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "transformers"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    with PeakMemory() as loading:
        given = chest()
    loading_s = time.perf_counter() - started
    predictor = Predictor.from_pretrained()
    with PeakMemory() as encoding:
        study = predictor.encode_input(given)
    config = predictor.config.preprocess
    seconds = in_turns({"encode": lambda: predictor.encode_input(given)}, 5)
    seconds |= in_turns({"prepare": lambda: prepare(study.volume, study.segmentation, config)}, 5)
    seconds |= in_turns({"question": lambda: predictor.query(study, [QUESTION])}, 20)
    seconds |= in_turns({"heatmap": lambda: predictor.heatmap(study, QUESTION)}, 2, warm_up=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chest.ctglip"
        save_study(study.embedding, path)
        command = [sys.executable, "-c", COLD, "query", str(path), "--text", QUESTION, "--json"]
        seconds |= in_turns({"cold": lambda: subprocess.run(command, check=True, capture_output=True)}, 7)
    question, encode = seconds["question"], seconds["encode"]
    rows = [
        at_most("further question, warm, 90th percentile", 1000 * question["p90_s"], 50, "ms"),
        at_least("further question against encoding again", encode["median_s"] / question["median_s"], 200),
        at_most("ctglip query on a cached study, cold process, no torch", seconds["cold"]["median_s"], 1.5, "s"),
    ]
    report = facts("transformers") | {
        "model": predictor.model.name,
        "network": type(predictor.network.backbone).__name__,
        "ct": list(given.volume.grid.shape_ijk),
        "organs": len(study.embedding.organs),
        "load_s": round(loading_s, 2),
        "seconds": seconds,
        "peak_mib": {"loading": loading.mib, "first_encoding": encoding.mib},
    }
    show(report | {"rows": rows})


def chest() -> StudyInput:
    """The chest CT with its organs."""
    folder = data_folder() / "chest_lidc_0001"
    return load_input(
        folder / "ct.nii.gz", folder / "seg_totalseg_v2.nii.gz", InputOptions(names=folder / "structures.csv")
    )


if __name__ == "__main__":
    main()
