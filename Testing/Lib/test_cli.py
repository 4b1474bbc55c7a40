"""The command `ctglip`: help, results on standard output, notes on standard error, exit codes."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from patient import make_model

import CTGLIPLib
from CTGLIPLib.cli import main, parser
from CTGLIPLib.sample_data import SampleCase

SCHEMA = json.loads((Path(CTGLIPLib.__file__).parent / "data" / "findings.schema.json").read_text())
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def ct(patient: Path, tiny_model: Path) -> list[str]:
    """Arguments that give the patient and the model."""
    return [str(patient / "ct.nii.gz"), "-s", str(patient / "organs.nii.gz"), "--model", str(tiny_model)]


@pytest.fixture
def study_file(ct, tmp_path, capsys) -> Path:
    assert main(["encode", *ct, "-o", str(tmp_path / "scan.ctglip")]) == 0
    assert "Encoded 8 organs" in capsys.readouterr().err
    return tmp_path / "scan.ctglip"


def actions(command: argparse.ArgumentParser, name: str = "ctglip"):
    """Every command's name and options, from the parser itself."""
    yield name, [option for action in command._actions for option in action.option_strings]
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for key, sub in action.choices.items():
                yield from actions(sub, f"{name} {key}")


def test_help_exits_0_and_names_every_command_and_option(capsys):
    commands = dict(actions(parser()))
    assert {"ctglip query", "ctglip organs", "ctglip encode", "ctglip demo", "ctglip model add"} <= set(commands)
    for command, options in commands.items():
        with pytest.raises(SystemExit) as left:
            main([*command.split()[1:], "--help"])
        shown = capsys.readouterr().out
        assert left.value.code == 0
        assert not [option for option in options if option not in shown], command
        for sub in (name.removeprefix(f"{command} ") for name in commands if name.startswith(f"{command} ")):
            assert sub.split()[0] in shown
    assert {"--text", "--segmentation", "--names", "--out", "--json", "--device"} <= set(commands["ctglip query"])


def test_help_says_what_it_is_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "not a medical device" in shown
    assert "exit codes: 0 answered, 1" in shown


@pytest.mark.parametrize(
    "arguments", [[], ["query"], ["query", "ct.nii.gz"], ["paint"], ["query", "ct", "-q", "a", "--x"]]
)
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: ctglip" in capsys.readouterr().err


