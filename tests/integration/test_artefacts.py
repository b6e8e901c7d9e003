"""What runs leave to be kept, on three web replicas and two workers: read from each, whoever collected it, removed by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from app.store.engine import make_engine
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.servers import free_port, wait_until

KEEP_S = 3600


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def site(postgres, storage: Path) -> Iterator[Podwire]:
    made = Podwire(postgres, workspaces_dir=storage, workspaces_keep_s=KEEP_S, tick_s=0.1, workspaces_within_s=40)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(site: Podwire) -> Iterator[Client]:
    yield site.client()
    site.must_run()


def ready(client: Client) -> bool:
    with suppress(OSError):
        return client.get("/readyz").status == 200
    return False


def sql(site: Podwire, statement: str, **values: object) -> None:
    engine = make_engine(site.database_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def listed(client: Client, run: str, query: str = "") -> dict[str, object]:
    return client.get(f"/v1/runs/{run}/artefacts{query}").must(200).json


def go_on(client: Client, run: str) -> None:
    (question,) = client.wait_question(run)
    client.answer(question["id"], "go").must(200)


def sizes(page: dict[str, object]) -> dict[str, int]:
    return {item["name"]: item["size_bytes"] for item in page["items"]}  # type: ignore[index,attr-defined]


@pytest.mark.trap("W1")
@pytest.mark.trap("W3")
def test_what_two_runs_of_one_label_leave_is_apart_and_the_same_on_every_replica(client: Client, storage: Path) -> None:
    script = """cd $PODWIRE_ARTEFACTS; ls -A; mkdir sub; echo "$1" > same.txt
        head -c 3000000 /dev/urandom | tee sub/data | sha256sum; ask Go?"""
    runs = [client.submit(script, args=[word], labels={"workspace": "../Agent X"}) for word in ("one", "two")]
    for run in runs:
        client.wait_status(run, "waiting")
        assert listed(client, run)["state"] == "none"
    for run in runs:
        go_on(client, run)
    for run, word in zip(runs, (b"one\n", b"two\n"), strict=True):
        assert client.wait_end(run)["status"] == "succeeded"
        digest = client.output(run).split()[0].decode()
        for replica in range(3):
            page = listed(client.at(replica), run)
            assert (page["state"], page["files"], page["left_out"], sizes(page)) == (
                "kept",
                2,
                0,
                {"same.txt": 4, "sub/data": 3_000_000},
            )
            for item in page["items"]:  # type: ignore[attr-defined]
                answer = client.at(replica).get(item["url"]).must(200)
                if item["name"] == "same.txt":
                    assert answer.body == word
                else:
                    assert hashlib.sha256(answer.body).hexdigest() == digest
                assert answer.headers["content-disposition"].startswith("attachment; ")
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["content-type"] == "application/octet-stream"
        part = client.get(f"/v1/runs/{run}/artefacts/sub/data", {"Range": "bytes=-10"}).must(206)
        assert len(part.body) == 10 and part.headers["content-range"] == "bytes 2999990-2999999/3000000"
    folders = {path.name: path.parent.name for path in storage.glob("*/r*")}
    assert {folders[run] for run in runs} == {next(path.name for path in storage.iterdir() if path.name.startswith("agent-x-"))}
    assert all(path.resolve().is_relative_to(storage) and not path.is_symlink() for path in storage.rglob("*"))


@pytest.mark.trap("W4")
def test_hostile_names_are_downloaded_under_their_own_names_and_nothing_else_is(client: Client) -> None:
    script = r"""cd $PODWIRE_ARTEFACTS; ln -s /etc/passwd link; ln -s /etc dir; mkfifo fifo
        printf a > 'a?b#c%41 "q" \back'; printf b > $'line\nend'; printf c > ünï; printf d > $'bad\xff'
        mkdir -p ..x/...; printf e > ..x/.../e"""
    run = client.submit(script, labels={"workspace": "../../../../tmp/escape"})
    client.wait_end(run)
    page = listed(client, run)
    expected = {'a?b#c%41 "q" \\back': b"a", "line\nend": b"b", "ünï": b"c", "bad\\xff": b"d", "..x/.../e": b"e"}
    assert set(sizes(page)) == set(expected) and page["left_out"] == 3
    assert "2 (symbolic links)" in str(page["message"]) and "1 (not regular files)" in str(page["message"])
    for item in page["items"]:  # type: ignore[attr-defined]
        answer = client.get(item["url"]).must(200)
        assert answer.body == expected[item["name"]]
        assert "\n" not in answer.headers["content-disposition"] and "/" not in answer.headers["content-disposition"]
    for path in (
        "../../../etc/passwd",
        "link",
        "dir/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "x%00y",
        "/etc/passwd",
    ):
        client.get(f"/v1/runs/{run}/artefacts/{path}").must(404)


def test_others_see_nothing_of_it(client: Client, site: Podwire) -> None:
    run = client.submit("echo x > $PODWIRE_ARTEFACTS/x")
    client.wait_end(run)
    stranger = site.client()
    for path in (f"/v1/runs/{run}/artefacts", f"/v1/runs/{run}/artefacts/x"):
        client.get(path).must(200)
        stranger.get(path).refused(404, "not_found")
        Client(stranger.urls).get(path).refused(401, "unauthenticated")


def test_lists_have_pages(client: Client) -> None:
    run = client.submit("cd $PODWIRE_ARTEFACTS; for i in $(seq 10 39); do echo $i > f$i; done")
    client.wait_end(run)
    names, path = [], f"/v1/runs/{run}/artefacts?limit=7"
    while path:
        page = client.get(path).must(200).json
        names += [item["name"] for item in page["items"]]  # type: ignore[attr-defined,index]
        path = page["next"]  # type: ignore[assignment]
    assert names == [f"f{number}" for number in range(10, 40)]


@pytest.mark.trap("W2")
def test_two_runs_with_a_session_file_of_one_name_keep_both_and_poison_nobody(client: Client) -> None:
    script = """import os, sys, podwire
