"""What keeping artefacts needs, in one frozen value: one for all supervisors of a process."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.artefacts import ArtefactRules
from app.domain.ports import Collector
from app.store.artefacts import ArtefactStore
from app.store.workspaces import Workspaces


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where artefacts come from, where they go, where that is noted, and how much of them."""

    collector: Collector
    workspaces: Workspaces
    store: ArtefactStore
    rules: ArtefactRules
