"""The ladder: what its rows change, that they share stage 1, resume and are never asked what they saw; its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_phantom import CONFIGS, FakeEncoder, write_pool

from ctglip_training import hold_out, ladder_runs, loop
from ctglip_training.cli import main
from ctglip_training.evaluate import FindingCase, OrganCase
from ctglip_training.evaluation.zero_shot import Answers
from ctglip_training.ladder import read_ladder
from ctglip_training.ladder_table import make_table, table_markdown
from ctglip_training.state import CHECKPOINT, read_run_config
from CTGLIPLib import text_bank
from CTGLIPLib.errors import ConfigError

ROWS = ["vanilla", "diagnosis", "anatomy+diagnosis", "full", "ours"]
SMOKE = """
[head]
optim = { lr = 4e-3 }

[[row]]
name = "vanilla"
title = "vanilla CLIP"
paper = "vanilla CLIP"
method = "vanilla-clip"

[[row]]
name = "full"
title = "CT-GLIP"
paper = "+ACL +DCL +A-Dict"
loss = { dictionary_texts = 2 }
"""


@pytest.fixture(scope="module")
def small_pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("ladder-pool"), 2)


@pytest.fixture(scope="module")
def smoke_ladder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ladder") / "ladder.toml"
    text = (CONFIGS / "smoke.toml").read_text().replace("own_negatives = 0.5", "own_negatives = 0.0")
    for key in ("segmentation_steps = 3", "contrast_steps = 3", "head_steps = 4"):
        text = text.replace(key, f"{key.split()[0]} = 1")
    path.write_text(text.replace("save_every = 2", "save_every = 2\npicture_every = 0") + SMOKE)
    return path


@pytest.fixture(scope="module")
def trained(smoke_ladder, small_pool, tmp_path_factory):
    """The folder of a ladder of two rows and two folds, and what the command printed."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_bank, "open_text_encoder", lambda *_a, **_k: FakeEncoder())
        patch.setattr(hold_out, "open_text_encoder", lambda *_a, **_k: FakeEncoder())
        arguments = ["ladder", "--config", str(smoke_ladder), "--pool", str(small_pool), "--out", str(out)]
        assert main([*arguments, "--hold-out", "alpha", "beta", "--patients", "2"]) == 0
    return out


@pytest.fixture(autouse=True)
def _fake_encoder(monkeypatch):
    for module in (text_bank, hold_out):
        monkeypatch.setattr(module, "open_text_encoder", lambda *_args, **_named: FakeEncoder())


def test_the_shipped_ladder_changes_the_contrast_alone_and_one_thing_a_row():
    ladder = read_ladder(CONFIGS / "ladder.toml")
    assert [row.name for row in ladder.rows] == ROWS
    vanilla, diagnosis, both, full, ours = (row.contrast for row in ladder.rows)
    assert (vanilla.method, diagnosis.method) == ("vanilla-clip", "ct-glip")
    assert (diagnosis.loss.anatomy, diagnosis.loss.dictionary_texts, diagnosis.loss.own_negatives) == (0.0, 0, 0.0)
    assert replace(both.loss, anatomy=0.0) == diagnosis.loss
    assert replace(full.loss, dictionary_texts=0) == both.loss
    assert replace(ours.loss, own_negatives=0.0) == full.loss
    same = {
        (row.contrast.model, row.contrast.optim, row.contrast.data, row.head.optim, row.head.model)
        for row in ladder.rows
        if row.head
    }
    assert len(same) == 1


def test_the_stages_have_their_own_steps_alone():
    ladder = read_ladder(CONFIGS / "ladder.toml")
    steps = [(c.segmentation_steps, c.contrast_steps, c.head_steps) for c in (
        ladder.stage1.optim, ladder.rows[3].contrast.optim, ladder.rows[3].head.optim)]  # fmt: skip
    assert steps == [(2000, 0, 0), (0, 400, 0), (0, 0, 1200)]
    assert ladder.rows[4].head.loss.own_negatives == 3.0
    assert (ladder.rows[3].head.optim.lr, ladder.rows[3].contrast.optim.lr) == (4e-3, 2e-3)