def test_the_module_and_the_version(capsys):
    done = subprocess.run(
        [sys.executable, "-m", "CTGLIPLib", "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"ctglip {CTGLIPLib.__version__}\n")


def test_a_query_prints_its_table_and_writes_its_files(ct, tmp_path, capsys):
    assert main(["query", *ct, "-q", "fatty liver", "-q", "left kidney", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert '1. "fatty liver":' in printed.out
    assert "Research software, not a medical device." in printed.out
    assert "Note: Not in the organ vocabulary" in printed.err
    assert "Wrote 4 files" in printed.err
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(findings)
    assert (tmp_path / "out" / "02_left_kidney.png").is_file()
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").read_text().splitlines()))
    assert [row["question"] for row in rows] == ["fatty liver", "left kidney"]


def test_json_is_alone_on_standard_output(ct, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["query", *ct, "-q", "fatty liver", "--json", "-o", str(tmp_path / "out"), "--heatmaps"]) == 0
    printed = capsys.readouterr()
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(printed.out))
    assert printed.out == (tmp_path / "out" / "findings.json").read_text()
    assert "encoding windows: 1 of" in printed.err


def test_a_study_file_answers_as_the_ct_does(ct, study_file, tmp_path, capsys):
    questions = ["-q", "fatty liver", "-q", "no cyst in the left kidney", "-q", "liver"]
    assert main(["query", *ct, *questions, "--json"]) == 0
    from_ct = capsys.readouterr().out
    assert main(["query", str(study_file), *questions, "--json", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert printed.out == from_ct
    assert "pictures need the CT" in printed.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["findings.csv", "findings.json"]


def test_organs_of_ct_and_study_file_are_recognised_alike(ct, study_file, tmp_path, capsys):
    assert main(["organs", *ct, "--json", "-o", str(tmp_path / "out")]) == 0
    from_ct = capsys.readouterr().out
    assert main(["organs", str(study_file), "--json"]) == 0
    assert capsys.readouterr().out == from_ct
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(from_ct))
    assert (tmp_path / "out" / "organs.json").read_text() == from_ct
    assert (tmp_path / "out" / "organs.csv").is_file()
    assert main(["organs", str(study_file)]) == 0
    assert "of 5 measured organs with a vocabulary name" in " ".join(capsys.readouterr().out.split())


def test_a_study_file_is_answered_for_its_own_model_and_refused_for_another(study_file, tiny_model, tmp_path, capsys):
    assert main(["query", str(study_file), "-q", "liver", "--model", str(tiny_model)]) == 0
    capsys.readouterr()
    other = make_model(tmp_path / "other", seed=5).folder
    assert main(["query", str(study_file), "-q", "liver", "--model", str(other)]) == 1
    printed = capsys.readouterr()
    assert "was encoded by model test" in printed.err
    assert "Encode the CT again" in printed.err
    assert printed.out == ""


def test_studies_are_kept_unless_told_not_to(ct, own_cache, capsys):
    assert main(["query", *ct, "-q", "liver", "--no-cache"]) == 0
    assert not (own_cache / "studies").exists()
    assert main(["query", *ct, "-q", "liver"]) == 0
    assert len(list((own_cache / "studies").iterdir())) == 1


def test_models_are_added_listed_and_shown(tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CTGLIP_MODELS", str(tmp_path / "models"))
    assert main(["model", "add", str(tiny_model), "--name", "mine"]) == 0
    assert "--model mine" in capsys.readouterr().err
    assert main(["model", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["model", "show", "mine"]) == 0
    assert "Random weights." in capsys.readouterr().out
    assert main(["model", "show", "yours"]) == 1
    assert "There is no model" in capsys.readouterr().err


def test_the_demo_answers_and_draws(patient, tiny_model, tmp_path, capsys, monkeypatch):
    sample = SampleCase(
        patient / "ct.nii.gz", patient / "organs.nii.gz", patient / "organs.json", "CC BY 4.0", "Nobody"
    )
    monkeypatch.setattr("CTGLIPLib.commands.DEMO_QUESTIONS", ("fatty liver", "pulmonary nodule", "left kidney"))
    monkeypatch.setattr("CTGLIPLib.sample_data.chest_sample", lambda progress=None: sample)
    assert main(["demo", "--model", str(tiny_model), "-o", str(tmp_path / "demo"), "--json"]) == 0
    printed = capsys.readouterr()
    assert [query["kind"] for query in json.loads(printed.out)["queries"]] == ["finding", "finding", "organ"]
    assert "Nobody (CC BY 4.0)" in printed.err
    assert list((tmp_path / "demo").glob("*.png"))
    assert list((tmp_path / "demo").glob("*_heatmap.nii.gz"))


def test_the_demo_fails_for_a_missing_model_before_anything_is_downloaded(tmp_path, capsys, monkeypatch):
    fetched = []
    monkeypatch.setattr("CTGLIPLib.sample_data.chest_sample", fetched.append)
    assert main(["demo", "--model", "yours", "-o", str(tmp_path / "demo")]) == 1
    assert "There is no model" in capsys.readouterr().err
    assert fetched == []


@pytest.mark.parametrize(
    "given",
    [
        ["-s", "organs.nii.gz"],
        ["--names", "names.json"],
        ["--label-map-version", "v2"],
        ["--series", "1"],
        ["--heatmaps"],
        ["--save-segmentation"],
    ],
)
def test_options_that_need_the_ct_are_refused_on_a_study_file(given, tmp_path, capsys):
    option = {"-s": "--segmentation"}.get(given[0], given[0])
    assert main(["query", str(tmp_path / "scan.ctglip"), "-q", "liver", *given]) == 1
    assert f"{option} needs the CT. Leave it out, or give the CT instead." in capsys.readouterr().err


@pytest.mark.parametrize("target", ["CTGLIPLib.study.np.savez_compressed", "CTGLIPLib.result_files.to_csv"])
def test_ctrl_c_exits_130_and_leaves_no_half_file(target, ct, tmp_path, capsys, monkeypatch):
    def interrupt(*arguments, **_options) -> None:
        if hasattr(arguments[0], "write"):
            arguments[0].write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(target, interrupt)
    assert main(["query", *ct, "-q", "fatty liver", "-o", str(tmp_path / "out")]) == 130
    printed = capsys.readouterr()
    assert "interrupted" in printed.err
    assert printed.out == ""
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [name for name in files if name.startswith(".") or "csv" in name]


def test_ctrl_c_while_encoding_writes_no_study_file(ct, tmp_path, monkeypatch, own_cache):
    def interrupt(*_arguments, **_options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("CTGLIPLib.encode.stream_features", interrupt)
    assert main(["encode", *ct, "-o", str(tmp_path / "scan.ctglip"), "--no-cache"]) == 130
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_answer(ct, own_cache, caplog):
    own_cache.write_text("a file where the cache should be")
    with caplog.at_level(logging.WARNING):
        assert main(["query", *ct, "-q", "fatty liver"]) == 0
    assert "The encoded study was not kept" in caplog.text


def test_a_closed_pipe_ends_quietly(study_file, capsys, monkeypatch):
    def closed(_text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", closed)
    assert main(["query", str(study_file), "-q", "liver"]) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(36, "File name too long", "/x"), "the system says: File name too long. Check that its path"),
        (MemoryError(), "Memory ran out. Close other programs"),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "The package scipy is missing"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Memory ran out."),
    ],
)
def test_what_the_system_refuses_is_one_line(error, words, monkeypatch, capsys):
    def refuse(_options: object) -> None:
        raise error

    monkeypatch.setattr("CTGLIPLib.commands.model_list", refuse)
    assert main(["model", "list"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ctglip: ")
    assert words in told
    assert told.count("\n") == 1
