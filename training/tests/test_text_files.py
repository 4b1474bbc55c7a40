"""Text embeddings are computed once, for this run and the next ones."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from training_phantom import CYST, NAMES, FakeEncoder, phantom, smoke_config

from ctglip_training.config import OptimConfig
from ctglip_training.distributed import Ranks
from ctglip_training.learn_texts import learn_texts
from ctglip_training.store import list_pool
from ctglip_training.text_files import EmbeddingFiles, text_key
from ctglip_training.texts import OrganTextSampler, TextTable, build_dictionary


class Encoder(FakeEncoder):
    """A fake encoder whose embeddings may be kept, and that counts what it is asked."""

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        super().__init__(8)
        self.fingerprint, self.asked = fingerprint, []

    def encode(self, texts):
        self.asked += texts
        return super().encode(texts)


def test_a_second_run_asks_the_encoder_for_nothing_that_a_first_one_asked(tmp_path):
    first, second, other = Encoder(), Encoder(), Encoder("e" * 64)
    rows = TextTable(first, tmp_path)(["a", "b", "a"])
    again = TextTable(second, tmp_path)
    assert np.array_equal(again(["b", "a"]).numpy(), rows[[1, 0]].numpy())
    assert (first.asked, second.asked) == (["a", "b"], [])
    again(["c"])
    TextTable(other, tmp_path)(["a"])
    assert (second.asked, other.asked) == (["c"], ["a"])
    assert not any(path.read_bytes() == b"a" for path in tmp_path.rglob("*") if path.is_file())


def test_texts_are_learnt_ahead_with_progress(tmp_path, monkeypatch):
    monkeypatch.setattr("ctglip_training.texts.LEARNT_AT_ONCE", 2)
    encoder, told = Encoder(), []
    table = TextTable(encoder, tmp_path)
    table.learn(["a", "b", "a", "c"], lambda *what: told.append(what))
    table(["c", "b"])
    assert encoder.asked == ["a", "b", "c"]
    assert told == [("embedding texts", 2, 3), ("embedding texts", 3, 3)]
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_an_encoder_without_fingerprint_keeps_nothing(tmp_path):
    TextTable(FakeEncoder(8), tmp_path / "texts")(["a"])
    assert not (tmp_path / "texts").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_broken_file_is_passed_over_with_a_warning(tmp_path, caplog, content):
    files = EmbeddingFiles(tmp_path, "f" * 64)
    files.add({text_key("a"): np.ones(8, np.float32)})
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with caplog.at_level(logging.WARNING):
        assert files.read() == {}
    assert "made again" in caplog.text


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    table = TextTable(Encoder(), tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        assert table(["a"]).shape == (1, 8)
    assert "were not kept" in caplog.text


def test_every_text_that_is_drawn_was_known_to_be_possible(rng):
    sampler = OrganTextSampler(build_dictionary((), 200, 0), 3)
    patient = phantom(0, (CYST,))
    possible = set(sampler.possible(patient, NAMES))
    for _ in range(50):
        texts = sampler(patient, NAMES, rng)
        every = {*texts.anatomy, *texts.diagnosis, *texts.extra, *(t for group in texts.own_negatives for t in group)}
        assert every <= possible
    assert list(sampler.possible(patient, NAMES, whole=True)) == [CYST.sentence]


def test_a_run_has_all_its_texts_before_its_first_step(pool, tmp_path):
    config = smoke_config(pool)
    sampler, entries, encoder = OrganTextSampler(build_dictionary((), 200, 0), 3), list_pool(pool), Encoder()
    table = TextTable(encoder, tmp_path)
    learn_texts(table, sampler, entries, replace(config, optim=OptimConfig(contrast_steps=0)))
    assert encoder.asked == []
    learn_texts(table, sampler, entries, config)
    known = set(encoder.asked)
    assert len(known) == len(encoder.asked) > 100
    for seed, entry in enumerate(entries):
        texts = sampler(entry.study, entry.study.names, np.random.default_rng(seed))
        assert {*texts.anatomy, *texts.diagnosis, *texts.extra} <= known


def test_processes_share_the_texts_and_read_what_the_others_have_made(pool, tmp_path):
    class Second(Ranks):
        def collect(self, value):
            TextTable(Encoder(), tmp_path).learn(every[0::2])
            return [value, value]

    config, entries = smoke_config(pool), list_pool(pool)
    sampler = OrganTextSampler((), 3)
    every = list(dict.fromkeys(t for e in entries for t in sampler.possible(e.study, e.study.names)))
    encoder = Encoder()
    table = TextTable(encoder, tmp_path)
    learn_texts(table, sampler, entries, config, Second(rank=1, count=2))
    assert encoder.asked == every[1::2]
    table(every)
    assert encoder.asked == every[1::2]
