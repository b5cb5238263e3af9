"""Real Go: the programs in `benchmarks/go`, built once a run and asked for one table at a time.

They print a line of JSON for each measurement: ``{"labels": {…}, "values": […]}``. Times are CPU time of the process,
with one P (GOMAXPROCS=1), which is what one event loop has, unless a label says otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .report.model import Row
from .spread import Spread

SOURCES = Path(__file__).parent / "go"


class GoError(RuntimeError):
    pass


@dataclass
class Go:
    command: str
    quick: bool
    _directory: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    @classmethod
    def find(cls, *, quick: bool) -> Go | None:
        command = shutil.which("go")
        return None if command is None else cls(command, quick)

    @cached_property
    def version(self) -> str:
        words = self._run([self.command, "version"]).split()
        return words[2].removeprefix("go") if len(words) > 2 else "of an unknown version"

    def prepare(self) -> None:
        """Builds the programs."""
        _ = self._program

    @cached_property
    def _program(self) -> str:
        self._directory = tempfile.TemporaryDirectory(prefix="gochan-bench-")
        program = str(Path(self._directory.name, "gobench"))
        self._run([self.command, "build", "-o", program, "."])
        return program

    def _run(self, words: list[str], seconds: float = 300) -> str:
        environment = os.environ | {"GOMAXPROCS": "1", "GOFLAGS": "-mod=mod", "GO111MODULE": "on"}
        done = subprocess.run(
            words, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise GoError(f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def rows(self, table: str, **more: str) -> list[Row]:
        """The rows of Go in a table; `more` labels are put before its own."""
        lines = self._run([self._program, table, *(["-quick"] if self.quick else [])]).splitlines()
        found = [json.loads(line) for line in lines]
        return [Row({**more, **one["labels"]}, Spread.of(one["values"])) for one in found]
