"""All known bugs."""

from __future__ import annotations

from . import communication_a_to_g, communication_h_to_s, micro, mixed, patterns, resource_a_to_g, resource_h_to_s
from .bug import Bug

BUGS: list[Bug] = [
    bug
    for module in (
        micro,
        patterns,
        communication_a_to_g,
        communication_h_to_s,
        resource_a_to_g,
        resource_h_to_s,
        mixed,
    )
    for bug in module.family.bugs
]
