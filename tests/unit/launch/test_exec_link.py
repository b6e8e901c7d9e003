"""The link to a pod's agent, against a cluster of one pod on loopback that fails in every way a real one was seen to."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import LinkLost
from app.domain.ids import new_run_id
from app.domain.ports import Attempt, Record
from app.domain.runs.spec import RunSpec
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.pod_watch import PodWatch
from app.launch.kubernetes.link import exec_session
from app.launch.kubernetes.link.exec_link import Cluster, ExecLink
from app.launch.kubernetes.link.exec_session import CROWDED_PAUSE_S, FEW, FIRST_PAUSE_S
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.servers import wait_until
from tests.unit.launch.fake_cluster import Exec, FakeCluster

UID = "uid-1"
SPEC = RunSpec(script="print(1)", language="python", files={"a.txt": "text"})
ATTEMPT = Attempt(new_run_id(), 1, SPEC, handle=UID)
RUNNING = {"phase": "Running", "containerStatuses": [{"name": name, "state": {"running": {}}} for name in ("agent", "run")]}


def pod(uid: str = UID, status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": pod_name(ATTEMPT), "uid": uid}, "status": status or RUNNING}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    made = FakeCluster(pod(), tmp_path)
    yield made
    made.close()


@pytest.fixture
def shared(cluster: FakeCluster) -> Cluster:
    """Return what the links share."""
    api, shape = KubeApi(kubeconfig=cluster.kubeconfig), Shape("runs", "image")
    return Cluster(api, shape, PodWatch(api, "runs", "all"))


@pytest.fixture
def connect(shared: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ExecLink]]:
    """Makes links; what the cluster knows is asked for often."""
    monkeypatch.setattr(exec_session, "LOOK_EVERY_S", 0.1)
    made: list[ExecLink] = []

    def connect(position: int = 0, attempt: Attempt = ATTEMPT) -> ExecLink:
        made.append(ExecLink(shared, attempt, position))
        return made[-1]

    yield connect
    for link in made:
        link.close()


def read(link: ExecLink, kind: Kind, count: int = 1) -> list[Record]:
    """Read until so many records of the kind have come, and return all records."""
    records: list[Record] = []
    wait_until(lambda: records.extend(link.read(0.2)) or sum(each.kind == kind for each in records) >= count, str(kind))  # type: ignore[func-returns-value]
    return records


def lost(link: ExecLink) -> list[Record]:
    """Read until the link is lost, and return what came before."""
    records: list[Record] = []
    with pytest.raises(LinkLost):
        wait_until(lambda: records.extend(link.read(0.2)), "the link was lost")  # type: ignore[func-returns-value]
    return records


def payloads(records: list[Record]) -> list[bytes]:
    return [record.payload for record in records if record.kind == Kind.STDOUT]


def test_the_program_starts_by_the_word_of_a_link_with_its_files_before_it(
    cluster: FakeCluster, connect: Callable[..., ExecLink]
) -> None:
    read(connect(), Kind.ACK, 3)
    assert [kind for kind, _ in cluster.heard] == [Kind.FILE, Kind.FILE, Kind.START]
    assert {body["name"]: body["text"] for body in cluster.heard_of(Kind.FILE)} == {"a.txt": "text", "script.py": "print(1)"}
    assert cluster.heard_of(Kind.START)[0]["uid"] == UID


@pytest.mark.parametrize("how", [Exec.cut, Exec.end])
def test_a_lost_connection_is_no_end_and_the_next_link_goes_on_at_its_place(
    cluster: FakeCluster, connect: Callable[..., ExecLink], how: Callable[[Exec], None]
) -> None:
    cluster.waits = False
    cluster.record(Kind.STDOUT, b"one")
    first = connect()
    records = read(first, Kind.STDOUT)
    cluster.record(Kind.STDOUT, b"two")
    records += read(first, Kind.STDOUT)
    cluster.hang_up(how)
    records += lost(first)
    assert payloads(records) == [b"one", b"two"]
    assert not [record for record in records if record.kind == Kind.EXIT]
    cluster.record(Kind.STDOUT, b"three")
    position = max(record.position for record in records)
    more = read(connect(position), Kind.STDOUT)
    assert (payloads(more), cluster.follows) == ([b"three"], [0, position])
    assert max(record.position for record in more) == len(cluster.spool)


def test_an_agent_that_cannot_be_reached_is_dialled_ever_more_rarely(
    cluster: FakeCluster, connect: Callable[..., ExecLink]
) -> None:
    cluster.refuses = 9
    read(connect(), Kind.HEARTBEAT)
    gaps = [later - earlier for earlier, later in itertools.pairwise(cluster.dials)]
    # One try comes early: when the watch begins, it tells a change.
    early = [number for number, gap in enumerate(gaps) if gap < 0.95 * FIRST_PAUSE_S * 1.3**number]
    assert (len(gaps), len(early)) in ((9, 0), (9, 1)), gaps


def test_a_connection_on_which_nobody_answers_is_given_up_and_dialled_again(
    cluster: FakeCluster, connect: Callable[..., ExecLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_session, "DIAL_WITHIN_S", 0.3)
    cluster.mute = True
    cluster.record(Kind.STDOUT, b"one")
    link = connect()
    records: list[Record] = []
    wait_until(lambda: records.extend(link.read(0.05)) or len(cluster.dials) >= 4, "it was dialled again")  # type: ignore[func-returns-value]
    assert records == []
    cluster.mute = False
    assert payloads(read(link, Kind.STDOUT)) == [b"one"]


def test_where_many_agents_are_awaited_each_is_dialled_once_the_cluster_shows_that_it_runs(
    cluster: FakeCluster, connect: Callable[..., ExecLink], shared: Cluster
) -> None:
    shared.shared.awaited.update(range(FEW))
    cluster.pod = pod(status={"phase": "Pending"})
    link = connect()
    for _ in range(3):
        link.read(0.1)
    assert cluster.dials == []
    cluster.change(pod())
    began = time.monotonic()
    read(link, Kind.HEARTBEAT)
    assert (len(cluster.dials), cluster.dials[0] < began + CROWDED_PAUSE_S / 2) == (1, True)
    assert shared.shared.awaited == set(range(FEW))


def test_a_link_that_is_given_up_awaits_nothing(connect: Callable[..., ExecLink], shared: Cluster) -> None:
    link = connect()
    assert len(shared.shared.awaited) == 1
    link.close()
    assert not shared.shared.awaited


def test_commands_wait_for_an_agent_that_is_not_there_yet(cluster: FakeCluster, connect: Callable[..., ExecLink]) -> None:
    cluster.refuses = 3
    link = connect()
    link.send(Kind.SIGNAL, {"id": "stop", "signal": "TERM"})
    wait_until(lambda: link.read(0.1) is None or cluster.heard_of(Kind.SIGNAL), "the command arrived")
    assert len(cluster.heard_of(Kind.SIGNAL)) == 1


def test_why_a_pod_leaves_is_sent_however_late_the_api_tells_its_events(
    cluster: FakeCluster, connect: Callable[..., ExecLink], shared: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.waits = False
    link = connect()
    read(link, Kind.HEARTBEAT)
    heard: list[list[int]] = []

    def events(self: Cluster, uid: str) -> list[dict[str, Any]]:
        wait_until(lambda: cluster.heard_of(Kind.LEAVING), "it was sent before the answer")
        heard.append([kind for kind, _ in cluster.heard])
        return []

    monkeypatch.setattr(Cluster, "events", events)
    evicted = pod(status={**RUNNING, "reason": "Evicted", "message": "low on memory"})
    evicted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.change(evicted)
    wait_until(lambda: link.read(0.05) is None or cluster.heard_of(Kind.NOTE), "the fault was told")
    assert heard and Kind.LEAVING in heard[0]


def test_notices_that_a_broken_connection_did_not_take_are_told_by_the_next_link(
    cluster: FakeCluster, connect: Callable[..., ExecLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.waits = False
    first = connect()
    read(first, Kind.HEARTBEAT)

    def broken(self: object, data: bytes) -> None:
        raise LinkLost

    with monkeypatch.context() as patched:
        patched.setattr("app.launch.kubernetes.link.exec_socket.ExecSocket.send", broken)
        cluster.change(pod(status={**RUNNING, "reason": "Evicted", "message": "low on memory"}))
        lost(first)
    first.close()
    (told,) = [record for record in read(connect(), Kind.NOTICE) if record.kind == Kind.NOTICE]
    assert b"low on memory" in told.payload


@pytest.mark.trap("R1")
def test_a_pod_of_another_uid_is_told_as_the_loss_of_ours_and_gets_no_word(
    cluster: FakeCluster, connect: Callable[..., ExecLink]
) -> None:
    cluster.pod = pod("uid-2")
    (end,) = [record for record in read(connect(), Kind.EXIT) if record.kind == Kind.EXIT]
    assert b'"PodDeleted"' in end.payload
    # What a link that takes it for its own would say names the uid, which the agent compares.
    assert all(body["uid"] == UID for body in cluster.heard_of(Kind.START))


def test_a_pod_that_is_gone_is_an_end_and_one_only(cluster: FakeCluster, connect: Callable[..., ExecLink]) -> None:
    cluster.waits = False
    link = connect()
    read(link, Kind.HEARTBEAT)
    cluster.pod = None
    cluster.hang_up(Exec.cut)
    lost(link)
    again = connect()
    assert b'"PodDeleted"' in read(again, Kind.EXIT)[-1].payload
    assert [record for _ in range(5) for record in again.read(0.1) if record.kind == Kind.EXIT] == []


@pytest.mark.parametrize(
    ("agent", "pod_status", "reason"),
    [
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, {}, b"AgentLost"),
        ({"terminated": {"exitCode": 137}}, {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, b"Evicted"),
        ({"running": {}}, {"phase": "Failed", "reason": "NodeLost"}, b"NodeLost"),
    ],
)
def test_what_only_the_cluster_knows_ends_an_attempt_whose_agent_is_gone(
    cluster: FakeCluster, connect: Callable[..., ExecLink], agent: dict[str, Any], pod_status: dict[str, Any], reason: bytes
) -> None:
    cluster.mute = True
    cluster.refuses = 1000
    containers = [{"name": "agent", "state": agent}, {"name": "run", "state": {"running": {}}}]
    cluster.pod = pod(status={"containerStatuses": containers, **pod_status})
    assert reason in read(connect(), Kind.EXIT)[-1].payload


def test_a_node_that_answers_again_within_its_time_ends_nothing(
    cluster: FakeCluster, connect: Callable[..., ExecLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exec_session.LASTING_S, "NodeLost", 0.5)
    lost_node = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}
    taken = pod(status={**RUNNING, **lost_node})
    taken["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.pod, cluster.waits = taken, False
    heard = connect()
    assert not [record for record in read(heard, Kind.HEARTBEAT) if record.kind == Kind.EXIT]
    wait_until(lambda: heard.read(0.05) is None or cluster.heard_of(Kind.LEAVING), "the agent was told why it leaves")
    assert [body["reason"] for body in cluster.heard_of(Kind.LEAVING)] == ["NodeLost"]
    cluster.record(Kind.STDOUT, b"still here")
    for _ in range(8):  # longer than the fault may last
        records = heard.read(0.1)
        assert not [record for record in records if record.kind == Kind.EXIT]
    cluster.refuses = 1000
    assert b'"NodeLost"' in read(connect(), Kind.EXIT)[-1].payload


def test_a_fault_lasts_from_link_to_link(
    cluster: FakeCluster, connect: Callable[..., ExecLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exec_session.LASTING_S, "LaunchFailed", 1.0)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    cluster.pod = pod(status={"phase": "Pending", "containerStatuses": [{"name": "agent", "state": waiting}]})
    cluster.refuses = 100_000
    ends: list[Record] = []

    def for_a_moment() -> bool:
        link = connect()
        ends.extend(record for _ in range(3) for record in link.read(0.1) if record.kind == Kind.EXIT)
        link.close()
        return bool(ends)

    wait_until(for_a_moment, "one of many links saw that it lasts", deadline_s=10.0)
    assert b'"LaunchFailed"' in ends[0].payload


def test_what_holds_a_start_up_is_told_when_it_changes_and_taken_back(
    cluster: FakeCluster, connect: Callable[..., ExecLink]
) -> None:
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    cluster.pod = pod(status={"phase": "Pending", "conditions": [no_room]})
    cluster.refuses = 100_000
    link = connect()
    told = [json.loads(record.payload)["why"] for record in read(link, Kind.HELD) if record.kind == Kind.HELD]
    assert told == ["No node has room for it: 0/2 nodes."]
    assert [record for _ in range(4) for record in link.read(0.1) if record.kind == Kind.HELD] == [], "it is the same"
    cluster.change(pod(status={"phase": "Pending"}))
    assert json.loads(read(link, Kind.HELD)[-1].payload) == {"why": None}


def test_a_link_is_woken_and_closed_from_outside(cluster: FakeCluster, connect: Callable[..., ExecLink]) -> None:
    cluster.mute = True
    link = connect()
    link.wake()
    assert link.read(3600) == []
    link.close()
    link.close()
    link.wake()
