"""The rows of the table, at the size that CI has time for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chat.table.row import Loop, Row, Size, rows

pytestmark = pytest.mark.once


def loop_of(backend: tuple[str, dict[str, Any]]) -> Loop:
    name, options = backend
    return "trio" if name == "trio" else "uvloop" if options.get("use_uvloop") else "asyncio"


CASES = [
    pytest.param(row, id=f"{row.number}-{row.name}", marks=[pytest.mark.slow] if row.slow else [])
    for row in rows()
    if row.small
]


@pytest.mark.parametrize("row", CASES)
async def test_row(row: Row, anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """The promises of the row hold, at a small size."""
    loop = loop_of(anyio_backend)
    if loop not in row.loops:
        pytest.skip("not applicable: the row is not for this loop")
    checks = await row.run(Size(full=False, loop=loop))
    assert [check for check in checks if not check.ok] == []
