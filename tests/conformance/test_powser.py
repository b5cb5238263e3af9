"""Power series as demand channels, after Go's test/chan/powser1.go and powser2.go.

Doug McIlroy's idea ("Squinting at Power Series"): a series is a pair of channels: a request goes up one, the next
coefficient comes down the other. Operators are goroutines that ask their operands only when they are asked; feedback
loops (exponential, reciprocal, reversion) split a series and feed it to its own making. One program thus holds hundreds
of goroutines, most of them parked at its end.

The two Go files differ in how Go stores a coefficient only, so one module serves both. Coefficients are exact
`Fraction`s; the end of a series is `None`. Not ported: evaluation in floating point and printing.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from fractions import Fraction
from itertools import count, repeat

import anyio
import pytest

from gochan import Channel, Group, go, select, send

from .helpers import PATIENCE, bounded, patient

Coefficient = Fraction | None
ZERO, ONE = Fraction(0), Fraction(1)


class Series:
    """A demand channel: nothing is computed before somebody asks."""

    def __init__(self) -> None:
        self.ask: Channel[None] = Channel()
        self.answer: Channel[Coefficient] = Channel()

    async def get(self) -> Coefficient:
        await self.ask.send(None)
        return await self.answer.receive()

    async def put(self, coefficient: Coefficient) -> None:
        await self.ask.receive()
        await self.answer.send(coefficient)

    async def follow(self, other: Series) -> None:
        """Answer with what the other series answers, for ever."""
        while True:
            await self.ask.receive()
            await self.answer.send(await other.get())

    async def end(self) -> None:
        """Answer that there are no more coefficients, as often as asked."""
        while True:
            await self.put(None)

    async def take(self, number: int) -> list[Coefficient]:
        return [await self.get() for _ in range(number)]


def operator(body: Callable[..., Awaitable[None]]) -> Callable[..., Series]:
    """Turn a goroutine that fills a series into a function that starts it and returns the series."""

    @functools.wraps(body)
    def start(*operands: object) -> Series:
        result = Series()

        async def fill() -> None:
            await body(result, *operands)

        go(fill, name=body.__name__)
        return result

    return start


async def get_both(u: Series, v: Series) -> tuple[Coefficient, Coefficient]:
    """Ask two series at once and take their answers in whatever order they come."""
    operands = (u, v)
    asked = [False, False]
    pending = [True, True]
    answers: list[Coefficient] = [None, None]
    while any(pending):
        asks = [None if asked[i] else send(operand.ask, None) for i, operand in enumerate(operands)]
        replies = [operand.answer if asked[i] and pending[i] else None for i, operand in enumerate(operands)]
        index, value = await select(*asks, *replies)
        if index < 2:
            asked[index] = True
        else:
            answers[index - 2] = value
            pending[index - 2] = False
    return answers[0], answers[1]


# -- splitting: one series for two readers that need not keep step -----------------------------------------------------


async def _generation(source: Series, near: Series, far: Series, my_turn: Channel[None]) -> None:
    """Fetch one coefficient on first demand and give it to both readers.

    The newest generation serves the reader that is ahead. One that still holds a coefficient for the reader behind
    waits for its turn, which the next older one gives when it has delivered.
    """
    alone = False
    index, _ = await select(near.ask, my_turn)
    if index == 1:
        alone = True
        index, _ = await select(near.ask, far.ask)
        if index == 1:
            near, far = far, near
    next_turn: Channel[None] = Channel()
    coefficient = await source.get()
    go(_generation, source, near, far, next_turn)
    await near.answer.send(coefficient)
    if not alone:
        await my_turn.receive()
    await far.put(coefficient)
    await next_turn.send(None)


def split_into(source: Series, first: Series, second: Series) -> None:
    async def begin() -> None:
        turn: Channel[None] = Channel()
        go(_generation, source, first, second, turn)
        await turn.send(None)

    go(begin)


def split(source: Series) -> tuple[Series, Series]:
    copies = Series(), Series()
    split_into(source, *copies)
    return copies


# -- making series -----------------------------------------------------------------------------------------------------


@operator
async def constant(z: Series, c: Fraction) -> None:
    for coefficient in repeat(c):
        await z.put(coefficient)


def ones() -> Series:
    return constant(ONE)


def twos() -> Series:
    return constant(Fraction(2))


@operator
async def polynomial(z: Series, *coefficients: int) -> None:
    for coefficient in coefficients:
        await z.put(Fraction(coefficient))
    await z.end()


@operator
async def monomial(z: Series, c: Fraction, power: int) -> None:
    for _ in range(power):
        await z.put(ZERO)
    await z.put(c)
    await z.end()


@operator
async def binomial(z: Series, exponent: Fraction) -> None:
    """(1 + x) to a rational power."""
    term, n = ONE, 1
    while term:
        await z.put(term)
        term = term * exponent / n
        exponent -= 1
        n += 1
    await z.end()


# -- operators ---------------------------------------------------------------------------------------------------------


@operator
async def add(z: Series, u: Series, v: Series) -> None:
    while True:
        await z.ask.receive()
        a, b = await get_both(u, v)
        if a is not None and b is not None:
            await z.answer.send(a + b)
            continue
        await z.answer.send(b if a is None else a)
        if a is None and b is None:
            await z.end()
        await z.follow(v if a is None else u)


@operator
async def scale(z: Series, c: Fraction, u: Series) -> None:
    while True:
        await z.ask.receive()
        a = await u.get()
        await z.answer.send(None if a is None else c * a)
        if a is None:
            await z.end()


def subtract(u: Series, v: Series) -> Series:
    return add(u, scale(-ONE, v))


@operator
async def shift(z: Series, c: Fraction, u: Series) -> None:
    """c + x·U"""
    await z.put(c)
    await z.follow(u)


@operator
async def times_x(z: Series, u: Series, power: int = 1) -> None:
    for _ in range(power):
        await z.put(ZERO)
    await z.follow(u)


@operator
async def multiply(z: Series, u: Series, v: Series) -> None:
    """(a + x·U)(b + x·V) = ab + x·(aV + bU + x·UV)"""
    await z.ask.receive()
    a, b = await get_both(u, v)
    if a is None or b is None:
        await z.answer.send(None)
        await z.end()
    else:
        await z.answer.send(a * b)
        u_now, u_later = split(u)
        v_now, v_later = split(v)
        cross = add(scale(a, v_now), scale(b, u_now))
        await z.ask.receive()
        await z.answer.send(await cross.get())
        await z.follow(add(cross, multiply(u_later, v_later)))


@operator
async def differentiate(z: Series, u: Series) -> None:
    await z.ask.receive()
    await u.get()
    for n in count(1):
        a = await u.get()
        await z.answer.send(None if a is None else n * a)
        if a is None:
            await z.end()
        await z.ask.receive()


@operator
async def integrate(z: Series, c: Fraction, u: Series) -> None:
    await z.put(c)
    for n in count(1):
        await z.ask.receive()
        a = await u.get()
        await z.answer.send(None if a is None else a / n)
        if a is None:
            await z.end()


@operator
async def reciprocal(z: Series, u: Series) -> None:
    """1/(a + x·U) = b + x·Z with b = 1/a and Z = -b·U·(b + x·Z)"""
    await z.ask.receive()
    a = await u.get()
    assert a
    b = 1 / a
    await z.answer.send(b)
    fed_back, rest = Series(), Series()
    split_into(multiply(scale(-b, u), shift(b, fed_back)), fed_back, rest)
    await z.follow(rest)


def exponential(u: Series) -> Series:
    """exp(U) for U without constant term (a constant term is ignored): Z' = Z·U'"""
    fed_back, result = Series(), Series()
    split_into(integrate(ONE, multiply(fed_back, differentiate(u))), fed_back, result)
    return result


@operator
async def substitute(z: Series, u: Series, v: Series) -> None:
    """U(V) for V without constant term (a constant term is ignored): a + V·U'(V) where U = a + x·U'"""
    once, again = split(v)
    await z.ask.receive()
    a = await u.get()
    await z.answer.send(a)
    if a is not None:
        if await once.get() is None:
            await z.end()
        await z.follow(multiply(once, substitute(u, again)))
    await z.end()


@operator
async def substitute_monomial(z: Series, u: Series, c: Fraction, power: int) -> None:
    """U(c·x^n)"""
    factor = ONE
    while True:
        await z.ask.receive()
        a = await u.get()
        await z.answer.send(None if a is None else a * factor)
        if a is None:
            await z.end()
        factor *= c
        for _ in range(power - 1):
            await z.put(ZERO)


def revert(u: Series) -> Series:
    """R with U(R) = x, for U = x·U' with U' not 0 at 0: R = x / U'(R)"""
    result, fed_back, rest = Series(), Series(), Series()

    async def solve() -> None:
        await result.ask.receive()
        await u.get()
        await result.answer.send(ZERO)
        # U'(R) needs R, whose constant term 0 is known: substitution takes it before it asks for more.
        split_into(reciprocal(substitute(u, shift(ZERO, fed_back))), fed_back, rest)
        await result.follow(rest)

    go(solve, name="revert")
    return result


