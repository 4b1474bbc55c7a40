"""What is said of a patient's organs: by a real report, or by the simulator, which knows all that there is."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING_FOUND = "No evident abnormality in the CT scan."
"""The report of a patient in whom nothing was found."""


@dataclass(frozen=True)
class Statement:
    """One sentence about one organ.

    Attributes:
        organ: name of the organ in the patient's segmentation.
        sentence: the report's words.
        normal: whether it says that nothing is wrong there.
        finding: id in the abnormality catalogue; None where the catalogue has none. Of a normal sentence: what it
            denies.
        uncertain: whether the finding is only suspected.
    """

    organ: str
    sentence: str
    normal: bool = False
    finding: str | None = None
    uncertain: bool = False


@dataclass(frozen=True)
class StudyText:
    """All that is said of one study.

    Attributes:
        statements: in the report's order.
        report: the whole report; None where the study has none, so that nothing is known of its organs.
        exhaustive: whether organs of which nothing is said are known to be normal in every way, as the simulator's.
    """

    statements: tuple[Statement, ...] = ()
    report: str | None = None
    exhaustive: bool = False

    @property
    def abnormal_organs(self) -> tuple[str, ...]:
        """Organs with a finding that is certain, one for each such statement."""
        return tuple(said.organ for said in self.statements if not said.normal and not said.uncertain)
