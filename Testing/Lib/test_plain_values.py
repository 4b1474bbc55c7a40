"""Values of declared types from JSON values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from CTGLIPLib.errors import InputError
from CTGLIPLib.plain_values import read_object, read_value


@dataclass(frozen=True)
class Inner:
    number: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    path: Path
    inner: Inner
    inners: tuple[Inner, ...] = ()
    pair: tuple[str, float] = ("a", 1.0)
    choice: Literal["left", "right"] = "left"
    maybe: Path | None = None
    on: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            msg = "a name has letters"
            raise ValueError(msg)


FULL = {
    "name": "x",
    "path": "/a/b",
    "inner": {"number": 1},
    "inners": [{"number": 2, "share": 1}],
    "pair": ["b", 2],
    "choice": "right",
    "maybe": None,
    "on": True,
}


def test_every_kind_of_value_is_read():
    expected = Outer("x", Path("/a/b"), Inner(1), (Inner(2, 1.0),), ("b", 2.0), "right", None, True)
    assert read_object(Outer, FULL, "it") == expected
    least = {"name": "x", "path": "~/c", "inner": {"number": 1}}
    assert read_object(Outer, least, "it").path == Path.home() / "c"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "it.name must be text, got 1"),
        ({"name": None}, "it.name must be text, got None"),
        ({"path": 3}, "it.path must be a path as text, got 3"),
        ({"name": "\ud800"}, "it.name must be text of whole characters, got '.ud800'"),
        ({"path": "a\0b"}, "it.path must be a path that a file system can hold"),
        ({"path": "\ud800"}, "it.path must be a path that a file system can hold"),
        ({"path": "~nobody_of_this_name/a"}, "it.path must be a path whose ~ is the folder of a user"),
        ({"inner": []}, r"it.inner must be an object with named values, got \[\]"),
        ({"inner": {"number": True}}, "it.inner.number must be a whole number, got True"),
        ({"inner": {"number": 1.0}}, "it.inner.number must be a whole number, got 1.0"),
        ({"inner": {"number": 1, "share": float("inf")}}, "share must be a finite number, got inf"),
        ({"inners": "ab"}, "it.inners must be a list, got 'ab'"),
        ({"inners": [{}]}, r"it.inners\[0\] must have the keys number, share \(optional\); got number missing"),
        ({"pair": ["a"]}, "it.pair must be a list of 2"),
        ({"choice": "up"}, "it.choice must be one of left, right, got 'up'"),
        ({"choice": ["left"]}, "it.choice must be one of left, right"),
        ({"maybe": 0}, "it.maybe must be a path as text, got 0"),
        ({"on": 1}, "it.on must be true or false, got 1"),
        ({"colour": 1, "size": 2}, "got colour, size unknown. Send exactly these"),
        ({"name": ""}, "it cannot be used: a name has letters"),
        ({"name": ["y" * 300]}, r"got \['y{78}\.\.\.\."),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(change, message):
    with pytest.raises(InputError, match=message):
        read_object(Outer, FULL | change, "it")


def test_unknown_keys_may_be_passed_over_at_every_depth():
    newer = FULL | {"new": 1, "inner": {"number": 1, "new": 2}, "inners": [{"number": 2, "share": 1, "new": 3}]}
    assert read_object(Outer, newer, "it", ignore_unknown=True) == read_object(Outer, FULL, "it")
    with pytest.raises(InputError, match="it.inner must have"):
        read_value(Outer, newer | {"new": 0, "inner": {}}, "it", ignore_unknown=True)
