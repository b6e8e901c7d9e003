"""Secret environment: the program has it, and nothing that can be read anywhere else does, before and after the end."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import wait_until

SECRET = "correct-horse-battery-staple-7319"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()
SCRIPT = 'printf %s "$API_KEY" | sha256sum | cut -d" " -f1; ask --confirm "Well?"'
ENV = {"API_KEY": {"value": SECRET, "secret": True}, "OPEN": {"value": "shown", "secret": False}, "PLAIN": "text"}


def redis_texts(client: redis.Redis) -> Iterator[str]:
    """Yield everything that Redis holds, as text."""
    read = {
        "string": client.get,
        "list": lambda key: client.lrange(key, 0, -1),
        "stream": client.xrange,
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    for key in client.scan_iter():
        kind = client.type(key).decode()  # type: ignore[union-attr]
        yield f"{key!r} {read[kind](key)!r}"  # type: ignore[operator]


def sql_texts(podwire: Podwire) -> Iterator[str]:
    """Yield every row of every table, as text."""
    with psycopg.connect(podwire.database_url) as sql:
        tables = [row[0] for row in sql.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        assert {"runs", "run_secrets", "output_chunks"} <= set(tables)
        for table in tables:
            yield from (f"{table} {row[0]}" for row in sql.execute(f'SELECT t::text FROM "{table}" t'.encode()))


def files_with(folder: Path, text: str) -> list[Path]:
    found = []
    # Not by glob, which fails over a folder that is removed meanwhile; os.walk passes it over.
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(OSError):
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(path)
    return found


def command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


def test_only_the_program_ever_sees_a_secret(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=2, workers=1, log_level="DEBUG")
    client = podwire.client()
    body = {"script": SCRIPT, "language": "bash", "env": ENV}
    made = client.post("/v1/runs", body, {"Idempotency-Key": "k"}).must(201)
    run = str(made.json["id"])
    watcher = watch(client, run)
    (question,) = client.wait_question(run)
    watcher.wait_for(DIGEST)

    spec = client.get(f"/v1/runs/{run}").json["spec"]
    assert isinstance(spec, dict)
    assert (spec["env"], spec["secrets"]) == ({"OPEN": "shown", "PLAIN": "text"}, ["API_KEY"])
    seen = [made.body, *(client.get(f"/v1/runs{more}").must(200).body for more in ("", f"/{run}", f"/{run}/output"))]
    assert not any(SECRET.encode() in text for text in seen)
    assert SECRET not in command_lines()
    holding = files_with(podwire.folder, SECRET)
    assert all(path.stat().st_mode & 0o077 == 0 for path in holding), holding
    assert any(SECRET in text for text in sql_texts(podwire)), "it is where a takeover finds it"
    rows = [text for text in sql_texts(podwire) if SECRET in text]
    assert [row.split(" ")[0] for row in rows] == ["run_secrets"]

    assert client.post("/v1/runs", body, {"Idempotency-Key": "k"}).must(200).json["id"] == run
    other = {**body, "env": {**ENV, "API_KEY": {"value": "another", "secret": True}}}
    client.post("/v1/runs", other, {"Idempotency-Key": "k"}).refused(422, "idempotency_mismatch")

    client.answer(str(question["id"]), True).must(200)
    told = watcher.finish(None)
    assert SECRET not in repr(told)
    wait_until(lambda: not files_with(podwire.folder / "state", SECRET), "the attempt's files were removed")
    texts = list(sql_texts(podwire))
    assert any(run in text for text in texts)
    assert not any(SECRET in text for text in texts), "the end has wiped it"
    assert not any(SECRET in text for text in redis_texts(podwire.redis.client()))
    assert files_with(podwire.folder, SECRET) == []
    assert all(process.log.stat().st_size for process in podwire.processes), "there were logs to search"


def test_a_run_that_is_cancelled_in_the_queue_leaves_nothing(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1, max_active=0)
    client = podwire.client()
    run = client.post("/v1/runs", {"script": SCRIPT, "language": "bash", "env": ENV}).must(201).json["id"]
    assert any(SECRET in text for text in sql_texts(podwire))
    client.cancel(str(run)).must(200, 202)
    client.wait_end(str(run))
    assert not any(SECRET in text for text in sql_texts(podwire))


def test_faults_do_not_repeat_what_was_sent(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1)
    client = podwire.client()
    wrong: list[object] = [
        {"A": {"value": SECRET, "secret": "yes"}},
        {"A": {"value": SECRET, "secret": True, SECRET[:5]: 1}},
        {"A": {"value": [SECRET], "secret": True}},
        {"A": [SECRET]},
        {"PODWIRE_A": {"value": SECRET, "secret": True}},
        {"A" * 254: {"value": SECRET, "secret": True}},
    ]
    for env in wrong:
        answer = client.post("/v1/runs", {"script": "x", "language": "bash", "env": env}).must(422)
        assert SECRET not in answer.body.decode(), env
        assert re.search(rb'"env\.[A-Z_.]+', answer.body), answer.body
