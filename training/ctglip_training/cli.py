"""The command `ctglip-train`: simulate patients, pretrain, evaluate, calibrate. A command calls one function."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ctglip_training.data_command import add_data_commands
from ctglip_training.evaluate_command import add_calibrate, add_evaluate, add_evaluate_masks
from ctglip_training.finetune_command import add_finetune
from ctglip_training.ladder_command import add_ladder
from ctglip_training.pairs_command import add_pairs_commands
from ctglip_training.prepare_command import add_prepare
from ctglip_training.score_command import add_score
from CTGLIPLib.errors import CTGLIPError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 ok, 1 an error of ours, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except CTGLIPError as error:
        _tell(str(error))
        return 1
    except KeyboardInterrupt:
        _tell("interrupted; start the same command again to go on.")
        return 130
    return 0


def _tell(message: str) -> None:
    """Write why the program stops; on a terminal, in place of the line that counts."""
    sys.stderr.write(("\r\x1b[K" if sys.stderr.isatty() else "") + f"ctglip-train: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ctglip-train",
        description="Train CT-GLIP: simulate patients, pretrain in two stages, evaluate on subjects held out.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_simulate(commands)
    _add_pretrain(commands)
    add_evaluate(commands)
    add_evaluate_masks(commands)
    add_finetune(commands)
    add_score(commands)
    add_calibrate(commands)
    add_ladder(commands)
    _add_text_bank(commands)
    add_pairs_commands(commands)
    add_data_commands(commands)
    add_prepare(commands)
    return parser


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("simulate", help="make patients with known findings from real CTs and their masks")
    command.add_argument(
        "--subjects", type=Path, default=Path("training/configs/subjects.toml"), help="list of real CTs"
    )
    command.add_argument(
        "--data", type=Path, help="folder that the list's paths are relative to (default $CTGLIP_DATA)"
    )
    command.add_argument("--out", type=Path, required=True, help="folder of the pool")
    command.add_argument("--count", type=int, default=90, help="patients from each real CT")
    command.add_argument("--spacing", type=float, default=3.0, metavar="MM", help="voxel size of the patients")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument(
        "--preview", type=int, default=0, metavar="N", help="draw the first N patients of each subject"
    )
    command.set_defaults(run=_simulate)


def _add_pretrain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("pretrain", help="train the two stages; the same command resumes a stopped run")
    command.add_argument("--config", type=Path, required=True, help="TOML file, see training/configs")
    command.add_argument("--out", type=Path, required=True, help="folder for checkpoints, metrics and the model")
    command.add_argument(
        "--pool",
        nargs="+",
        metavar="DIR",
        help="folders made by simulate or prepare (default: the file's)",
    )
    command.add_argument("--dictionary", metavar="FILE", help="made by `ctglip-train dictionary` (default: the file's)")
    command.add_argument("--hold-out", nargs="*", default=None, metavar="SUBJECT", help="subjects never to train on")
    command.add_argument(
        "--init-from", metavar="KIND:DIR", help="weights to start from: run:, stage1: or nnunet: (default: the file's)"
    )
    command.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps; with torchrun, cuda is shared"
    )
    command.add_argument("--text-folder", type=Path, help="local folder of the text encoder")
    command.set_defaults(run=_pretrain)


def _add_text_bank(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("text-bank", help="embed all known phrases with the default encoder, to be shipped")
    command.set_defaults(run=_text_bank)


def _simulate(options: argparse.Namespace) -> None:
    from ctglip_training.pool import make_pool, preview_pool
    from ctglip_training.subjects import data_folder, load_subject, read_subjects
    from ctglip_training.time_left import TimedProgress

    data = data_folder(options.data)
    bases = {subject.id: load_subject(subject, data) for subject in read_subjects(options.subjects)}
    make_pool(bases, options.out, options.spacing, options.seed, range(options.count), TimedProgress())
    preview_pool(options.out, options.preview)


def _pretrain(options: argparse.Namespace) -> None:
    from ctglip_training.config import read_config
    from ctglip_training.distributed import is_first_process
    from ctglip_training.export import export_model
    from ctglip_training.loop import train
    from CTGLIPLib.text_bank import open_text_encoder

    config = read_config(options.config)
    data = config.data
    if options.pool:
        data = replace(data, pool=options.pool[0], more_pools=tuple(options.pool[1:]))
    if options.dictionary:
        data = replace(data, dictionary=options.dictionary)
    if options.hold_out is not None:
        data = replace(data, hold_out=tuple(options.hold_out))
    init_from = config.init_from if options.init_from is None else options.init_from
    config = replace(config, data=data, init_from=init_from)
    encoder = open_text_encoder(config.text.encoder, options.text_folder, revision=config.text.revision)
    network = train(config, options.out, encoder, options.device)
    if is_first_process():
        used = replace(config, text=replace(config.text, revision=encoder.revision))
        export_model(used, network, options.out / "model")
        sys.stdout.write(f"trained: {options.out / 'model'}\n")


def _text_bank(_options: argparse.Namespace) -> None:
    from CTGLIPLib.text_bank import build_shipped_bank

    build_shipped_bank()


if __name__ == "__main__":
    sys.exit(main())
