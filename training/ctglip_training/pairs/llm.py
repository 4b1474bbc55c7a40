"""The engine that asks a language model.

Every answer is kept on disk; what is asked again is charged once. An answer that does not hold is sent back with its
fault, twice at most; a report that then still has none fails alone. Guarded by training/tests/test_pairs_llm.py.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ctglip_training.pairs.answer_cache import AnswerCache
from ctglip_training.pairs.chat import ChatClient, ChatReply, EndpointError, Message
from ctglip_training.pairs.engine import OrganSentence, ReportError
from ctglip_training.pairs.prompt import VERSION, AnswerError, question, read_answer, repair

REPAIRS = 2


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in the currency of your choice, and what a run may cost.

    Attributes:
        prompt: tokens sent.
        completion: tokens answered.
        limit: of the run; None for no limit.
    """

    prompt: float = 0.0
    completion: float = 0.0
    limit: float | None = None


@dataclass
class Usage:
    """What a run used so far; answers from the cache cost nothing."""

    asked: int = 0
    from_cache: int = 0
    repairs: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def cost(self, prices: Prices) -> float:
        """In the prices' currency."""
        return (self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion) / 1e6


class LanguageModelEngine:
    """Splits a report by asking a language model; safe to use from several threads."""

    def __init__(self, client: ChatClient, cache: AnswerCache, prices: Prices | None = None) -> None:
        self.usage = Usage()
        self.prices = prices or Prices()
        self._client = client
        self._cache = cache
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model and the prompt's version."""
        return f"{self._client.config.model}/prompt-{VERSION}"

    def __call__(self, report: str) -> list[OrganSentence]:
        """The report's sentences by organ.

        Raises:
            ReportError: if the model gives no valid answer.
            EndpointError: if the endpoint does not work, or the run's limit of cost is reached.
        """
        messages = question(report)
        problem = ""
        for attempt in range(REPAIRS + 1):
            reply = self._answer(messages)
            try:
                return read_answer(reply.text, report)
            except AnswerError as error:
                problem = str(error)
            if attempt < REPAIRS:
                with self._lock:
                    self.usage.repairs += 1
                messages += repair(reply.text, problem)
        msg = f"The model gave {REPAIRS + 1} answers that do not hold; the last: {problem} Try a stronger model."
        raise ReportError(msg)

    def _answer(self, messages: Sequence[Message]) -> ChatReply:
        kept = self._cache.get(messages)
        if kept is not None:
            with self._lock:
                self.usage.from_cache += 1
            return kept
        self._require_budget()
        reply = self._client(messages)
        with self._lock:
            self.usage.asked += 1
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
        self._cache.put(messages, reply)
        return reply

    def _require_budget(self) -> None:
        with self._lock:
            spent = self.usage.cost(self.prices)
        if self.prices.limit is not None and spent >= self.prices.limit:
            msg = (
                f"The run has cost {spent:.2f} of at most {self.prices.limit:.2f} and stops. What was read is kept: "
                "raise --max-cost and start the same command again."
            )
            raise EndpointError(msg)