def arctangent() -> Series:
    return integrate(ZERO, substitute_monomial(ones(), -ONE, 2))


# -- the checks --------------------------------------------------------------------------------------------------------


def fractions(text: str) -> list[Fraction]:
    return [Fraction(word) for word in text.split()]


CHECKS: dict[str, tuple[Callable[[], Series], str]] = {
    "ones": (ones, "1 1 1 1 1"),
    "add ones ones": (lambda: add(ones(), ones()), "2 2 2 2 2"),
    "add ones twos": (lambda: add(ones(), twos()), "3 3 3 3 3"),
    "scale": (lambda: scale(-ONE, twos()), "-2 -2 -2 -2 -2 -2 -2 -2 -2 -2"),
    "subtract": (lambda: subtract(ones(), twos()), "-1 -1 -1 -1 -1"),
    "shift": (lambda: shift(Fraction(7), ones()), "7 1 1 1 1"),
    "times x^3": (lambda: times_x(ones(), 3), "0 0 0 1 1 1"),
    "differentiate": (lambda: differentiate(ones()), "1 2 3 4 5 6 7 8 9 10"),
    "integrate": (lambda: integrate(ZERO, ones()), "0 1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9"),
    "multiply": (lambda: multiply(ones(), ones()), "1 2 3 4 5 6 7 8 9 10"),
    "multiply three": (lambda: multiply(ones(), multiply(ones(), ones())), "1 3 6 10 15 21 28"),
    "reciprocal of ones": (lambda: reciprocal(ones()), "1 -1 0 0 0 0 0"),
    "reciprocal of 1-x-x^2": (lambda: reciprocal(polynomial(1, -1, -1)), "1 1 2 3 5 8 13 21 34"),
    "binomial 1/2": (lambda: binomial(Fraction(1, 2)), "1 1/2 -1/8 1/16 -5/128 7/256"),
    "exponential of x": (lambda: exponential(monomial(ONE, 1)), "1 1 1/2 1/6 1/24 1/120 1/720"),
    "exponential": (
        lambda: exponential(ones()),
        "1 1 3/2 13/6 73/24 167/40 4051/720 37633/5040 43817/4480 4596553/362880",
    ),
    "substitute": (lambda: substitute(ones(), times_x(ones())), "1 1 2 4 8 16 32 64"),
    "substitute monomial": (lambda: substitute_monomial(ones(), -ONE, 2), "1 0 -1 0 1 0 -1 0 1 0"),
    "arctangent": (arctangent, "0 1 0 -1/3 0 1/5 0 -1/7 0 1/9"),
    "tangent, reverted arctangent": (lambda: revert(arctangent()), "0 1 0 1/3 0 2/15 0 17/315"),
}

