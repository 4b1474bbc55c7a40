"""The ablation ladder of Table 1 as a TOML file: one base, and what each row changes in it.

Source: Lin et al. 2024, arXiv:2404.15272v4, Table 1. Guard: test_ladder.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ctglip_training.config import TrainConfig, read_toml
from CTGLIPLib.config import from_dict
from CTGLIPLib.errors import ConfigError

Values = Mapping[str, object]
HEAD, ROW = "head", "row"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the command line and of its folder.
        title: of the table.
        paper: the published row that it belongs beside, without its encoder; "" for none.
        contrast: its stage 2.
        head: its last stage, which starts from stage 2; None where the file gives that no steps.
    """

    name: str
    title: str
    paper: str
    contrast: TrainConfig
    head: TrainConfig | None


@dataclass(frozen=True)
class Ladder:
    """All rows, and the stage 1 that they share."""

    stage1: TrainConfig
    rows: tuple[Row, ...]

    def chosen(self, names: Sequence[str] | None) -> tuple[Row, ...]:
        """The rows of these names in the table's order; all of them for None.

        Raises:
            ConfigError: if there is no such row.
        """
        known = [row.name for row in self.rows]
        unknown = sorted(set(names or ()) - set(known))
        if unknown:
            msg = f"The ladder has no row {', '.join(unknown)}; it has {', '.join(known)}."
            raise ConfigError(msg)
        return tuple(row for row in self.rows if names is None or row.name in names)


def read_ladder(path: Path) -> Ladder:
    """The ladder of a TOML file: a training run with a [head] table and [[row]] tables beside its own.

    A row's last stage is the base, changed by the row, by [head] and by the row's own head, in this order.

    Raises:
        ConfigError: if the file is missing, no TOML, has no rows, rows of one name, or unknown keys or values.
    """
    values = read_toml(path, "a ladder", "ladder.toml")
    rows, head = values.pop(ROW, []), values.pop(HEAD, {})
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        msg = f"Expected [[row]] tables in {path}, got none. See training/configs/ladder.toml."
        raise ConfigError(msg)
    base = from_dict(TrainConfig, values, where=path.name)
    stage1 = replace(
        base, name=f"{base.name}-stage1", optim=replace(base.optim, contrast_steps=0, head_steps=0),
    )  # fmt: skip
    made = tuple(_row(values, row, head, f"{path.name}, row {number}") for number, row in enumerate(rows, start=1))
    names = [row.name for row in made]
    if len(set(names)) < len(names):
        msg = f"Expected rows of different names in {path}, got {', '.join(names)}. Rename one."
        raise ConfigError(msg)
    return Ladder(stage1, made)


def with_pool(ladder: Ladder, pool: str | None) -> Ladder:
    """The ladder on the patients of another pool; None leaves it as it is."""

    def moved(config: TrainConfig) -> TrainConfig:
        return replace(config, data=replace(config.data, pool=pool or config.data.pool))

    rows = (replace(r, contrast=moved(r.contrast), head=moved(r.head) if r.head else None) for r in ladder.rows)
    return Ladder(moved(ladder.stage1), tuple(rows))


def _row(base: Values, row: Values, head: Values, where: str) -> Row:
    changes = {key: value for key, value in row.items() if key not in ("name", "title", "paper", HEAD)}
    name = row.get("name")
    if not isinstance(name, str) or not name or Path(name).name != name:
        msg = f'Expected a name that can be a folder\'s in {where}, got {name!r}. Give it name = "...".'
        raise ConfigError(msg)
    own = merged(base, changes)
    contrast = _stage(own, name, where, head=False)
    last = _stage(merged(merged(own, head), row.get(HEAD, {})), name, where, head=True)
    return Row(
        name, str(row.get("title", name)), str(row.get("paper", "")), contrast, last if last.optim.head_steps else None
    )


def _stage(values: Values, row: str, where: str, *, head: bool) -> TrainConfig:
    """The stage's run: its own steps alone."""
    config = from_dict(TrainConfig, values, where=where)
    optim = replace(config.optim, segmentation_steps=0)
    optim = replace(optim, contrast_steps=0) if head else replace(optim, head_steps=0)
    return replace(config, name=f"{config.name}-{row}", optim=optim)


def merged(values: object, changes: object) -> dict[str, object]:
    """`values` with `changes`, tables within tables one by one.

    Raises:
        ConfigError: if either is no table.
    """
    if not isinstance(values, Mapping) or not isinstance(changes, Mapping):
        msg = f"Expected a table of named values in the ladder, got {changes!r}."
        raise ConfigError(msg)
    result = dict(values)
    for key, value in changes.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
