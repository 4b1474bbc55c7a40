"""`ctglip-train finetune` from a data set's folder to Table 2, and the model that `ctglip segment-tumor` loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetune_data import write_tumor_set

from ctglip_training.cli import main
from CTGLIPLib.cli import main as ctglip
from CTGLIPLib.tumor_checkpoint import load_tumor_network, open_tumor_model

CONFIG = """
name = "lung-tumor"
backbone = "tiny"
save_every = 1
[patch]
spacing_mm = 5.0
window_hu = [-1000, 1000]
patch_voxels = 32
batch = 2
[schedule]
steps = 1
lr = 0.1
momentum = 0.9
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw") / "Dataset007_Lung"
    (root.parent / "finetune.toml").write_text(CONFIG)
    return write_tumor_set(root)


def _arguments(data: Path, out: Path, *more: str) -> list[str]:
    config = str(data.parent / "finetune.toml")
    return ["finetune", "--data", str(data), "--config", config, "--out", str(out), "--device", "cpu", *more]


def test_one_command_trains_measures_prints_and_exports(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(data, tmp_path, "--init", "scratch", "--folds", "2")
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "4 left-out cases of 4 patients, 2 training(s) of 1 steps" in printed
    assert "| nnUNet CT-GLIP | 52.42 |" in printed
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["with_tumor"] == {"cancer": 3}
    assert kept["rows"][0]["figures"]["auc"]["cancer"]["value"] is not None
    written = (tmp_path / "scratch" / "fold_0" / "checkpoint.pt").stat().st_mtime_ns

    assert main(arguments) == 0  # nothing is done again
    assert (tmp_path / "scratch" / "fold_0" / "checkpoint.pt").stat().st_mtime_ns == written
    assert json.loads((tmp_path / "results.json").read_text()) == kept

    model = open_tumor_model(tmp_path / "scratch" / "fold_0" / "model")
    assert (model.config.classes, model.config.tumors) == (("lung", "cancer"), ("cancer",))
    assert model.config.trained_on == "2 cases of Dataset007_Lung (fold_0, 2 left out)"
    assert "license:" in model.card
    assert str(tmp_path) not in model.card
    assert load_tumor_network(model).config == model.config


def test_the_model_of_all_cases_segments_a_ct_by_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments(data, tmp_path / "run", "--init", "scratch", "--folds", "all")) == 0
    assert "none left out to measure" in capsys.readouterr().out
    ct, model = data / "imagesTr" / "lung_0_0000.nii.gz", tmp_path / "run" / "scratch" / "all" / "model"
    assert ctglip(["segment-tumor", str(ct), "--model", str(model), "--out", str(tmp_path / "found")]) == 0
    assert any((tmp_path / "found").iterdir())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--init", "scratch", "--folds", "9"], "Expected 2 to 4 folds"),
        (["--init", "scratch", "--folds", "five"], "--folds must be a number, official or all"),
        (["--init", "scratch", "--folds", "2", "--only-folds", "2"], "--only-folds must be numbers from 0 to 1"),
        (["--init", "scratch", "--folds", "official"], "no test or validation cases"),
        (["--init", "scratch", "--leave-out", "lung_77"], "it has no lung_77"),
        (["--init", "ct-glip"], "Expected an initialisation such as scratch"),
        (["--init", "scratch", "--tumors", "liver"], "Expected tumours among the classes lung, cancer"),
        (["--init", "../x=run:folder"], "An initialisation's name is a folder of --out"),
        (["--init", "cache=model:folder"], "An initialisation's name is a folder of --out"),
        (["--init", "scratch", "--device", "toaster"], "Expected a device of this machine"),
    ],
)
def test_what_cannot_be_trained_ends_with_one_line_and_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(_arguments(data, tmp_path / "out", *more)) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_tumour_that_no_case_to_learn_from_has_is_told_of_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "finetune.toml").write_text(CONFIG)
    healthy = write_tumor_set(tmp_path / "Dataset008_None", ["lung_3", "other_3"])
    arguments = _arguments(healthy, tmp_path / "out", "--init", "scratch", "--folds", "2")
    assert main(arguments) == 1
    assert "Expected voxels of cancer at 5 mm in the cases to learn from" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cache"]


def test_fewer_than_no_workers_are_wrong_usage(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(_arguments(data, tmp_path / "out", "--init", "scratch", "--workers", "-1"))
    assert stopped.value.code == 2