ENDING: dict[str, tuple[Callable[[], Series], str]] = {
    "polynomial": (lambda: polynomial(1, 2, 3), "1 2 3"),
    "monomial": (lambda: monomial(Fraction(5), 2), "0 0 5"),
    "binomial 4": (lambda: binomial(Fraction(4)), "1 4 6 4 1"),
    "sum of unequal lengths": (lambda: add(polynomial(1, 2, 3), polynomial(10)), "11 2 3"),
    "sum of equal lengths": (lambda: add(polynomial(1, 2), polynomial(3, 4)), "4 6"),
    "product with nothing": (lambda: multiply(polynomial(), ones()), ""),
    "product": (lambda: multiply(polynomial(1, 1), polynomial(1, 1)), "1 2 1"),
    "derivative": (lambda: differentiate(polynomial(1, 2, 3)), "2 6"),
    "integral": (lambda: integrate(ONE, polynomial(1, 2, 3)), "1 1 1 1"),
    "substitution": (lambda: substitute(polynomial(1, 1, 1), polynomial(0, 2)), "1 2 4"),
}


@pytest.mark.parametrize(("make", "expected"), CHECKS.values(), ids=CHECKS.keys())
@bounded
async def test_series(make: Callable[[], Series], expected: str) -> None:
    """Every operator yields its coefficients exactly, and the goroutines that it leaves parked end with their group."""
    wanted = fractions(expected)
    async with Group() as group:
        assert await make().take(len(wanted)) == wanted
        group.cancel()


