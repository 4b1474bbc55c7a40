"""How long Cancel takes at each stage of a request, as JSON; also the memory of the asking process while it waits.

    python Testing/Benchmarks/bench_cancel.py

Real child process and shipped model on a made CT (`makeStudy`), with Slicer's libraries (Testing/Slicer/harness).
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "CTGLIP"), str(ROOT / "Testing" / "Slicer")]
os.environ["CTGLIP_CACHE"] = tempfile.mkdtemp(prefix="ctglip-bench-")  # nothing is answered from an earlier run

from harness import application  # noqa: E402 - found by the path above

application.start()

import numpy as np  # noqa: E402
import slicer  # noqa: E402

from CTGLIPSlicer.session import Session  # noqa: E402
from CTGLIPSlicer.session_types import StudyInputs  # noqa: E402
from CTGLIPSlicer.states import State  # noqa: E402

TIMES = 8
"""How much finer than the self test's phantom the CT is, along each axis."""
QUESTION = ["fatty liver"]
TICK_S = 0.05
"""The widget's timer."""


def makeStudy() -> StudyInputs:
    """The self test's body with liver and spleen, 320 x 272 x 224 voxels of 1 mm."""
    from CTGLIPSlicer import self_test

    coarse, organs = self_test.makeScene()
    hu = np.kron(slicer.util.arrayFromVolume(coarse), np.ones((TIMES,) * 3, dtype=np.int16))
    volume = slicer.util.addVolumeFromArray(hu, name="bench CT")
    volume.SetSpacing(*[self_test.SPACING_MM / TIMES] * 3)
    volume.SetOrigin(coarse.GetOrigin())
    return StudyInputs(volume, organs, device="cpu")


def tick(session: Session, isThere: Callable[[], object], longestS: float = 300.0) -> float:
    """Seconds until it is there, polled as by the widget."""
    started = time.perf_counter()
    while not isThere():
        if time.perf_counter() - started > longestS:
            msg = f"waited {longestS:g} s in vain"
            raise TimeoutError(msg)
        time.sleep(TICK_S)
        session.poll()
    return time.perf_counter() - started


def doing(session: Session, what: str) -> Callable[[], bool]:
    """Whether the session tells that it does this, or has ended."""
    return lambda: not session.state.isBusy or (session.progress is not None and session.progress.what.startswith(what))


def cancelled(session: Session) -> float | None:
    """Seconds from Cancel to its end; None where the request had ended before."""
    if not session.state.isBusy:
        return None
    started = time.perf_counter()
    session.cancel()
    tick(session, lambda: session.state is not State.CANCELLING)
    return round(time.perf_counter() - started, 3)


def residentMb() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def main() -> None:
    """Print the figures."""
    study, session, told = makeStudy(), Session(), {}
    own = StudyInputs(study.volumeNode, segmenter="own", device="cpu")
    stages = (
        ("before files are written", study, ""),
        ("writing files", study, "writing"),
        ("starting the child", study, "starting"),
        ("reading the scan", study, "reading"),
        ("finding organs (own head)", own, "segmenting"),
        ("encoding", study, "encoding"),
    )
    for name, inputs, what in stages:
        session.close()  # a new child for each
        session.ask(inputs, QUESTION)
        if what:
            tick(session, doing(session, what))
        told[name] = cancelled(session)
    session.close()
    session.ask(study, QUESTION)
    before, memory = residentMb(), []
    first = tick(session, lambda: memory.append(residentMb()) or not session.state.isBusy)
    session.ask(study, ["spleen"])
    further = tick(session, lambda: not session.state.isBusy)
    session.heatmap(study, QUESTION[0])
    tick(session, doing(session, "comparing"))
    told["heat map"] = cancelled(session)
    with tempfile.TemporaryDirectory() as folder:
        session.report(study, QUESTION, Path(folder) / "report.html")
        session.poll()
        told["report"] = cancelled(session)
    session.close()
    figures = {
        "cancel_s": told,
        "first_question_s": round(first, 2),
        "further_question_s": round(further, 3),
        "memory_mb": {"before": before, "largest_while_encoding": max(memory)},
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
