"""What runs left to be kept: who may list and read it, and its removal when its time is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.errors import ArtefactsRemoved, NotFound, PodwireError, WorkspacesUnavailable
from app.domain.humanize import duration
from app.domain.metrics import LOST_FOLDERS
from app.domain.person import Person
from app.domain.runs.artefacts import Artefact, ArtefactState, Holding, folder_of
from app.domain.runs.run import Run
from app.service.queries import show
from app.service.services import Services
from app.store.artefacts.workspaces import Workspaces

logger = logging.getLogger(__name__)

BATCH = 100
# A folder that SQL does not know may be of a database that was put back from a copy: it is only ever told of.
UNKNOWN_AFTER_S = 30 * 86400.0
AT_ONCE = 500
# Other periodic work of this process waits for a round; what is left comes in the next one.
ROUND_S = 5.0
GONE = (ArtefactState.REMOVING, ArtefactState.REMOVED)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of what one attempt left. `holding` is None where nothing is known; `kept_until` None where there is no end."""

    run: Run
    holding: Holding | None
    files: Sequence[Artefact]
    attempts: Sequence[int]
    kept_until: float | None


def listing(
    services: Services, person: Person, run_id: str, attempt: int | None = None, *, after: int = 0, limit: int = 100
) -> Listing:
    """Return what an attempt left, by default the last one that left anything. Raises: NotFound, ArtefactsRemoved."""
    run = show(services, person, run_id)
    held = services.store.artefacts.of_run(run_id)
    holding = _chosen(services, run, held, attempt)
    files = services.store.artefacts.files(run_id, holding.attempt, after, limit) if holding else []
    keep_s = services.artefact_rules.keep_s
    until = run.ended_at + keep_s if run.ended_at is not None and keep_s > 0 else None
    return Listing(run, holding, files, [each.attempt for each in held if each.files], until)


def _chosen(services: Services, run: Run, held: Sequence[Holding], attempt: int | None) -> Holding | None:
    if attempt is not None and not 1 <= attempt <= run.attempt:
        raise NotFound(f"The run has no attempt {attempt}.")
    if any(each.state in GONE for each in held):
        kept = f" {duration(services.artefact_rules.keep_s)} after its end" if services.artefact_rules.keep_s else ""
        raise ArtefactsRemoved(f"The artefacts of this run were removed{kept}.", removed_at=held[-1].removed_at)
    if attempt is not None:
        return next((each for each in held if each.attempt == attempt), None)
    return next((each for each in reversed(held) if each.files), held[-1] if held else None)


def opened(services: Services, person: Person, run_id: str, name: str, attempt: int | None = None) -> tuple[Artefact, int]:
    """Return an artefact and a descriptor of its file, for the caller to close.

    Raises: NotFound, ArtefactsRemoved, ArtefactMissing, WorkspacesUnavailable.
    """
    found = listing(services, person, run_id, attempt, limit=0)
    holding = found.holding
    file = services.store.artefacts.file(run_id, holding.attempt, name) if holding else None
    if holding is None or file is None:
        raise NotFound("The run left no artefact of that name.")
    return file, _storage(services).open(folder_of(found.run), holding, file)


def _storage(services: Services) -> Workspaces:
    if services.workspaces is None:
        raise WorkspacesUnavailable("This replica has no storage of artefacts: set PODWIRE_WORKSPACES_DIR as for the workers.")
    return services.workspaces


# --- periodic work


def remove_expired(services: Services) -> int:
    """Remove the artefacts of runs that ended long enough ago; return of how many. Whoever claims a run's removal does it."""
    keep_s, count = services.artefact_rules.keep_s, 0
    if services.workspaces is None or keep_s <= 0:
        return 0
    # Before anything is claimed: a worker without the storage leaves it to others.
    storage = services.workspaces.storage_id()
    until = time.monotonic() + ROUND_S
    for run in services.store.artefacts.expired(keep_s, storage, BATCH):
        if time.monotonic() > until:
            break
        if services.store.artefacts.claim_removal(run.id, keep_s):
            count += _remove(services, services.workspaces, run)
    return count


def _remove(services: Services, workspaces: Workspaces, run: Run) -> bool:
    try:
        workspaces.remove(folder_of(run))
    except PodwireError as error:
        logger.warning("run %s: its artefacts are not removed yet: %s", run.id, error.detail)
        return False
    services.store.artefacts.removed(run.id)
    logger.info("run %s: its artefacts were removed", run.id)
    return True


def find_unknown(services: Services) -> int:
    """Tell of old folders in the storage that belong to no run with artefacts; return how many. Nothing is removed."""
    if services.workspaces is None:
        return 0
    before = services.store.clock.now() - UNKNOWN_AFTER_S
    old = [run_id for run_id, changed_at in services.workspaces.run_folders() if changed_at < before]
    unknown: list[str] = []
    for start in range(0, len(old), AT_ONCE):
        ids = old[start : start + AT_ONCE]
        unknown += sorted(set(ids) - services.store.artefacts.known(ids))
    if unknown:
        logger.warning("%d old folders in the storage of artefacts belong to no run: %s", len(unknown), ", ".join(unknown[:10]))
        services.store.counters.note(LOST_FOLDERS.count(by=len(unknown)))
    return len(unknown)
