"""Leases: lost before anybody else can have them, released when nobody here follows the run, given up when slots are short."""

from __future__ import annotations

import pytest

from app.supervise.worker.leases import Leases


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Runs:
    """What SQL holds as ours."""

    def __init__(self) -> None:
        self.ours: set[tuple[str, int]] = set()
        self.released: list[tuple[str, int]] = []

    def renew(self, process_id: str, lease_s: float) -> set[tuple[str, int]]:
        return set(self.ours)

    def release(self, run_id: str, token: int) -> None:
        self.ours.discard((run_id, token))
        self.released.append((run_id, token))


def leases_of(runs: Runs, clock: Clock, slots: int = 64) -> Leases:
    return Leases(runs, "process", 20, 5, slots, clock)  # type: ignore[arg-type]


@pytest.mark.trap("P3")
def test_a_lease_that_cannot_be_renewed_is_lost_before_it_runs_out() -> None:
    clock = Clock()
    leases = leases_of(Runs(), clock)
    with leases.hold("r1", 1, claimed_at=100.0):
        clock.now = 114.9
        assert leases.held("r1", 1)
        clock.now = 115.0
        assert not leases.held("r1", 1)
    assert not leases.held("r1", 1)


def test_a_lease_that_sql_does_not_know_as_ours_is_lost_at_once() -> None:
    runs = Runs()
    leases = leases_of(runs, Clock())
    runs.ours = {("r1", 1)}
    with leases.hold("r1", 1, 100.0), leases.hold("r2", 4, 100.0):
        leases.renew()
        assert leases.held("r1", 1) and not leases.held("r2", 4)


@pytest.mark.trap("R5")
def test_what_a_fault_left_behind_is_released_but_never_what_is_just_being_claimed() -> None:
    runs = Runs()
    leases = leases_of(runs, Clock())
    runs.ours = {("left", 3), ("claimed", 1)}
    leases.renew()
    assert runs.released == []
    with leases.hold("claimed", 1, 100.0):
        leases.renew()
    assert runs.released == [("left", 3)]


@pytest.mark.trap("Q9")
def test_only_as_many_runs_make_room_as_are_needed() -> None:
    leases = leases_of(Runs(), Clock(), slots=2)
    with leases.hold("r1", 1, 100.0):
        assert not leases.makes_room("r1", 1)
        with leases.hold("r2", 1, 100.0):
            assert leases.makes_room("r1", 1)
            assert not leases.makes_room("r2", 1)
            leases.stays("r1", 1)
            assert leases.makes_room("r2", 1)
