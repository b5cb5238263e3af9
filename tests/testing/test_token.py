"""Tokens: they say everything that a schedule is, and refuse what they do not understand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gochan.testing._token import Token, _unpack, shape_of, trimmed

TOKEN = Token("asyncio", (0, 0, 3, 0, 1), 0xBEEF)


@given(
    backend=st.sampled_from(["asyncio", "trio"]),
    values=st.lists(st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 2**40)), max_size=300).map(trimmed),
    shape=st.integers(0, 0xFFFF),
)
def test_a_token_comes_back_as_it_was(backend: str, values: list[int], shape: int) -> None:
    """For every schedule."""
    token = Token(backend, tuple(values), shape)
    assert Token.parse(str(token)) == token
    assert Token.parse(str(token), backend) == token


def test_a_token_is_the_same_in_every_version_of_gochan() -> None:
    """Until the version in it changes."""
    assert str(TOKEN) == "gc1:asyncio:IRu-7wIDAQE"
    assert Token.parse("gc1:asyncio:IRu-7wIDAQE") == TOKEN


def test_a_token_is_short() -> None:
    """Long calm stretches cost nothing."""
    assert len(str(Token("trio", (*[0] * 100_000, 1), 0))) < 25


def test_a_token_may_be_copied_with_the_space_around_it() -> None:
    """As terminals do."""
    assert Token.parse(f"  {TOKEN}\n") == TOKEN


@pytest.mark.parametrize("at", range(len(str(TOKEN))))
def test_a_damaged_token_is_refused(at: int) -> None:
    """Every change of one character is found, or is no change."""
    text = str(TOKEN)
    for character in map(chr, range(128)):
        try:
            parsed = Token.parse(text[:at] + character + text[at + 1 :])
        except ValueError as error:
            assert "token" in str(error)
        else:
            assert parsed == TOKEN


@pytest.mark.parametrize("length", range(len(str(TOKEN))))
def test_a_token_that_was_cut_off_is_refused(length: int) -> None:
    """A line may be too long for its window."""
    with pytest.raises(ValueError, match="token"):
        Token.parse(str(TOKEN)[:length])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a schedule token"),
        ("42", "not a schedule token"),
        ("gc2:asyncio:AAAAAA", "another version of gochan"),
        ("gc1:curio:AAAAAA", "backend 'curio'"),
        ("gc1:asyncio:", "broken"),
        ("gc1:asyncio:????", "broken"),
        ("gc1:asyncio:AAAAAAAA", "broken"),
        (str(TOKEN).replace("asyncio", "trio"), "broken"),
    ],
)
def test_what_is_no_token_of_this_version_is_a_clear_error(text: str, says: str) -> None:
    """A ValueError that names what is wrong."""
    with pytest.raises(ValueError, match=says):
        Token.parse(text)


@pytest.mark.parametrize("thing", [None, 1, b"gc1:asyncio:AAAA"])
def test_what_is_no_text_is_a_clear_error(thing: Any) -> None:
    """A TypeError that shows what a token looks like."""
    with pytest.raises(TypeError, match="a schedule token is a text, which looks like gc1:"):
        Token.parse(thing)


def test_a_token_that_asks_for_too_much_is_broken() -> None:
    """Few characters may say "ten million zeros" again and again."""
    pair = bytes([0x80 | (9_999_999 & 0x7F), 0x80 | (9_999_999 >> 7 & 0x7F), 0x80 | (9_999_999 >> 14 & 0x7F)])
    pair += bytes([9_999_999 >> 21, 1])
    with pytest.raises(ValueError, match="not a schedule"):
        _unpack(pair * 2)


def test_a_token_of_the_other_backend_is_refused() -> None:
    """With the remedy: the steps of a program are not the same there."""
    with pytest.raises(ValueError, match="made on asyncio and cannot be replayed on trio: pass backend='asyncio'"):
        Token.parse(str(TOKEN), "trio")


def test_the_shape_tells_programs_apart() -> None:
    """By the questions that they ask."""
    assert shape_of([("task", 2), ("case", 3)]) != shape_of([("task", 2), ("case", 2)])
    assert shape_of([("task", 12)]) != shape_of([("task", 1), ("task", 2)])
