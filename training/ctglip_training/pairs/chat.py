"""A client of the chat protocol that OpenAI, most other providers and local servers (vLLM, llama.cpp, Ollama) speak.

It waits and asks again after a rate limit (429), an error of the server (5xx), a lost connection or a timeout; any
other refusal stops at once. Reports and keys are never logged. Guarded by training/tests/test_pairs_chat.py.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from CTGLIPLib.errors import ConfigError, InputError

Message = Mapping[str, str]
LONGEST_WAIT_S = 60.0
_LONGEST_ANSWER = 1 << 24


@dataclass(frozen=True)
class ChatConfig:
    """Where and how to ask.

    Attributes:
        url: of the API, up to and without "/chat/completions".
        model: the provider's name for it.
        key: sent as a bearer token; empty for a server that wants none.
        timeout_s: of one attempt.
        attempts: at most, for one answer.
        first_wait_s: after the first failure; doubled after each further one.
        json_mode: ask the server to answer in JSON; some local servers refuse that.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 120.0
    attempts: int = 6
    first_wait_s: float = 1.0
    json_mode: bool = True

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            msg = f"Expected the endpoint as http://... or https://..., got {self.url!r}. Give it with --endpoint."
            raise ConfigError(msg)
        if not self.model or self.attempts < 1 or self.timeout_s <= 0:
            msg = f"Expected a model, 1 or more attempts and a timeout above 0, got {self!r}."
            raise ConfigError(msg)


@dataclass(frozen=True)
class ChatReply:
    """An answer, with the tokens that were charged for it (0 where the server does not say)."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class EndpointError(InputError):
    """The endpoint refuses or cannot be reached: no report can be read."""


class ChatClient:
    """Asks one endpoint; safe to use from several threads."""

    def __init__(self, config: ChatConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._sleep = sleep

    def __call__(self, messages: Sequence[Message]) -> ChatReply:
        """The model's answer to the messages.

        Raises:
            EndpointError: if the endpoint refuses, or fails as often as it may be asked.
        """
        problem = ""
        for attempt in range(self.config.attempts):
            try:
                return self._ask(messages)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 429 and error.code < 500:
                        raise EndpointError(_refused(error, self.config)) from error
                    problem, wait = f"HTTP {error.code}", _asked_wait(error)
            except (urllib.error.URLError, http.client.HTTPException, OSError, _UnreadableAnswer) as error:
                problem, wait = str(error) or type(error).__name__, 0.0
            if attempt + 1 < self.config.attempts:
                self._sleep(min(LONGEST_WAIT_S, max(wait, self.config.first_wait_s * 2**attempt)))
        msg = (
            f"{self.config.url} failed {self.config.attempts} times, last with {problem}. What was read is kept: start "
            "the same command again when the endpoint works."
        )
        raise EndpointError(msg)

    def _ask(self, messages: Sequence[Message]) -> ChatReply:
        body: dict[str, object] = {"model": self.config.model, "messages": list(messages), "temperature": 0}
        if self.config.json_mode:
            body["response_format"] = {"type": "json_object"}
        headers = {"Content-Type": "application/json"}
        if self.config.key:
            headers["Authorization"] = f"Bearer {self.config.key}"
        url = f"{self.config.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - http(s) only, see config
        with urllib.request.urlopen(request, timeout=self.config.timeout_s) as answer:  # noqa: S310
            return _reply(answer.read(_LONGEST_ANSWER))


class _UnreadableAnswer(Exception):
    """The server's envelope is not the protocol's: most often a proxy's error page."""


def _reply(content: bytes) -> ChatReply:
    try:
        answer = json.loads(content)
        text = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage") or {}
        return ChatReply(
            str(text or ""), int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        msg = f"an answer that is not of the chat protocol ({type(error).__name__})"
        raise _UnreadableAnswer(msg) from error


def _refused(error: urllib.error.HTTPError, config: ChatConfig) -> str:
    hints = {
        400: "Does this server know JSON mode (--no-json-mode) and this model?",
        401: "Is the key right, and in the variable that --key-variable names?",
        403: "May this key use this model?",
        404: "Does the address end before /chat/completions, and does the model exist?",
    }
    return (
        f"{config.url} refused with HTTP {error.code} for model {config.model!r}. {hints.get(error.code, '')}".rstrip()
    )


def _asked_wait(error: urllib.error.HTTPError) -> float:
    """The seconds that the server asks to wait; 0 where it does not say or names a date."""
    try:
        return max(0.0, float(error.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
