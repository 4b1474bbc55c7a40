"""Time and memory of encoding the demo's chest CT and of asking it, as JSON.

    python Testing/Benchmarks/bench_query.py

Needs the sample CT ($CTGLIP_DATA or network once). Cold questions start a new process each, on a study file.
"""

from __future__ import annotations

import json
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
import torch

from CTGLIPLib import Predictor, __version__
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.sample_data import chest_sample
from CTGLIPLib.study import save_study

QUESTION = "fatty liver"
REPEATS = 5


def timed(work: Callable[[], object], repeats: int = REPEATS) -> dict[str, float]:
    """Median and 90th percentile in seconds, after one warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"median_s": round(statistics.median(seconds), 4), "p90_s": round(float(np.percentile(seconds, 90)), 4)}


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)


def main() -> None:
    """Measure and print."""
    sample = chest_sample()
    started = time.perf_counter()
    given = load_input(sample.ct, sample.segmentation, InputOptions(names=sample.names))
    loading_s = time.perf_counter() - started
    after_loading = peak_mib()
    predictor = Predictor.from_pretrained()
    study = predictor.encode_input(given)
    report = {
        "device": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"ctglip": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "model": predictor.model.name,
        "ct": list(given.volume.grid.shape_ijk),
        "organs": len(study.embedding.organs),
        "load_s": round(loading_s, 2),
        "prepare": timed(lambda: prepare(study.volume, study.segmentation, predictor.config.preprocess)),
        "encode_with_preparing": timed(lambda: predictor.encode_input(given), 3),
        "peak_mib_after_loading": after_loading,
        "peak_mib_after_encoding": peak_mib(),
        "warm_question": timed(lambda: predictor.query(study, [QUESTION]), 20),
        "heatmap": timed(lambda: predictor.heatmap(study, QUESTION), 2),
        "organ_top1": predictor.organs(study).top1,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chest.ctglip"
        save_study(study.embedding, path)
        command = [sys.executable, "-m", "CTGLIPLib", "query", str(path), "--text", QUESTION, "--json"]
        report["cold_question_process"] = timed(lambda: subprocess.run(command, check=True, capture_output=True))
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
