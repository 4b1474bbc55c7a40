from __future__ import annotations

import pytest
from chat_stub import Answer, allow_this_machine_only, chat_server

from ctglip_training.pairs.chat import ChatClient, ChatConfig, EndpointError
from CTGLIPLib.errors import ConfigError

ASK = [{"role": "user", "content": "Anything?"}]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """In place of the fixture of all tests."""
    allow_this_machine_only(monkeypatch)


def client(stub, **settings):
    waits = []
    return ChatClient(stub.config(**settings), waits.append), waits


def test_an_answer_comes_with_its_tokens_and_the_request_speaks_the_protocol():
    with chat_server([Answer("yes")]) as stub:
        reply = client(stub, key="secret")[0](ASK)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("yes", 100, 10)
    assert stub.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "stub",
            "messages": ASK,
            "temperature": 0,
            "response_format": {"type": "json_object"},
        }
    ]
    assert stub.keys == ["Bearer secret"]


def test_a_local_server_gets_no_key_and_no_json_mode_when_asked_so():
    with chat_server([Answer("yes")]) as stub:
        client(stub, json_mode=False)[0](ASK)
    assert "response_format" not in stub.requests[0]
    assert stub.keys == [None]


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says():
    with chat_server([Answer(status=429, headers={"Retry-After": "7"}), Answer("at last")]) as stub:
        ask, waits = client(stub)
        assert ask(ASK).text == "at last"
    assert waits == [7.0]


def test_errors_of_the_server_are_waited_for_twice_as_long_each_time():
    with chat_server([Answer(status=500), Answer(status=503), Answer(status=529), Answer("yes")]) as stub:
        ask, waits = client(stub)
        assert ask(ASK).text == "yes"
    assert waits == [1.0, 2.0, 4.0]


def test_no_wait_is_longer_than_a_minute():
    late = Answer(status=429, headers={"Retry-After": "86400"})
    with chat_server([late, Answer("yes")]) as stub:
        ask, waits = client(stub)
        ask(ASK)
    assert waits == [60.0]


def test_a_date_to_wait_for_counts_as_no_wait_said():
    late = Answer(status=429, headers={"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"})
    with chat_server([late, Answer("yes")]) as stub:
        ask, waits = client(stub)
        ask(ASK)
    assert waits == [1.0]


def test_a_timeout_and_a_lost_connection_are_tried_again():
    with chat_server([Answer(wait_s=0.5), Answer(drop=True), Answer("yes")]) as stub:
        ask, waits = client(stub, timeout_s=0.2)
        assert ask(ASK).text == "yes"
    assert waits == [1.0, 2.0]


def test_a_page_that_is_not_of_the_protocol_is_tried_again():
    pages = [Answer(raw=b"<html>busy</html>"), Answer(raw=b'{"choices": []}'), Answer("yes")]
    with chat_server(pages) as stub:
        assert client(stub)[0](ASK).text == "yes"
    assert len(stub.requests) == 3


def test_an_endpoint_that_keeps_failing_is_given_up_with_the_last_reason():
    with chat_server([Answer(status=502)]) as stub:
        ask, waits = client(stub, attempts=3)
        with pytest.raises(EndpointError, match="failed 3 times, last with HTTP 502.*start the same command again"):
            ask(ASK)
    assert len(stub.requests) == 3
    assert waits == [1.0, 2.0]


def test_an_endpoint_that_is_not_there_is_given_up():
    with chat_server([Answer()]) as stub:
        ask = client(stub, attempts=2)[0]
    with pytest.raises(EndpointError, match="failed 2 times"):
        ask(ASK)


@pytest.mark.parametrize(
    ("status", "hint"), [(400, "--no-json-mode"), (401, "--key-variable"), (404, "/chat/completions")]
)
def test_a_refusal_is_not_repeated_and_says_what_to_look_at(status, hint):
    with chat_server([Answer(status=status)]) as stub:
        ask = client(stub, key="secret")[0]
        with pytest.raises(EndpointError, match=f"HTTP {status}.*{hint}") as refused:
            ask(ASK)
    assert len(stub.requests) == 1
    assert "secret" not in str(refused.value)


def test_a_server_that_counts_no_tokens_costs_none():
    plain = Answer(raw=b'{"choices": [{"message": {"content": "yes"}}]}')
    with chat_server([plain]) as stub:
        reply = client(stub)[0](ASK)
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)


def test_an_address_that_is_no_web_address_is_refused():
    with pytest.raises(ConfigError, match="http://"):
        ChatConfig("file:///etc/passwd", "stub")
    with pytest.raises(ConfigError, match="a model"):
        ChatConfig("http://localhost/v1", "")


def test_the_key_is_not_shown_with_the_configuration():
    assert "secret" not in repr(ChatConfig("http://localhost/v1", "stub", key="secret"))
