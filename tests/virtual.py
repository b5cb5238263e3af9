"""What tests in virtual time share."""

from __future__ import annotations

from typing import Literal

import pytest

from gochan._core.driver import current_driver

Backend = Literal["asyncio", "trio"]
on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])
virtual = pytest.mark.gochan(virtual_time=True)
forgiving = pytest.mark.gochan(virtual_time=True, leaks="ignore")


def alarms() -> int:
    """How many the loop has."""
    driver = current_driver()
    assert driver is not None
    driver.alarms._check()
    return len(driver.alarms)
