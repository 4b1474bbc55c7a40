"""The command `ctglip-train`: help that reads like a manual, errors in one line with exit code 1, Ctrl-C with 130."""

from __future__ import annotations

import pytest
from training_phantom import CONFIGS, FakeEncoder

from ctglip_training import loop
from ctglip_training.cli import main
from CTGLIPLib import text_bank


@pytest.mark.parametrize("command", [[], ["simulate"], ["pretrain"], ["evaluate"], ["calibrate"], ["text-bank"]])
def test_help_explains_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ctglip-train")
    assert "--preview" in shown or command != ["simulate"]
    assert "resumes" in shown or command not in ([], ["pretrain"]) or command == ["pretrain"]


def test_wrong_usage_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["pretrain"])
    assert stop.value.code == 2
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["evaluate", "--run", "r"], ["calibrate", "--runs", "r", "--model", "m"]])
@pytest.mark.parametrize("count", ["0", "-3", "few"])
def test_fewer_patients_than_one_are_wrong_usage(command, count, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, f"--patients={count}"])
    assert stop.value.code == 2
    assert f"expected a whole number of 1 or more, got '{count}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--config", "none.toml", "--out", "o"], "Expected a TOML file"),
        (["evaluate", "--run", "none", "--data", "."], "Expected a training run"),
        (["simulate", "--subjects", "none.toml", "--out", "o", "--data", "/"], "Expected [[subject]]"),
    ],
)
def test_an_error_is_one_line_with_exit_code_1_and_nothing_is_written(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if "evaluate" in arguments:
        arguments = [*arguments, "--subjects", str(CONFIGS / "subjects.toml")]
    assert main(arguments) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_the_reason_takes_the_place_of_the_line_that_counts(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["check", str(tmp_path / "gone.csv")]) == 1
    assert capsys.readouterr().err.startswith("\r\x1b[Kctglip-train: ")


def test_pretrain_trains_resumes_after_ctrl_c_and_exports(pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(text_bank, "open_text_encoder", lambda *_args, **_kwargs: FakeEncoder())
    short = tmp_path / "short.toml"
    text = (CONFIGS / "smoke.toml").read_text().replace("save_every = 2", "save_every = 1")
    for key, steps in (("segmentation_steps = 3", 1), ("contrast_steps = 3", 1), ("head_steps = 4", 0)):
        text = text.replace(key, f"{key.split()[0]} = {steps}")
    short.write_text(text)
    arguments = ["pretrain", "--config", str(short), "--pool", str(pool), "--hold-out", "beta"]
    arguments += ["--out", str(tmp_path / "run")]
    whole = loop._Run.step

    def interrupted(self, step, lr):
        if step == 1:
            raise KeyboardInterrupt
        return whole(self, step, lr)

    with monkeypatch.context() as patched:
        patched.setattr(loop._Run, "step", interrupted)
        assert main(arguments) == 130
    assert "start the same command again" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model").exists()
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"trained: {tmp_path / 'run' / 'model'}\n"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
