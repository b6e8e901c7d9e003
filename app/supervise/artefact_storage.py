"""What keeping artefacts needs, in one frozen value: one for all supervisors of a process."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.ports import Collector
from app.domain.runs.artefacts import ArtefactRules
from app.store.artefacts.artefacts import ArtefactStore
from app.store.artefacts.workspaces import Workspaces


@dataclass(frozen=True, slots=True)
class ArtefactStorage:
    """Where artefacts come from, where they go, where that is noted, and how much of them."""

    collector: Collector
    workspaces: Workspaces
    store: ArtefactStore
    rules: ArtefactRules
