from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_data import prepared, small_config, write_tumor_set
from monai.losses.dice import DiceCELoss

from ctglip_training.finetune import train
from ctglip_training.finetune.cache import OUTSIDE
from ctglip_training.finetune.config import FinetuneConfig, PatchConfig, ScheduleConfig, read_finetune_config
from ctglip_training.finetune.losses import SMOOTH, dice_loss, level_weights, supervised_losses
from ctglip_training.finetune.schedule import freeze_encoder, learning_rate
from ctglip_training.finetune.start import new_network, read_starts, resolved
from ctglip_training.finetune.train import BROKEN_BATCH, Job, finetune
from CTGLIPLib.errors import CheckpointError, ConfigError, CTGLIPError
from CTGLIPLib.tumor_config import TumorConfig
from CTGLIPLib.tumor_model import TumorSegmenter

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Three steps from scratch on two patients; `out` is to be replaced."""
    root = write_tumor_set(tmp_path_factory.mktemp("raw") / "Dataset007_Lung", ["lung_0", "lung_1"])
    cases, ready = prepared(root)
    config = small_config()
    tumor = TumorConfig("tiny-test", cases.classes, cases.tumors, config.preprocess, "tiny")
    return Job(config, tumor, read_starts(["scratch"])[0], ready, root)


def test_classes_with_a_side_are_not_mirrored(job: Job, tmp_path: Path) -> None:
    sided = replace(job.tumor, classes=("kidney_left", "tumor"), tumors=("tumor",))
    with pytest.raises(ConfigError, match=r"kidney_left have a side.*mirror = false"):
        finetune(replace(job, tumor=sided, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def _random_logits(seed: int = 0, classes: int = 3, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, size, size, size, generator=generator)
    return logits, torch.randint(0, classes, (2, size, size, size), generator=generator)


def test_one_level_is_monais_dice_and_cross_entropy() -> None:
    logits, labels = _random_logits()
    ours = sum(supervised_losses([logits], labels).values())
    monai = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH
    )
    dice = monai.dice(logits, labels[:, None])
    assert float(ours) == pytest.approx(float(dice + torch.nn.functional.cross_entropy(logits, labels)), abs=1e-5)


def test_levels_are_weighted_by_halves_and_the_coarsest_not_at_all() -> None:
    assert level_weights(1) == [1.0]
    assert level_weights(4) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    logits, labels = _random_logits()
    coarse = [logits, logits[..., ::2, ::2, ::2], torch.full((2, 3, 2, 2, 2), float("nan"))]
    both = supervised_losses(coarse, labels)
    fine = supervised_losses([logits], labels)["dice_loss"]
    half = supervised_losses([coarse[1]], labels[:, ::2, ::2, ::2])["dice_loss"]
    assert float(both["dice_loss"]) == pytest.approx(float(2 * fine + half) / 3, abs=1e-6)


def test_voxels_outside_the_scan_change_no_loss() -> None:
    logits, labels = _random_logits()
    labels[:, 4:] = OUTSIDE
    other = logits.clone()
    other[:, :, 4:] += torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(9)) * 5
    first, second = supervised_losses([logits], labels), supervised_losses([other], labels)
    inside = supervised_losses([logits[:, :, :4]], labels[:, :4])
    for name in first:
        assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-6)
        assert float(first[name]) == pytest.approx(float(inside[name]), abs=1e-6)


def test_a_crop_wholly_outside_has_a_finite_loss() -> None:
    logits, labels = _random_logits()
    losses = supervised_losses([logits], torch.full_like(labels, OUTSIDE))
    assert all(torch.isfinite(value) for value in losses.values())
    assert float(losses["cross_entropy_loss"]) == 0


def test_a_right_answer_costs_next_to_nothing() -> None:
    _, labels = _random_logits()
    sure = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * 50.0
    assert float(dice_loss(sure, labels)) == pytest.approx(0, abs=1e-4)
    assert float(dice_loss(-sure, labels)) > 0.9


def test_the_learning_rate_falls_to_nothing_as_a_polynomial() -> None:
    schedule = ScheduleConfig(lr=0.01, steps=1000)
    assert learning_rate(schedule, 0) == 0.01
    assert learning_rate(schedule, 500) == pytest.approx(0.01 * 0.5**0.9)
    assert learning_rate(schedule, 999) < 3e-5


@pytest.mark.parametrize(("backbone", "size"), [("tiny", 32), ("mit-tiny", 96)])
def test_the_encoder_is_frozen_first_and_everything_learns_afterwards(backbone: str, size: int) -> None:
    schedule = ScheduleConfig(optimiser="radam", lr=1e-3, steps=4, frozen_encoder_steps=2)
    torch.manual_seed(0)
    network = TumorSegmenter(TumorConfig(backbone=backbone))
    freeze_encoder(network, schedule, 1)
    names = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    encoder = {n for n, _ in network.named_parameters() if n.split(".")[1] in {"encoder", "stem", "embeddings"}}
    assert names == encoder
    assert 0 < len(encoder) < sum(1 for _ in network.parameters())
    if backbone == "tiny":
        losses = supervised_losses(network(torch.rand(1, 1, size, size, size)), torch.ones(1, 32, 32, 32).long())
        torch.stack(list(losses.values())).sum().backward()
        assert all(weight.grad is None for name, weight in network.named_parameters() if name in encoder)
    freeze_encoder(network, schedule, 2)
    assert all(weight.requires_grad for weight in network.parameters())


def _metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on_to_the_same_weights_and_metrics_to_the_bit(job: Job, tmp_path: Path) -> None:
    whole = finetune(replace(job, out=tmp_path / "whole"))
    stopped = replace(job, out=tmp_path / "stopped")
    calls = 0
    save = train.save_state

    def stop_after_two(*arguments: object) -> None:
        nonlocal calls
        save(*arguments)  # type: ignore[arg-type]
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "save_state", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            finetune(stopped)
    resumed = finetune(stopped)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    lines = [_metrics(tmp_path / name) for name in ("whole", "stopped")]
    assert [row["step"] for row in lines[0]] == [1, 2, 3]
    for one, other in zip(*lines, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}
    assert torch.equal(finetune(stopped).heads[0].weight, whole.heads[0].weight)  # nothing left to do


def test_a_folder_of_another_run_is_refused_and_says_what_differs(job: Job, tmp_path: Path) -> None:
    config = replace(job.config, schedule=replace(job.config.schedule, steps=1))
    mine = replace(job, out=tmp_path / "run", config=config)
    finetune(mine)
    with pytest.raises(CheckpointError, match="another cases. Choose another --out"):
        finetune(replace(mine, cases=mine.cases[:1]))
    with pytest.raises(CheckpointError, match="another config. Choose another --out"):
        finetune(replace(mine, config=replace(config, schedule=replace(config.schedule, lr=0.5))))
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="cannot be read.*Delete it"):
        finetune(mine)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_run_and_lists_the_batch(
    job: Job, tmp_path: Path, what: str
) -> None:
    broken = replace(job, out=tmp_path / "run")
    calls = 0
    losses = train.supervised_losses

    def nan_in_the_second_step(*arguments: object) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        found = losses(*arguments)  # type: ignore[arg-type]
        if calls == 2 and what == "loss":
            return {name: value * float("nan") for name, value in found.items()}
        if calls == 2:
            for value in found.values():
                value.register_hook(lambda gradient: gradient * float("inf"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "supervised_losses", nan_in_the_second_step)
        with pytest.raises(CTGLIPError, match="Step 1 has a loss or gradient that is not finite"):
            finetune(broken)
    facts = json.loads((tmp_path / "run" / BROKEN_BATCH).read_text())
    assert facts["crops"] == [2, 3]
    assert set(facts["cases"]) <= {"lung_0", "lung_1"}
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 1


def test_the_loss_falls(job: Job, tmp_path: Path) -> None:
    config = small_config(steps=8, lr=0.05)
    finetune(replace(job, out=tmp_path, config=config))
    losses = [row["loss"] for row in _metrics(tmp_path)]
    assert np.mean(losses[-3:]) < 0.85 * np.mean(losses[:3])


def test_fresh_parts_are_the_same_for_every_initialisation_and_the_backbone_is_the_pretrained(smoke_run: Path) -> None:
    scratch, run, model = read_starts(["scratch", f"ct-glip=run:{smoke_run}", f"again=model:{smoke_run / 'model'}"])
    assert run.identity == model.identity != scratch.identity
    assert run.words.startswith("ct-glip (")
    assert str(smoke_run.parent) not in run.words
    config = resolved(FinetuneConfig(), [scratch, run])
    assert run.preprocess is not None
    assert config.preprocess.spacing_mm == run.preprocess.spacing_mm
    tumor = TumorConfig(preprocess=config.preprocess, backbone=config.backbone, coordinates=config.coordinates)
    first, second = new_network(tumor, scratch, 0), new_network(tumor, run, 0)
    assert all(torch.equal(a, b) for a, b in zip(first.heads.parameters(), second.heads.parameters(), strict=True))
    assert run.pretrained is not None
    pretrained = run.pretrained.backbone.state_dict()
    assert all(torch.equal(weight, pretrained[name]) for name, weight in second.backbone.state_dict().items())
    assert any(not torch.equal(weight, pretrained[name]) for name, weight in first.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["vanilla"], "Expected an initialisation such as scratch"),
        (["a=file:x"], "Expected an initialisation such as scratch"),
        (["scratch", "scratch"], "names of their own, got scratch, scratch"),
    ],
)
def test_an_initialisation_that_is_none_is_refused(asked: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_starts(asked)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Expected a training run"):
        read_starts([f"ct-glip=run:{tmp_path}"])
    with pytest.raises(CheckpointError, match="Expected a model folder"):
        read_starts([f"ct-glip=model:{tmp_path}"])


def test_from_scratch_alone_the_configuration_must_say_what_the_network_is(smoke_run: Path) -> None:
    scratch = read_starts(["scratch"])
    with pytest.raises(ConfigError, match="must set backbone"):
        resolved(FinetuneConfig(), scratch)
    with pytest.raises(ConfigError, match="must set patch.spacing_mm"):
        resolved(FinetuneConfig(backbone="tiny"), scratch)
    own = FinetuneConfig(backbone="tiny", patch=PatchConfig(spacing_mm=2.0, window_hu=(-100, 300)))
    assert resolved(own, scratch) == own
    with pytest.raises(ConfigError, match="asks for the vision encoder small"):
        resolved(FinetuneConfig(backbone="small"), read_starts([f"a=run:{smoke_run}"]))


def test_configuration_files_hold_the_papers_fine_tuning() -> None:
    cnn, mit = (read_finetune_config(CONFIGS / name) for name in ("finetune.toml", "finetune-mit.toml"))
    assert (cnn.patch.batch, cnn.schedule.steps, cnn.schedule.optimiser) == (8, 125_000, "sgd")
    assert (cnn.schedule.lr, cnn.schedule.momentum, cnn.schedule.weight_decay) == (1e-2, 0.99, 3e-5)
    assert (mit.schedule.optimiser, mit.schedule.lr, mit.schedule.frozen_encoder_steps) == ("radam", 1e-3, 25_000)
    assert mit.schedule.steps == 125_000
    small = read_finetune_config(CONFIGS / "finetune-small.toml")
    assert resolved(small, read_starts(["scratch"])) == small


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense =", "Expected a TOML file"),
        ("steps = 3", "Unknown keys in .*: steps"),
        ("[schedule]\noptimiser = 'adam'", "optimiser must be one of sgd, radam"),
        ("[patch]\nforeground = 2", "foreground must lie in 0..1"),
        ("[augment]\nscaling = [1.4, 0.7]", "augment.scaling must be"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_finetune_config(tmp_path / "f.toml")
