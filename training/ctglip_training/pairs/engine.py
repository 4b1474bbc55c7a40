"""What every engine that reads a report gives back: its sentences by organ, with finding, side and certainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from CTGLIPLib.errors import CTGLIPError

FindingSide = Literal["left", "right", "both"]


@dataclass(frozen=True)
class OrganSentence:
    """What one sentence of a report says of one organ.

    Attributes:
        group: what is spoken of, "lung"; also of regions without a mask, "lymph node".
        organs: vocabulary names of its organs, narrowed to the side or lobe that is named; empty where there are none.
        sentence: the report's sentence.
        normal: whether it says that nothing is wrong there.
        finding: id of the catalogue's finding; None where the catalogue has none. Of a normal sentence: what it denies.
        uncertain: whether the finding is only suspected.
        side: of the finding; None where the sentence names none.
    """

    group: str
    organs: tuple[str, ...]
    sentence: str
    normal: bool
    finding: str | None = None
    uncertain: bool = False
    side: FindingSide | None = None


class PairEngine(Protocol):
    """Reads a report."""

    @property
    def name(self) -> str:
        """What goes into the table's provenance: kind and version."""
        ...

    def __call__(self, report: str) -> list[OrganSentence]:
        """The report's sentences by organ, in the report's order; a sentence may come several times."""
        ...


class ReportError(CTGLIPError):
    """A report that an engine could not read; the others still can be."""
