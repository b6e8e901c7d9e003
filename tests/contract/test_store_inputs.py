"""Input for a run: each piece once, in one order, until it is delivered."""

from __future__ import annotations

import pytest

from app.domain.errors import Conflict, LimitReached, NotFound, RunEnded
from app.store.runs import inputs
from app.store.runs.inputs import Input


@pytest.mark.trap("Q12")
def test_input_is_kept_once_and_in_order(house, other_house, at_once):
    run = house.queued(stdin=True)
    results = at_once(
        *(
            lambda h=h, n=n: h.store.inputs.add(run.id, f"i{n % 5}", f"{n % 5}\0\ud800\n")
            for n, h in enumerate((house, other_house) * 5)
        )
    )
    assert {type(result) for result in results} == {Input}, results
    waiting = house.store.inputs.undelivered(run.id)
    assert [item.number for item in waiting] == [1, 2, 3, 4, 5] and len({item.data for item in waiting}) == 5
    house.store.inputs.delivered(run.id, 1)
    assert house.store.inputs.undelivered(run.id) == waiting[1:]
    again = house.store.inputs.add(run.id, "i0", "something else\n")
    assert again.data.startswith("0"), "the id decides, not the text"


def test_input_that_nobody_will_read_is_refused(house, monkeypatch):
    deaf, run = house.queued(), house.queued(stdin=True)
    with pytest.raises(NotFound):
        house.store.inputs.add("nobody", "i1", "x")
    with pytest.raises(Conflict):
        house.store.inputs.add(deaf.id, "i1", "x")
    monkeypatch.setattr(inputs, "MAX_WAITING", 2)
    house.store.inputs.add(run.id, "i1", "x")
    last = house.store.inputs.add(run.id, "i2", "", eof=True)
    assert last.eof and house.store.inputs.add(run.id, "i2", "", eof=True) == last
    with pytest.raises(Conflict):
        house.store.inputs.add(run.id, "i3", "after the end of input")
    full = house.queued(stdin=True)
    for number in range(2):
        house.store.inputs.add(full.id, f"i{number}", "x")
    with pytest.raises(LimitReached):
        house.store.inputs.add(full.id, "i3", "x")
    house.ended(run)
    with pytest.raises(RunEnded):
        house.store.inputs.add(run.id, "i4", "x")