@pytest.mark.parametrize(("make", "expected"), ENDING.values(), ids=ENDING.keys())
@bounded
async def test_series_that_end(make: Callable[[], Series], expected: str) -> None:
    """The end of a finite series passes through the operators."""
    wanted = fractions(expected)
    async with Group() as group:
        assert await make().take(len(wanted) + 2) == [*wanted, None, None]
        group.cancel()


@pytest.mark.parametrize("lead", [1, 3, 8])
@bounded
async def test_split_serves_two_readers_at_their_own_pace(lead: int) -> None:
    """The readers of a split series may be any number of coefficients apart, and may overtake each other."""
    async with Group() as group:
        first, second = split(integrate(ZERO, ones()))
        expected = [ZERO] + [Fraction(1, n) for n in range(1, 40)]
        assert await first.take(lead) == expected[:lead]
        assert await second.take(2 * lead) == expected[: 2 * lead]
        assert await first.take(2 * lead) == expected[lead : 3 * lead]
        assert await second.take(lead) == expected[2 * lead : 3 * lead]
        group.cancel()


@bounded
async def test_nothing_is_computed_before_it_is_asked_for() -> None:
    """Building a tower of operators asks its base for nothing; one coefficient of a sum asks for one."""
    asked = 0

    async def count_requests(z: Series) -> None:
        nonlocal asked
        while True:
            await z.put(ONE)
            asked += 1

    async with Group() as group:
        base = Series()
        group.go(count_requests, base)
        tower = scale(Fraction(3), add(ones(), base))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert asked == 0
        assert await tower.get() == 6
        assert asked == 1
        group.cancel()


@pytest.mark.slow
@patient(8 * PATIENCE)
async def test_long_series() -> None:
    """The exponential of all ones to 24 coefficients, against its recurrence."""
    wanted = [ONE]
    for n in range(1, 24):
        wanted.append(sum((k * wanted[n - k] for k in range(1, n + 1)), ZERO) / n)
    async with Group() as group:
        # The constant term of the exponent is ignored: what remains is x + x² + x³ + …
        assert await exponential(ones()).take(24) == wanted
        group.cancel()
