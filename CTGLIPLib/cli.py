"""The command `ctglip`: it parses what was typed and calls one function of commands.py."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from CTGLIPLib import __version__
from CTGLIPLib.allocator import return_freed_memory
from CTGLIPLib.errors import CTGLIPError
from CTGLIPLib.model_list import DEFAULT_MODEL
from CTGLIPLib.worker_errors import plain_reason

DESCRIPTION = """\
Ask a CT in free text: which organ is where, and which shows a finding.

  ctglip demo                                       a public chest CT, questions answered, pictures drawn
  ctglip query CT -s ORGANS -q "fatty liver" -o DIR ask a CT whose organs were segmented before
  ctglip query CT -q "stone in the left kidney"     the same, organs found by TotalSegmentator
  ctglip encode CT -s ORGANS -o scan.ctglip         encode once ...
  ctglip query scan.ctglip -q "pleural effusion"    ... and ask at once, without the CT
  ctglip organs CT -s ORGANS                        which of 104 organs the model takes each mask for
  ctglip batch FOLDER -q "fatty liver" -o DIR       ask every study of a folder; run again to go on
  ctglip segment-tumor CT --model DIR -o DIR        tumours, by a model that you fine-tuned

CT is a NIfTI, NRRD or MetaImage file, or a folder with one DICOM series.
Research software, not a medical device.
"""
EPILOG = """\
exit codes: 0 answered, 1 the input or a file was wrong (one line says what was expected, what came, what to do),
2 wrong usage, 130 interrupted. Nothing half-written is left behind. docs/file_formats.md describes every file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command."""
    options = parser().parse_args(arguments)
    return_freed_memory()
    logging.basicConfig(level=logging.WARNING, format="ctglip: %(message)s", stream=sys.stderr)
    run: Callable[[argparse.Namespace], None] = options.run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are no UTF-8, terminals that are not
    try:
        run(options)
    except CTGLIPError as error:
        sys.stderr.write(f"ctglip: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nctglip: interrupted; nothing half-written was left.\n")
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if not (reason := plain_reason(error)):
            raise
        sys.stderr.write(f"ctglip: {reason}\n")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    layout = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="ctglip", description=DESCRIPTION, epilog=EPILOG, formatter_class=layout)
    top.add_argument("--version", action="version", version=f"ctglip {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_demo(commands)
    _add_query(commands)
    _add_batch(commands)
    _add_organs(commands)
    _add_encode(commands)
    _add_segment_tumor(commands)
    _add_model(commands)
    return top


Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse gives the type no public name


def _add_demo(commands: Commands) -> None:
    command = commands.add_parser("demo", help="answer questions about a public chest CT and draw the answers")
    command.add_argument("-o", "--out", type=Path, default=Path("ctglip-demo"), help="folder (default %(default)s)")
    _add_model_options(command)
    command.add_argument("--json", action="store_true", help="print the JSON alone")
    command.set_defaults(run=_run("demo"))


def _add_query(commands: Commands) -> None:
    command = commands.add_parser("query", help="ask a CT, or a study file, one or more questions")
    _add_study_options(command, "CT file, DICOM folder, or study file (.ctglip)")
    _add_text(command, required=True)
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="write findings.json, findings.csv and pictures")
    command.add_argument("--report", type=Path, metavar="FILE", help="write a report of one page: .html or .pdf")
    command.add_argument("--no-pictures", action="store_true", help="write no PNG pictures")
    command.add_argument(
        "--heatmaps", action="store_true", help="write a heat map per question: NIfTI on the CT's grid, and PNG"
    )
    command.add_argument(
        "--save-segmentation", action="store_true", help="write the organs with names, colours, SNOMED codes"
    )
    command.add_argument("--json", action="store_true", help="print the JSON alone")
    command.set_defaults(run=_run("query"))


def _add_batch(commands: Commands) -> None:
    command = commands.add_parser("batch", help="ask every study of a folder the same questions")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="holds the studies; docs/batch.md tells how")
    _add_text(command, required=False)
    command.add_argument("--questions", type=Path, metavar="FILE", help="questions, one a line; # begins a comment")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="summary.csv and DIR/STUDY/...")
    _add_segmenter(command)
    command.add_argument(
        "--label-map-version", choices=("v1", "v2"), help="label maps without names have TotalSegmentator's ids"
    )
    command.add_argument("--pictures", action="store_true", help="write a PNG per question")
    command.add_argument("--heatmaps", action="store_true", help="write a heat map per question: NIfTI")
    command.add_argument("--report", action="store_true", help="write report.html, of one page, per study")
    command.add_argument(
        "--no-retry", action="store_true", help="leave studies that failed before, and did not change, as they are"
    )
    command.add_argument("--no-cache", action="store_true", help="neither use nor keep encoded studies")
    command.add_argument(
        "--at-once", type=int, default=2, metavar="N", help="studies worked on together; 1 takes the least memory"
    )
    _add_model_options(command)
    command.add_argument("--json", action="store_true", help="print the counts as JSON")
    command.set_defaults(run=_run("batch"))


def _add_organs(commands: Commands) -> None:
    command = commands.add_parser("organs", help="which of the 104 organ names the model gives to each mask")
    _add_study_options(command, "CT file, DICOM folder, or study file (.ctglip)")
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="write organs.json and organs.csv")
    command.add_argument("--json", action="store_true", help="print the JSON alone")
    command.set_defaults(run=_run("organs"))


def _add_encode(commands: Commands) -> None:
    command = commands.add_parser("encode", help="encode a CT once into a study file that answers any question later")
    _add_study_options(command, "CT file or DICOM folder")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.ctglip", help="the study file")
    command.set_defaults(run=_run("encode"))


def _add_segment_tumor(commands: Commands) -> None:
    command = commands.add_parser("segment-tumor", help="find and measure tumours with a fine-tuned model")
    command.add_argument("study", type=Path, metavar="CT", help="CT file or DICOM folder")
    command.add_argument("--model", type=Path, metavar="DIR", help="the tumour model's folder; none is shipped")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    command.add_argument("--organs", type=Path, metavar="FILE", help="organ masks, to name the organ of each tumour")
    command.add_argument("--names", type=Path, metavar="FILE", help="names of the organ label map's ids")
    command.add_argument("--series", metavar="N|UID", help="which series of a DICOM folder with several")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default %(default)s)")
    command.add_argument("--json", action="store_true", help="print the JSON alone")
    command.set_defaults(run=_run("segment_tumor"))


def _add_model(commands: Commands) -> None:
    command = commands.add_parser("model", help="list, describe or add models")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="the models there are").set_defaults(run=_run("model_list"))
    show = actions.add_parser("show", help="what a model knows, its data, licence and figures")
    show.add_argument("name", nargs="?", default=DEFAULT_MODEL, help="name or folder (default %(default)s)")
    show.set_defaults(run=_run("model_show"))
    add = actions.add_parser("add", help="check a model folder and copy it to your models")
    add.add_argument("folder", type=Path)
    add.add_argument("--name", help="under this name (default: the folder's)")
    add.set_defaults(run=_run("model_add"))


def _add_study_options(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("study", type=Path, metavar="CT", help=what)
    organs = command.add_argument_group("organs")
    organs.add_argument(
        "-s", "--segmentation", type=Path, metavar="FILE", help="label map, folder of masks, or Slicer .seg.nrrd"
    )
    organs.add_argument(
        "--names", type=Path, metavar="FILE", help="names of the label map's ids: JSON, CSV, ITK-SNAP, .ctbl"
    )
    organs.add_argument(
        "--label-map-version", choices=("v1", "v2"), help="the label map has TotalSegmentator's ids of this version"
    )
    _add_segmenter(organs)
    command.add_argument("--series", metavar="N|UID", help="which series of a DICOM folder with several")
    command.add_argument("--no-cache", action="store_true", help="neither use nor keep the encoded study")
    _add_model_options(command)


def _add_text(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument(
        "-q", "--text", action="append", required=required, metavar="QUESTION",
        help='a question in plain words, such as "fatty liver" or "cyst in the left kidney"; may be repeated',
    )  # fmt: skip


def _add_segmenter(command: argparse._ActionsContainer) -> None:  # noqa: SLF001 - a parser or a group of one
    command.add_argument(
        "--segmenter", choices=("totalsegmentator", "own"), default="totalsegmentator",
        help="where no organs are given: TotalSegmentator, or the model's own, coarser segmentation head",
    )  # fmt: skip


def _add_model_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("model")
    group.add_argument(
        "--model", metavar="NAME|DIR", help=f"name of `ctglip model list` or a folder (default {DEFAULT_MODEL})"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default %(default)s)")
    group.add_argument(
        "--text-encoder-folder", type=Path, metavar="DIR", help="local files of the model's text encoder"
    )


def _run(name: str) -> Callable[[argparse.Namespace], None]:
    """The function of commands.py, imported when it is called: `--help` stays instant."""

    def run(options: argparse.Namespace) -> None:
        from CTGLIPLib import commands

        getattr(commands, name)(options)

    return run


if __name__ == "__main__":
    sys.exit(main())
