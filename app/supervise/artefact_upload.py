"""Keeping what a program left: its files are copied into the storage after its end and before the attempt is removed.

It is tried until a deadline in SQL that takeovers share; what could not be kept is recorded with the reason, and the run ends
all the same.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from app.domain.errors import AttemptGone, LauncherUnavailable, LinkLost, WorkspacesUnavailable
from app.domain.ports import Attempt
from app.domain.runs.artefacts import Artefact, ArtefactState, Found, Holding, LeftOut, Names, explain, folder_of
from app.domain.runs.run import Run
from app.store.artefacts.workspaces import Draft
from app.supervise.artefact_storage import ArtefactStorage
from app.supervise.worker.lease_scope import RETRY_S, LeaseScope

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0


class ArtefactUpload:
    """Keeps the artefacts of one attempt, for one supervisor."""

    def __init__(self, lease: LeaseScope, artefact_storage: ArtefactStorage, run: Run, attempt: Attempt) -> None:
        """Touch nothing yet."""
        self._lease, self._artefact_storage, self._run, self._attempt = lease, artefact_storage, run, attempt
        self._place = folder_of(run)
        self._check_at = self._until = 0.0
        self._trouble = "It took too long."

    def keep(self, *, nothing: bool = False) -> None:
        """Keep what there is; with `nothing`, that it is nothing is known. Raises: Fenced, Drained.

        A failure of the storage or of the link is recorded, not raised.
        """
        run, artefact_storage, lease = self._run, self._artefact_storage, self._lease
        holding, left_s = lease.call_store(lambda: artefact_storage.store.begin(run, artefact_storage.rules.collect_within_s))
        if holding.state is not ArtefactState.COLLECTING:
            return
        if nothing:
            return lease.call_store(lambda: artefact_storage.store.settle(run, replace(holding, state=ArtefactState.KEPT)))
        self._until = time.monotonic() + left_s
        while True:
            try:
                return self._collect(holding)
            except AttemptGone as error:
                return self._lose(holding, f"What the program left is gone: {error.detail}")
            except (LauncherUnavailable, LinkLost, WorkspacesUnavailable) as error:
                self._trouble = error.detail
                logger.warning("run %s: artefacts not kept yet: %s", run.id, error.detail)
                if time.monotonic() > self._until or error.extensions.get("full"):
                    return self._lose(holding, f"What the program left could not be kept: {error.detail}")
            lease.check()
            lease.pause(RETRY_S)
            lease.woken.clear()

    def _collect(self, holding: Holding) -> None:
        artefact_storage, run = self._artefact_storage, self._run
        storage = artefact_storage.workspaces.storage_id()
        with artefact_storage.workspaces.draft(self._place, run.attempt, run.token) as draft:
            files, left = self._copy(draft)
        kept = replace(
            holding,
            state=ArtefactState.KEPT,
            storage=storage,
            files=len(files),
            size_bytes=sum(file.size_bytes for file in files),
            left_out=sum(left.counts.values()),
            message=explain(left, artefact_storage.rules),
        )
        # Whatever happens from here on, the folder stays: this may be committed although nobody heard of it.
        self._lease.call_store(lambda: artefact_storage.store.settle(run, kept, files))
        if run.token > 1:
            self._tidy()

    def _copy(self, draft: Draft) -> tuple[list[Artefact], LeftOut]:
        rules, names, room = self._artefact_storage.rules, Names(), self._artefact_storage.rules.max_bytes
        files: list[Artefact] = []
        try:
            for step in self._artefact_storage.collector.collect(self._attempt, rules.max_files, rules.max_bytes):
                self._stay()
                if isinstance(step, LeftOut):
                    draft.end()
                    return files, step
                if isinstance(step, Found):
                    files.append(Artefact(len(files) + 1, names.text(step.path), 0, step.modified_at))
                    draft.begin(files[-1].number, files[-1].name)
                else:
                    room -= len(step)
                    files[-1] = replace(files[-1], size_bytes=files[-1].size_bytes + len(step))
                # The other side keeps the limits as well, but it is beside a program.
                if room < 0 or len(files) > rules.max_files:
                    raise AttemptGone("it is more than was asked for.")
                if isinstance(step, bytes):
                    draft.write(step)
        finally:
            draft.abandon()
        raise LinkLost("The list of what the program left ended too early.")

    def _stay(self) -> None:
        """Go on while the claim and the time last. Raises: Fenced, Drained, LinkLost."""
        now = time.monotonic()
        if now > self._until:
            raise LinkLost(self._trouble)
        if now >= self._check_at:
            self._lease.check()
            self._check_at = now + CHECK_EVERY_S

    def _tidy(self) -> None:
        try:
            self._artefact_storage.workspaces.settle(self._place, self._run.attempt, self._run.token)
        except WorkspacesUnavailable as error:
            logger.info("run %s: leftovers stay until its artefacts are removed: %s", self._run.id, error.detail)

    def _lose(self, holding: Holding, message: str) -> None:
        lost = replace(holding, state=ArtefactState.LOST, message=message)
        self._lease.call_store(lambda: self._artefact_storage.store.settle(self._run, lost))