def test_every_fold_holds_its_subject_out_in_all_its_runs_and_shares_one_stage_1(trained):
    for fold in ("alpha", "beta"):
        for name in ("stage1", "vanilla-contrast", "vanilla", "full-contrast", "full"):
            assert read_run_config(trained / fold / name).data.hold_out == (fold,)
        for row in ("vanilla", "full"):
            assert read_run_config(trained / fold / f"{row}-contrast").init_from == f"run:{trained / fold / 'stage1'}"
            assert read_run_config(trained / fold / row).init_from == f"run:{trained / fold / row}-contrast"


def test_the_table_is_written_with_both_folds_patients_and_the_papers_rows(trained):
    words = (trained / "table1.md").read_text(encoding="utf-8")
    assert words.startswith("# Table 1: 4 held-out patients (2 of alpha, 2 of beta)")
    assert "| CT-GLIP - vanilla CLIP |" in words
    assert "Thresholds of best F1 on the other held-out subjects" in words
    assert "| CT-GLIP: nnUNet +ACL +DCL +A-Dict | 86.24 | 39.24 | 72.85 | 49.02 | 68.63 |" in words
    assert "the table says 49.02" in words
    assert "nan" not in words
    rows = json.loads((trained / "table1.json").read_text(encoding="utf-8"))["rows"]
    assert [row["title"] for row in rows] == ["vanilla CLIP", "CT-GLIP"]
    first, second = (row["equal"]["auc"]["value"] for row in rows)
    assert rows[1]["difference"]["auc"]["value"] == pytest.approx(second - first)


def test_a_ladder_that_is_done_trains_nothing_and_encodes_nothing_again(
    trained, smoke_ladder, small_pool, monkeypatch, capsys
):
    def refuse(*_args, **_named):
        raise AssertionError("what is done must be kept")

    monkeypatch.setattr(ladder_runs, "train", refuse)
    monkeypatch.setattr("ctglip_training.evaluate.encode_organs", refuse)
    arguments = ["ladder", "--config", str(smoke_ladder), "--pool", str(small_pool), "--out", str(trained)]
    assert main([*arguments, "--hold-out", "alpha", "beta", "--patients", "2"]) == 0
    assert capsys.readouterr().out == (trained / "table1.md").read_text(encoding="utf-8")


def test_a_stopped_ladder_goes_on_where_it_was(smoke_ladder, small_pool, tmp_path, monkeypatch, capsys):
    whole = loop._Run.step
    steps = []

    def interrupted(self, step, lr):
        steps.append(self.config.name)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return whole(self, step, lr)

    monkeypatch.setattr(loop._Run, "step", interrupted)
    arguments = ["ladder", "--config", str(smoke_ladder), "--pool", str(small_pool), "--out", str(tmp_path)]
    arguments += ["--hold-out", "beta", "--rows", "full", "--patients", "2"]
    assert main(arguments) == 130
    assert main(arguments) == 0
    assert steps == ["smoke-stage1", "smoke-full", "smoke-full", "smoke-full"]


