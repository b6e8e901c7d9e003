"""A tiny attempt that belongs to no run, launched and followed to its end as a run is, to see that it works and how fast."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from app.agent.records.wire_format import Kind
from app.domain.errors import AttemptGone, LauncherUnavailable, LaunchRefused, LinkLost
from app.domain.ports import Attempt, Launcher, Record

# What the records of an attempt show, in the order in which they come.
SHOWN = ((Kind.HEARTBEAT, "agent"), (Kind.STARTED, "started"), (Kind.EXIT, "ended"))


@dataclass(slots=True)
class Probe:
    """What became of it. `phases`: seconds since the launch was asked for, by phase; `end`: the exit record's body, if any.

    `fault` is the sentence of what went wrong without an end; `waits` when it would have gone on as soon as others have ended.
    """

    phases: dict[str, float] = field(default_factory=dict)
    end: Mapping[str, object] | None = None
    fault: str = ""
    waits: bool = False

    @property
    def worked(self) -> bool:
        """True when the program ran and ended well."""
        return self.end is not None and self.end.get("exit_code") == 0 and not self.fault

    @property
    def reason(self) -> str:
        """The end's reason, where it has one."""
        return str((self.end or {}).get("reason") or "")

    @property
    def detail(self) -> str:
        """What went wrong, as a sentence."""
        end = self.end or {}
        how = f"it ended with exit code {end.get('exit_code')}, signal {end.get('signal')}"
        return self.fault or str(end.get("message") or end.get("launch_error") or how)


def try_out(launcher: Launcher, attempt: Attempt, within_s: float) -> Probe:
    """Launch the attempt, follow it to its end for `within_s` at most, and remove it whatever happens."""
    probe, began = Probe(), time.monotonic()
    stored = attempt
    try:
        stored = replace(attempt, handle=launcher.launch(attempt))
        probe.phases["created"] = time.monotonic() - began
        _follow(launcher, stored, probe, began, within_s)
    except (LaunchRefused, LauncherUnavailable, AttemptGone) as error:
        probe.fault, probe.waits = error.detail, bool(error.extensions.get("waits"))
    finally:
        try:
            launcher.remove(stored)
            probe.phases["removed"] = time.monotonic() - began
        except LauncherUnavailable as error:
            probe.fault = probe.fault or f"Its pod could not be removed: {error.detail}"
    return probe


def _follow(launcher: Launcher, attempt: Attempt, probe: Probe, began: float, within_s: float) -> None:
    news = ""
    for record in _records(launcher, attempt, began + within_s):
        for kind, phase in SHOWN:
            if record.kind == kind:
                probe.phases.setdefault(phase, time.monotonic() - began)
        if record.kind == Kind.NOTICE:
            news = str(json.loads(record.payload).get("message") or news)
        if record.kind == Kind.EXIT:
            probe.end = json.loads(record.payload)
            return
    probe.fault = f"It has not ended within {within_s:g} seconds." + (f" The last news: {news}" if news else "")


def _records(launcher: Launcher, attempt: Attempt, until: float) -> Iterator[Record]:
    position = 0
    while time.monotonic() < until:
        with closing(launcher.connect(attempt, position)) as link:
            try:
                while (left_s := until - time.monotonic()) > 0:
                    for record in link.read(min(1.0, left_s)):
                        position = record.position or position
                        yield record
            except LinkLost:
                continue
