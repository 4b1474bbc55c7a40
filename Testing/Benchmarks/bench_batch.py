"""A batch of studies, two at once against one at a time, as JSON.

    python Testing/Benchmarks/bench_batch.py

Both are `run_batch` on the same studies made of real CTs, in turns: `at_once=1` reads, encodes and writes one study
after the other with all of torch's threads in the network. Rows are decided with the findings' files alone and with a
picture for each question; `stages` are seconds of one study after the other. Needs $CTGLIP_DATA.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import PeakMemory, at_least, data_folder, facts, in_turns, ratio, show

from CTGLIPLib.batch import BatchOptions, run_batch
from CTGLIPLib.batch_studies import find_studies
from CTGLIPLib.batch_study import naming
from CTGLIPLib.inputs import StudyInput, load_input
from CTGLIPLib.outputs import OutputOptions, write_outputs
from CTGLIPLib.predict import Predictor

QUESTIONS = ("fatty liver", "pleural effusion", "left kidney")
STUDIES = {
    "chest": {"ct.nii.gz": "chest_lidc_0001/ct.nii.gz", "organs.nii.gz": "chest_lidc_0001/seg_totalseg_v2.nii.gz",
              "structures.csv": "chest_lidc_0001/structures.csv"},
    "abdomen": {"ct.nii.gz": "abdomen_example/ct.nii.gz", "organs.nii.gz": "abdomen_example/seg_v1_104.nii.gz"},
    "thorax": {"ct.nii.gz": "cta_thorax/ct_cropped.nii.gz", "masks/aorta.nii.gz": "cta_thorax/aorta.nii.gz",
               "masks/vertebrae_T12.nii.gz": "cta_thorax/vertebrae_T12.nii.gz"},
}  # fmt: skip
COPIES = 2
WAYS = {"one at a time": 1, "two at once": 2}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", choices=tuple(WAYS), help="print the peak memory of this way alone, in MiB")
    options = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "studies", Path(name) / "out"
        make_studies(folder)
        if options.peak:
            show({"peak_mib": peak_mib(folder, out, WAYS[options.peak])})
            return
        show(measured(folder, out, options.repeats))


def measured(folder: Path, out: Path, repeats: int) -> dict[str, object]:
    """The report."""
    alone = stages(folder, out)  # the warm-up of the batches
    plain, drawn = (
        in_turns({name: batch(folder, out, count, pictures) for name, count in WAYS.items()}, times, warm_up=0)
        for pictures, times in ((False, repeats), (True, 1))
    )
    return {
        **facts("matplotlib", "SimpleITK"),
        "studies": {name: COPIES for name in STUDIES},
        "questions": len(QUESTIONS),
        "stages": alone,
        "findings": plain,
        "findings_and_pictures": drawn,
        "peak_mib": {name: in_a_process(name) for name in WAYS},
        "rows": [
            at_least("batch of studies against one at a time", ratio(plain, *WAYS), 1.3),
            at_least("batch of studies with pictures against one at a time", ratio(drawn, *WAYS), 1.3),
        ],
    }


def make_studies(folder: Path) -> None:
    """The studies, as links to the data, small and large ones in turns."""
    for copy in range(COPIES):
        for study, files in STUDIES.items():
            for name, source in files.items():
                path = folder / f"{copy}_{study}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(data_folder() / source)


def batch(folder: Path, out: Path, at_once: int, pictures: bool = False) -> Callable[[], None]:
    """What answers all studies anew, without a cache."""

    def run() -> None:
        shutil.rmtree(out, ignore_errors=True)
        options = BatchOptions(device="cpu", vocabulary="totalsegmentator_v1", pictures=pictures, at_once=at_once)
        if run_batch(folder, QUESTIONS, out, options).done != COPIES * len(STUDIES):
            raise RuntimeError((out / "failures.csv").read_text())

    return run


def stages(folder: Path, out: Path) -> dict[str, dict[str, float]]:
    """Seconds of each stage of one study of each kind, by the public API."""
    predictor = Predictor.from_pretrained(device="cpu")
    seconds = {}
    for study in find_studies(folder, out).studies[: len(STUDIES)]:
        clock = [time.perf_counter()]
        loaded = load_input(study.source or "", study.segmentation, naming(study, "totalsegmentator_v1"))
        given = StudyInput(study.name, loaded.volume, loaded.segmentation)
        clock.append(time.perf_counter())
        encoded = predictor.encode_input(given)
        clock.append(time.perf_counter())
        result = predictor.query(encoded, QUESTIONS)
        clock.append(time.perf_counter())
        write_outputs(predictor, encoded, result, out / "stages", OutputOptions(pictures=True))
        clock.append(time.perf_counter())
        names = ("read", "prepare and encode", "ask", "write with pictures")
        seconds[study.name] = {name: round(b - a, 3) for name, a, b in zip(names, clock, clock[1:], strict=False)}
    return seconds


def peak_mib(folder: Path, out: Path, at_once: int) -> float:
    """Highest memory of a batch above what it takes to import torch and the library."""
    torch.set_num_threads(torch.get_num_threads())
    with PeakMemory() as peak:
        batch(folder, out, at_once)()
    return peak.mib


def in_a_process(name: str) -> float:
    """The peak memory of one way in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--peak", name], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["peak_mib"])


if __name__ == "__main__":
    main()