def test_runs_that_exist_are_tabled_without_training(trained, tmp_path, capsys):
    runs = [f"{row}={trained / fold / row}" for row in ("vanilla", "full") for fold in ("alpha", "beta")]
    arguments = ["ladder", "--config", str(CONFIGS / "ladder.toml"), "--out", str(tmp_path), "--patients", "2"]
    assert main([*arguments, "--runs", *runs]) == 0
    assert "+ dictionary (CT-GLIP)" in capsys.readouterr().out
    ours, given = (json.loads((folder / "table1.json").read_text()) for folder in (trained, tmp_path))
    assert [row["equal"] for row in ours["rows"]] == [row["equal"] for row in given["rows"]]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["full"], "Expected ROW=DIR after --runs, got 'full'"),
        (["full={0}/alpha/full", "full={0}/alpha/full"], "Two runs of the row full held out alpha"),
        (["vanilla={0}/alpha/vanilla", "full={0}/beta/full"], "rows vanilla and full held out different subjects"),
        (["full={0}/none"], "Expected a training run with checkpoint.pt"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(trained, tmp_path, capsys, runs, message):
    given = [run.format(trained) for run in runs]
    arguments = ["ladder", "--config", str(CONFIGS / "ladder.toml"), "--out", str(tmp_path), "--patients", "1"]
    assert main([*arguments, "--runs", *given]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_held_nothing_out_is_refused(trained, tmp_path, capsys):
    state = torch.load(trained / "alpha" / "full" / CHECKPOINT, weights_only=True)
    state["config"]["data"]["hold_out"] = []
    torch.save(state, tmp_path / CHECKPOINT)
    arguments = ["ladder", "--config", str(CONFIGS / "ladder.toml"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--runs", f"full={tmp_path}"]) == 1
    assert "held no subject out" in capsys.readouterr().err


def test_a_stage_1_that_saw_the_fold_is_refused(trained, smoke_ladder, small_pool, tmp_path, capsys):
    arguments = ["ladder", "--config", str(smoke_ladder), "--pool", str(small_pool), "--out", str(tmp_path)]
    assert main([*arguments, "--hold-out", "beta", "--stage1", str(trained / "alpha" / "stage1")]) == 1
    assert "was trained on beta, which this fold holds out" in capsys.readouterr().err
    assert main([*arguments, "--hold-out", "alpha", "beta", "--stage1", str(trained / "alpha" / "stage1")]) == 1
    assert "Expected a stage 1 for each of the 2 folds, got 1" in capsys.readouterr().err
    assert main(arguments) == 1
    assert "nothing would test the rows" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Expected a TOML file with a ladder"),
        ('name = "x"', "none. See training/configs/ladder.toml"),
        ("[[row]]\ntitle = 'x'", "Expected a name that can be a folder's in .*, row 1, got None"),
        ("[[row]]\nname = '../x'", "Expected a name that can be a folder's"),
        ("[[row]]\nname = 'x'\n[[row]]\nname = 'x'", "rows of different names"),
        ("[[row]]\nname = 'x'\nloss = { speed = 1 }", "Unknown keys in .*row 1.loss: speed"),
        ("[[row]]\nname = 'x'\nhead = 3", "Expected a table of named values in the ladder, got 3"),
        ("[head]\nsteps = 3\n[[row]]\nname = 'x'", "Unknown keys in .*row 1: steps"),
    ],
)
def test_a_wrong_ladder_is_refused(tmp_path, text, message):
    (tmp_path / "ladder.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_ladder(tmp_path / "ladder.toml")


def test_an_unknown_row_is_named():
    with pytest.raises(ConfigError, match="no row best; it has vanilla, diagnosis"):
        read_ladder(CONFIGS / "ladder.toml").chosen(["best", "ours"])
    assert [row.name for row in read_ladder(CONFIGS / "ladder.toml").chosen(["ours", "vanilla"])] == ["vanilla", "ours"]


def test_the_printed_figures_are_the_hand_computed_ones():
    organs = tuple(OrganCase(n, "liver", ("liver" if n else "spleen", "aorta")) for n in range(4))
    margins = ((0.3, True), (-0.1, True), (0.2, False), (-0.4, False))
    before = Answers(organs, tuple(FindingCase(n, "x", "liver", m, t) for n, (m, t) in enumerate(margins)))
    after = Answers(
        organs, tuple(FindingCase(n, "x", "liver", 1.0 if t else -1.0, t) for n, (_, t) in enumerate(margins))
    )
    table = make_table({"a": {"s": before}, "b": {"s": after}}, {"a": ("first", ""), "b": ("second", "")}, repeats=0)
    words = table_markdown(table)
    assert "| first | 75.0 | 50.0 | 50.0 | 50.0 | 75.0 |" in words
    assert "| second | 75.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in words
    assert "| second - first | +0.0 | +50.0 | +50.0 | +50.0 | +25.0 |" in words
    assert "The paper's" not in words
    assert not table.rows[0].separate
    assert np.isclose(table.rows[0].values["auc"][0], 0.75)
