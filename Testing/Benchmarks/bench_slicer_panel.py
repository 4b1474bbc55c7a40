"""Times of the Slicer module's panel on the full chest CT: import, first question, further question, memory meanwhile.

    python Testing/Benchmarks/bench_slicer_panel.py

Runs on the test harness (slicer-core, PySide6) with the shipped model; needs $CTGLIP_DATA. Prints JSON.
`memory_mb` is the resident memory of the process that stands for Slicer; the network runs in the child.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
PATHS = [str(ROOT / "Testing" / "Slicer"), str(ROOT / "Testing" / "Lib"), str(ROOT), str(ROOT / "CTGLIP")]
sys.path[:0] = PATHS
QUESTIONS = ("emphysema", "fatty liver", "aortic calcification", "pulmonary nodule", "left kidney", "splenomegaly")
IMPORTS = 7
IMPORT_CODE = f"""
import sys, time
sys.path[:0] = {PATHS!r}
from harness import application
application.start()
from harness.module_loader import loadModule
import numpy, vtk
start = time.perf_counter()
loadModule({str(ROOT / "CTGLIP" / "CTGLIP.py")!r})
print(time.perf_counter() - start, "torch" in sys.modules)
"""


def main() -> None:
    """Print the figures."""
    from harness import application, study_nodes

    application.start(views=True)
    data = Path(os.environ.get("CTGLIP_DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CTGLIP_CACHE"] = cache
        study = study_nodes.addStudy(study_nodes.chestArrays(data), "chest")
        figures = measure(study)
    imports = sorted(imported() for _ in range(IMPORTS))
    figures["module_import_s"] = {"median": statistics.median(t for t, _ in imports), "max": imports[-1][0]}
    figures["torch_imported"] = any(torch for _, torch in imports) or "torch" in sys.modules
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    sys.stdout.flush()
    os._exit(0)


def measure(study: object) -> dict[str, object]:
    """Ask by clicks; times from the click to the picture, and this process's memory."""
    import slicer
    from flow_rig import FakeInstaller, Flow

    slicer.util.setSliceViewerLayers(background=study.volume, fit=True)
    flow = Flow(None, FakeInstaller())
    flow.choose(study.volume, study.segmentation)
    layout = slicer.app.layoutManager()
    layout.render()
    before, during = memory_mb(), []
    longest = 0.0

    def observe(_change: object) -> None:
        during.append(memory_mb())

    flow.session.addObserver(observe)
    start = time.perf_counter()
    flow.pressAsk("pleural effusion")
    prepared = time.perf_counter() - start
    while flow.session.isBusy:
        turn = time.perf_counter()
        slicer.app.processEvents()
        longest = max(longest, time.perf_counter() - turn)
        time.sleep(0.01)
    first = time.perf_counter() - start
    layout.render()
    further = []
    for question in QUESTIONS:
        start = time.perf_counter()
        flow.ask(question)
        layout.sliceWidget("Red").forceRender()
        further.append(time.perf_counter() - start)
    after = memory_mb()
    flow.close()
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "slicer_core": version("slicer-core")},
        "ct": list(study.arrays.hu.shape),
        "organs": len(study.organs),
        "first_question_s": first,
        "click_until_event_loop_s": prepared,
        "longest_pause_of_event_loop_s": longest,
        "further_question_until_red_slice_s": {
            "median": statistics.median(further),
            "max": max(further),
            "n": len(further),
        },
        "memory_mb": {"before": before, "highest_while_encoding": max(during), "after": after},
    }


def imported() -> tuple[float, bool]:
    """Seconds that loading CTGLIP.py takes in a new process, and whether torch came with it."""
    out = subprocess.run([sys.executable, "-c", IMPORT_CODE], capture_output=True, text=True, check=True).stdout
    seconds, torch = out.split()[-2:]
    return float(seconds), torch == "True"


def memory_mb() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
