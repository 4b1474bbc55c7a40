"""Every benchmark that decides a target, one after the other, each in a process of its own.

    CTGLIP_DATA=... python Testing/Benchmarks/run.py --out FILE.json [--only pooling load ...]

Prints the table of targets; FILE holds all figures. It takes tens of minutes on two cores; keep the machine quiet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS: dict[str, list[str]] = {
    "pooling": ["bench_pooling.py"],
    "study": ["bench_study.py", "--studies", "chest"],
    "study, abdomen": ["bench_study.py", "--studies", "abdomen", "--tiles", "1"],
    "study, other network": [
        "bench_study.py", "--studies", "chest", "--tiles", "1", "--backbone", "small", "--spacing", "2",
        "--patch", "96",
    ],
    "query": ["bench_query.py"],
    "load": ["bench_load.py"],
    "training step": ["bench_training_step.py", "--repeats", "2"],
    "store": ["bench_store.py"],
    "batch": ["bench_batch.py"],
}  # fmt: skip


def main() -> int:
    """Exit code: 1 if a benchmark failed; a target that is missed is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    options = parser.parse_args()
    reports: dict[str, object] = json.loads(options.out.read_text()) if options.out.exists() else {}
    failed = []
    for name in options.only:
        sys.stderr.write(f"{name} ...\n")
        done = subprocess.run([sys.executable, HERE / COMMANDS[name][0], *COMMANDS[name][1:]], stdout=subprocess.PIPE)
        if done.returncode:
            failed.append(name)
            continue
        reports[name] = json.loads(done.stdout)
        options.out.write_text(json.dumps(reports, indent=1) + "\n")
    sys.stdout.write(table(reports))
    sys.stderr.write(f"failed: {', '.join(failed)}\n" if failed else "")
    return bool(failed)


def table(reports: dict) -> str:
    """The targets as a Markdown table."""
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    for report in reports.values():
        for row in report["rows"]:
            verdict = "met" if row["met"] else "missed"
            lines.append(f"| {row['what']} | {row['target']} {row['unit']} | {row['measured']:g} | {verdict} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
