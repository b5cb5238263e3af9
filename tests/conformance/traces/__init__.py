"""What the real Go packages did: see ``main.go``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of one file, in their order."""
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text("utf-8").splitlines()]
