"""The command `ctglip-train masks`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ctglip_training.data.claims import Shard
from CTGLIPLib.errors import CTGLIPError, InputError

if TYPE_CHECKING:
    from ctglip_training.data.make_masks import Outcome

WAYS_ROUND = "Or name masks made elsewhere in the manifest's columns masks and mask_names."
WORDS: dict[Outcome, str] = {
    "made": "made now",
    "kept": "made before",
    "given": "with masks of the data set's own (--also-own makes these too)",
    "failed": "failed",
    "elsewhere": "in work on another machine",
}


def add_masks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program."""
    command = commands.add_parser("masks", help="find the organs of a manifest's studies with TotalSegmentator")
    command.add_argument("--manifest", type=Path, required=True, metavar="FILE", help="manifest.csv or .parquet")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the masks")
    command.add_argument(
        "--write-manifest", type=Path, metavar="FILE",
        help="the manifest that names the masks (default: MANIFEST-with-masks beside the manifest)",
    )  # fmt: skip
    command.add_argument("--root", type=Path, metavar="DIR", help="where the data lies (default: as the manifest says)")
    command.add_argument("--shard", type=_shard, default=Shard(), metavar="2/8", help="this machine's part (all)")
    command.add_argument("--fast", action="store_true", help="3 mm instead of 1.5 mm")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="studies to work on at once")
    command.add_argument("--retry-failed", action="store_true", help="try studies that failed before again")
    command.add_argument("--also-own", action="store_true", help="also studies for which the data set has masks")
    command.set_defaults(run=_masks)


def _masks(options: argparse.Namespace) -> None:
    from ctglip_training.data.make_masks import MaskOptions, make_masks
    from ctglip_training.data.manifest import read_manifest, require_ending, write_manifest
    from ctglip_training.data.mask_files import FAILURES, MaskFolder, with_masks
    from ctglip_training.time_left import TimedProgress
    from CTGLIPLib.outputs import require_writable
    from CTGLIPLib.segment_total import TotalSegmentatorSegmenter

    how = MaskOptions(options.shard, options.workers, options.retry_failed, options.also_own)
    segment = TotalSegmentatorSegmenter(options.device, options.fast, WAYS_ROUND)
    if options.device not in {"auto", "cpu"}:
        from CTGLIPLib.encode import choose_device

        choose_device(options.device)  # TotalSegmentator would take the CPU without a word
    manifest, masks = read_manifest(options.manifest, options.root), MaskFolder(options.out)
    written = options.write_manifest or options.manifest.with_stem(f"{options.manifest.stem}-with-masks")
    require_ending(written)
    for place in (written, options.out / FAILURES):
        require_writable(place)
    signal.signal(signal.SIGTERM, _interrupt)  # how clusters end a job
    ends = make_masks(manifest, masks, segment, how, TimedProgress())
    write_manifest(with_masks(manifest, masks, options.also_own), written)
    told = ", ".join(f"{ends[end]:,} {words}" for end, words in WORDS.items() if ends[end])
    sys.stdout.write(f"{told or 'no study in this part'}\nmanifest: {written}\n")
    if ends["elsewhere"]:
        sys.stdout.write("Run the same command again when the other machines are done: it completes the manifest.\n")
    if ends["failed"]:
        msg = (
            f"Expected masks of every study, but {ends['failed']:,} failed. {options.out / FAILURES} says why; "
            "--retry-failed tries them again."
        )
        raise InputError(msg)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _shard(text: str) -> Shard:
    try:
        number, count = text.split("/")
        return Shard(int(number), int(count))
    except (ValueError, CTGLIPError) as error:
        msg = f"expected a part of the whole such as 2/8, counted from 1, got {text!r}"
        raise argparse.ArgumentTypeError(msg) from error