path = os.path.join(os.environ["PODWIRE_ARTEFACTS"], "session.jsonl")
for number in range(3):
    with open(path, "a") as file: print(sys.argv[1], number, file=file)
    podwire.ask("Next?")
sys.exit(int(sys.argv[2]))"""
    label = {"workspace": "agent"}
    runs = [client.submit(script, language="python", args=args, labels=label) for args in (["first", "1"], ["second", "0"])]
    for _ in range(3):
        for run in runs:
            client.wait_status(run, "waiting")
            go_on(client, run)
    assert [client.wait_end(run)["status"] for run in runs] == ["failed", "succeeded"]
    for run, word in zip(runs, ("first", "second"), strict=True):
        lines = client.get(f"/v1/runs/{run}/artefacts/session.jsonl").must(200).body.decode().split("\n")
        assert lines == [f"{word} {number}" for number in range(3)] + [""]
    after = client.submit("ls -A $PODWIRE_ARTEFACTS", labels=label)
    client.wait_end(after)
    assert client.output(after) == b"", "nothing of a failed run reaches the next one"


def test_a_worker_killed_in_mid_run_takes_nothing_along(client: Client, site: Podwire) -> None:
    run = client.submit("cd $PODWIRE_ARTEFACTS; echo early > early; ask Go? >/dev/null; echo late > late")
    client.wait_status(run, "waiting")
    site.workers[0].kill()
    go_on(client, run)
    site.workers[0].start()
    wait_until(lambda: site._serves(site.workers[0]), "the worker was back")
    assert client.wait_end(run)["status"] == "succeeded"
    assert sizes(listed(client, run)) == {"early": 6, "late": 5}


def test_workers_killed_while_they_collect_leave_it_to_the_next(client: Client, site: Podwire, storage: Path) -> None:
    """The storage is away, so that collecting goes on until both workers are killed over it; then it comes back."""
    away = storage.with_name("away")
    storage.rename(away)
    try:
        run = client.submit("cd $PODWIRE_ARTEFACTS; for i in $(seq 200); do echo $i > $i; done")
        wait_until(lambda: listed(client, run)["state"] == "collecting", "the collecting had begun")
        assert client.run(run)["status"] == "running"
        for worker in site.workers:
            worker.kill()
    finally:
        away.rename(storage)
    for worker in site.workers:
        worker.start()
    site.wait_ready()
    assert client.wait_end(run)["status"] == "succeeded"
    page = listed(client, run)
    assert (page["state"], page["files"]) == ("kept", 200)


def test_a_storage_that_stays_away_holds_no_run_for_ever(client: Client, storage: Path) -> None:
    away = storage.with_name("away")
    storage.rename(away)
    try:
        run = client.submit("echo x > $PODWIRE_ARTEFACTS/x")
        assert client.wait_end(run, 90)["status"] == "succeeded"
    finally:
        away.rename(storage)
    page = listed(client, run)
    assert (page["state"], page["files"]) == ("lost", 0) and "PODWIRE_WORKSPACES_DIR" in str(page["message"])


def test_a_replica_without_the_storage_says_what_to_do(client: Client, site: Podwire, tmp_path: Path) -> None:
    run = client.submit("echo x > $PODWIRE_ARTEFACTS/x")
    client.wait_end(run)
    for name, folder in (("none", ""), ("missing", str(tmp_path / "missing")), ("other", str(tmp_path))):
        odd = site.web[0].variant(name, {"PODWIRE_WORKSPACES_DIR": folder, "PODWIRE_BIND": f"127.0.0.1:{(port := free_port())}"})
        odd.start()
        try:
            other = Client([f"http://127.0.0.1:{port}"], client.token)
            wait_until(lambda other=other: ready(other), "the odd replica was ready")  # type: ignore[misc]
            assert sizes(listed(other, run)) == {"x": 2}, "the list is in SQL"
            problem = other.get(f"/v1/runs/{run}/artefacts/x").refused(503, "workspaces_unavailable")
            assert "PODWIRE_WORKSPACES_DIR" in str(problem["detail"])
        finally:
            odd.stop()
    (file,) = storage_files(site, run)
    file.unlink()
    client.get(f"/v1/runs/{run}/artefacts/x").refused(410, "artefact_missing")


def storage_files(site: Podwire, run: str) -> list[Path]:
    return [path for path in Path(site.environment["PODWIRE_WORKSPACES_DIR"]).glob(f"*/{run}/*/*")]


@pytest.mark.trap("W5")
def test_only_what_ended_long_ago_is_removed(client: Client, site: Podwire, storage: Path) -> None:
    writes = "echo x > $PODWIRE_ARTEFACTS/x"
    old, fresh = (client.submit(writes, labels={"workspace": "swept"}) for _ in range(2))
    live = client.submit(f"{writes}; ask Go? > /dev/null", labels={"workspace": "swept"})
    for run in (old, fresh):
        client.wait_end(run)
    client.wait_status(live, "waiting")
    # A run that lives has been there for long, and left something in an attempt before this one.
    sql(site, "UPDATE runs SET created_at = created_at - 1000000, started_at = started_at - 1000000 WHERE id = :run", run=live)
    columns = "attempt, state, token, storage, files, size_bytes, left_out, message"
    sql(
        site,
        f"INSERT INTO artefacts (run_id, began_at, {columns}) "
        f"SELECT :live, began_at - 1000000, {columns} FROM artefacts WHERE run_id = :run",
        live=live,
        run=old,
    )
    kept = storage / "swept" / live / "1-1" / "000001-x"
    kept.parent.mkdir(parents=True)
    kept.write_text("x\n")
    sql(site, "UPDATE artefacts SET began_at = began_at - 1000000 WHERE run_id = :run", run=old)
    sql(site, "UPDATE runs SET ended_at = ended_at - :keep WHERE id = :run", keep=KEEP_S + 1, run=old)
    wait_until(lambda: client.get(f"/v1/runs/{old}/artefacts").status == 410, "the old one's were removed", 30)
    for path in (f"/v1/runs/{old}/artefacts", f"/v1/runs/{old}/artefacts/x"):
        problem = client.get(path).refused(410, "artefacts_removed")
        assert "1 h after its end" in str(problem["detail"])
    wait_until(lambda: storage_files(site, old) == [], "the files were gone")
    assert sizes(listed(client, fresh)) == {"x": 2} and client.get(f"/v1/runs/{fresh}/artefacts/x").must(200).body == b"x\n"
    assert kept.read_text() == "x\n", "nothing of a run that lives is touched"
    assert sum(worker.log.read_text().count(f"run {old}: its artefacts were removed") for worker in site.workers) == 1
    metrics = client.get("/metrics").must(200).body.decode()
    assert "podwire_artefacts_removed_total 1" in metrics
    sql(site, "DELETE FROM artefacts WHERE run_id = :run", run=live)
    go_on(client, live)
    assert client.wait_end(live)["status"] == "succeeded"
