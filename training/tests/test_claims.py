"""Claims and shards: of all that could do a piece of work, one does."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from ctglip_training.data import claims
from ctglip_training.data.claims import ClaimFolder, Shard
from CTGLIPLib.errors import ConfigError, OutputError


def test_one_of_many_threads_gets_a_claim_and_leaves_no_file(tmp_path):
    folder, got, start = ClaimFolder(tmp_path / "claims"), [], threading.Barrier(8)

    def contend() -> None:
        start.wait()
        with folder.claim("s1") as ours:
            got.append(ours)
            if ours:
                time.sleep(0.2)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]
    assert list(folder.folder.iterdir()) == []


def test_a_claim_that_nobody_renews_is_taken_over_by_one_only(tmp_path):
    folder = ClaimFolder(tmp_path)
    old = tmp_path / "s1.0.claim"
    old.write_text("another-machine 17 abc")
    with folder.claim("s1") as ours:
        assert not ours
    os.utime(old, (time.time() - 700, time.time() - 700))
    with folder.claim("s1") as first, folder.claim("s1") as second:
        assert (first, second) == (True, False)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["s1.0.claim", "s1.1.claim"]
    assert list(tmp_path.iterdir()) == []


def test_a_claim_is_renewed_while_its_work_lasts(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RENEWED_EVERY_S", 0.01)
    with ClaimFolder(tmp_path).claim("s1"):
        os.utime(tmp_path / "s1.0.claim", (0, 0))
        time.sleep(0.2)
        assert (tmp_path / "s1.0.claim").stat().st_mtime > time.time() - 60


@pytest.mark.parametrize(
    ("pid", "process", "taken_over"),
    [(4_194_303, "abc", True), (os.getpid(), "abc", True), (os.getpid(), claims.THIS_PROCESS, False), (1, "a", False)],
)
def test_a_claim_of_a_process_that_is_gone_from_this_machine_counts_no_more(tmp_path, pid, process, taken_over):
    (tmp_path / "s1.0.claim").write_text(f"{socket.gethostname()} {pid} {process}")
    with ClaimFolder(tmp_path).claim("s1") as ours:
        assert ours is taken_over


def test_a_claim_ends_when_its_work_fails(tmp_path):
    folder = ClaimFolder(tmp_path)
    with pytest.raises(ValueError, match="broken"), folder.claim("s1"):
        raise ValueError("broken")
    with folder.claim("s1") as ours:
        assert ours


def test_claims_in_a_place_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Could not write"), ClaimFolder(tmp_path / "file" / "claims").claim("s1"):
        pass


def test_each_study_is_in_one_shard_and_shards_are_of_like_size():
    names = [f"train_{number}_a_1" for number in range(800)]
    shards = [Shard(number, 8) for number in range(1, 9)]
    assert all(sum(shard.holds(name) for shard in shards) == 1 for name in names)
    assert all(60 < sum(map(shard.holds, names)) < 140 for shard in shards)


@pytest.mark.parametrize("shard", [(0, 8), (9, 8), (1, 0)])
def test_a_shard_outside_the_whole_is_refused(shard):
    with pytest.raises(ConfigError, match="such as 2/8"):
        Shard(*shard)
