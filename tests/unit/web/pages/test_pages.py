"""What the pages show and do for a person without JavaScript."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.queue.admission import Limits
from app.domain.runs.attempts import all_attempts
from app.domain.runs.events import Entry, Kind, encode, output_fields
from app.domain.runs.evidence import Evidence
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.question import parse_asked
from app.domain.runs.retry import Retry
from app.domain.runs.run import Outcome, Progress, Reason, Run, Status
from app.domain.runs.usage import Use
from app.store.log.chunks import Chunk
from tests.unit.web.doubles import Site
from tests.unit.web.pages.browser import Browser, Forms

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


def running(site: Site, **fields: object) -> Run:
    """A run of Ann's that a supervisor holds."""
    run_id = site.submit(**fields)["id"]
    site.services.store.queue.dispatch_next(Limits(100, 10, 100, 10))
    claimed = site.services.store.leases.claim(run_id, "p1", 60)
    if claimed is None:
        raise AssertionError("the run could not be claimed")
    return site.services.store.runs.save(claimed, transition(claimed, Step.START, site.services.store.clock.now()))


def ask(site: Site, run: Run, number: int = 1, **fields: object) -> str:
    stored, _ = site.services.store.questions.ask(
        run.id, run.token, 1, parse_asked({"number": number, "text": "Really?", **fields}), 10
    )
    return stored.id


def test_the_form_makes_a_run_and_the_same_form_makes_no_second(site: Site, ann: Browser) -> None:
    form = Forms(ann.get("/new").text).found["/new"]
    fields = {
        **form,
        "script": "print(1)\r\nprint(2)",
        "args": "a 'b c'",
        "env": "A=1\r\nB=x=y",
        "labels": "team=red",
        "memory": "64 MiB",
        "timeout": "90",
        "priority": "high",
        "stdin": "1",
    }
    first = ann.client.post("/new", data=fields)
    assert first.status_code == 303
    run = site.services.store.runs.get(first.location.rsplit("/")[-1])
    assert run is not None and run.owner_id == site.people["ann"].id and run.priority == "high"
    spec = run.spec
    assert (spec.script, spec.language, spec.args) == ("print(1)\nprint(2)", "python", ("a", "b c"))
    assert (dict(spec.env), dict(spec.labels)) == ({"A": "1", "B": "x=y"}, {"team": "red"})
    assert (spec.memory_bytes, spec.timeout_s, spec.stdin, spec.network) == (64 * 1024**2, 90, True, True)
    assert ann.client.post("/new", data=fields).location == first.location
    assert ann.client.post("/new", data={**fields, "args": "other"}).location != first.location
    again = Forms(ann.get(f"/new?from={run.id}").text).found["/new"]
    kept = ("script", "language", "args", "env", "labels", "timeout", "priority", "stdin")
    assert {name: again[name] for name in kept} == {
        "script": "print(1)\nprint(2)",
        "language": "python",
        "args": "a 'b c'",
        "env": "A=1\nB=x=y",
        "labels": "team=red",
        "timeout": "90s",
        "priority": "high",
        "stdin": "1",
    }


def test_a_command_takes_the_place_of_a_script(site: Site, ann: Browser) -> None:
    answer = ann.send("/new", "/new", kind="command", command="echo 'a b'", script="left over")
    run = site.services.store.runs.get(answer.location.rsplit("/")[-1])
    assert run is not None and run.spec.command == ("echo", "a b") and run.spec.script is None


def test_what_is_tried_again_is_ticked_in_the_form(site: Site, ann: Browser) -> None:
    fields = {"script": "exit 1", "language": "bash", "max_attempts": "4", "retry.NodeLost": "1", "retry.OOMKilled": "1"}
    answer = ann.send("/new", "/new", **fields)
    run = site.services.store.runs.get(answer.location.rsplit("/")[-1])
    assert run is not None and run.spec.retry == Retry(4, ("NodeLost", "OOMKilled"))
    again = Forms(ann.get(f"/new?from={run.id}").text).found["/new"]
    ticked = {name for name in again if name.startswith("retry.")}
    assert (again["max_attempts"], ticked) == ("4", {"retry.NodeLost", "retry.OOMKilled"})
    plain = ann.send("/new", "/new", script="exit 1", language="bash").location
    kept = site.services.store.runs.get(plain.rsplit("/")[-1])
    assert kept is not None and kept.spec.retry is None
    for wrong, said in (("many", "is not a whole number"), ("11", "must lie between 1 and 10")):
        refused = ann.send("/new", "/new", script="exit 1", language="bash", max_attempts=wrong)
        assert refused.status_code == 422 and said in refused.text and f'value="{wrong}"' in refused.text


def test_every_fault_stands_beside_its_field_and_the_input_is_kept(ann: Browser) -> None:
    answer = ann.send(
        "/new", "/new", script="keep me", cpu="99", memory="much", env="NO SIGN", priority="urgent", args="'", labels="-=x"
    )
    assert answer.status_code == 422
    for name in ("cpu", "memory", "env", "priority", "args", "labels"):
        assert f'id="{name}-problem"' in answer.text, name
    kept = Forms(answer.text).found["/new"]
    assert (kept["script"], kept["memory"], kept["env"], kept["args"]) == ("keep me", "much", "NO SIGN", "'")


def test_uploaded_files_are_kept_over_a_fault(site: Site, ann: Browser) -> None:
    form = Forms(ann.get("/new").text).found["/new"]
    upload = (io.BytesIO(b"x,y\n1,2\n"), "data.csv")
    faulty = ann.client.post("/new", data={**form, "script": "", "upload": [upload, (io.BytesIO(b"\xff"), "raw.bin")]})
    assert faulty.status_code == 422 and "raw.bin is not UTF-8 text" in faulty.text and 'id="script-problem"' in faulty.text
    kept = Forms(faulty.text).found["/new"]
    answer = ann.client.post("/new", data={**kept, "script": "cat data.csv", "language": "bash"})
    run = site.services.store.runs.get(answer.location.rsplit("/")[-1])
    assert run is not None and dict(run.spec.files) == {"data.csv": "x,y\n1,2\n"}


def test_secrets_never_go_back_to_the_browser(site: Site, ann: Browser) -> None:
    faulty = ann.send("/new", "/new", script="x", cpu="99", secrets="KEY=s3cret\r\nTOKEN=")
    assert faulty.status_code == 422 and "s3cret" not in faulty.text
    assert "TOKEN has no value" in faulty.text and 'id="secrets-problem"' in faulty.text
    assert Forms(faulty.text).found["/new"]["secrets"] == "KEY=\nTOKEN="
    for wrong in ("KEY=a\ns3cret", "KEY=s3cret\nPODWIRE_X=s3cret", "A=s3cret"):
        faulty = ann.send("/new", "/new", script="x", env="A=1", secrets=wrong)
        assert faulty.status_code == 422 and "s3cret" not in faulty.text, wrong
        assert 'id="secrets-problem"' in faulty.text and 'id="env-problem"' not in faulty.text, wrong
    answer = ann.send("/new", "/new", script="x", env="A=1", secrets="KEY=s3cret=")
    run_id = answer.location.rsplit("/")[-1]
    run = site.services.store.runs.get(run_id)
    assert run is not None and (dict(run.spec.env), run.spec.secrets) == ({"A": "1"}, ("KEY",))
    assert site.services.store.secrets.of_run(run_id) == {"KEY": "s3cret="}
    pages = [ann.get(f"/runs/{run_id}").text, ann.get("/runs").text, ann.get(f"/new?from={run_id}").text]
    assert not any("s3cret" in text for text in pages)
    assert "<dt>Secrets</dt><dd>KEY</dd>" in pages[0]
    assert Forms(pages[2]).found["/new"]["secrets"] == "KEY="


def test_the_same_form_with_another_secret_is_another_run(ann: Browser) -> None:
    form = {**Forms(ann.get("/new").text).found["/new"], "script": "x", "secrets": "KEY=1"}
    first = ann.client.post("/new", data=form).location
    assert ann.client.post("/new", data=form).location == first
    assert ann.client.post("/new", data={**form, "secrets": "KEY=2"}).location != first


def test_the_attempts_of_a_run_are_told_apart(site: Site, ann: Browser) -> None:
    run = running(site)
    outcome = Outcome(Status.FAILED, Reason.NODE_LOST, HOSTILE)
    events = [(Kind.OUTPUT, output_fields("stdout", 0, b"first\n")), (Kind.STATUS, {"status": "queued", "attempt": 2})]
    entries = [Entry(seq, encode(1, seq, 1.0, kind, fields)) for seq, (kind, fields) in enumerate(events, 1)]
    now = site.services.store.clock.now()
    part = replace(all_attempts(run, ())[0], ended_at=now, outcome=outcome, last_seq=2, last_offset=6)
    after = transition(run, Step.RETRY, now, wait_s=60.0)
    assert site.services.store.attempts.retry(run, after, part, Chunk.pack(entries, 1, 0, 6, 9), Progress(1, 2, 6, 9))
    text = ann.get(f"/runs/{run.id}").text
    assert "attempt 2 of 3 in about 60 s: NodeLost" in text and "Attempt 1: <b>NodeLost.</b>" in text and HOSTILE not in text
    assert f"/v1/runs/{run.id}/output?attempt=1" in text and "output?attempt=2" not in text
    assert ann.get(f"/v1/runs/{run.id}/output?attempt=1").text == "first\n"


CLUSTER = {
    "launcher": "kubernetes",
    "kube_namespace": "runs",
    "kube_agent_image": "podwire",
    "kube_images": '{"python": "python:3.12"}',
    "kube_allowed_images": '["mine/*"]',
}


def test_no_image_is_asked_for_where_runs_have_none(ann: Browser) -> None:
    assert 'name="image"' not in ann.get("/new").text


def test_an_image_is_asked_for_where_runs_have_one(folder: Path) -> None:
    site = Site(folder, **CLUSTER)
    bob = Browser(site).sign_in("bob")
    text = bob.get("/new").text
    assert "Allowed: <code>python:3.12</code>, <code>mine/*</code>." in text
    assert "Left empty: python runs in <code>python:3.12</code>." in text
    refused = bob.send("/new", "/new", script="keep me", image="other/tool")
    assert refused.status_code == 422 and 'id="image-problem"' in refused.text
    assert Forms(refused.text).found["/new"]["image"] == "other/tool"
    missing = bob.send("/new", "/new", kind="command", command="true")
    assert missing.status_code == 422 and 'id="image-problem"' in missing.text
    answer = bob.send("/new", "/new", script="1", image=" mine/tool:1 ")
    run_id = answer.location.rsplit("/")[-1]
    run = site.services.store.runs.get(run_id)
    assert run is not None and run.spec.image == "mine/tool:1"
    assert Forms(bob.get(f"/new?from={run_id}").text).found["/new"]["image"] == "mine/tool:1"


@pytest.mark.trap("C10")
def test_a_full_queue_is_said_on_the_form(folder: Path) -> None:
    site = Site(folder, Limits(1, 0, 100, 0))
    ann = Browser(site).sign_in("ann")
    assert ann.send("/new", "/new", script="1").status_code == 303
    refused = ann.send("/new", "/new", script="keep me")
    assert refused.status_code == 429 and "the limit is 1" in refused.text and "keep me" in refused.text


def test_the_list_is_filtered_and_paged(site: Site, ann: Browser) -> None:
    for number in range(55):
        site.submit(command=[f"number-{number}"], script=None, language=None, labels={"odd": str(number % 2)})
    first = ann.get("/").text
    assert "number-54" in first and "number-5<" in first and "number-4<" not in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "number-4<" in ann.get(older).text and "number-5<" not in ann.get(older).text
    odd = ann.get("/?label=odd:1").text
    assert "number-1<" in odd and "number-2<" not in odd
    assert "No runs match" in ann.get("/?status=ended").text and "number-54" in ann.get("/?status=open&priority=normal").text
    assert ann.get("/?status=nonsense&before=x&label=&priority=9").status_code == 200


@pytest.mark.trap("S16")
def test_the_runs_of_others_do_not_exist(site: Site, ann: Browser, root: Browser) -> None:
    run = site.submit("bob", command=["secret-of-bob"], script=None, language=None)["id"]
    assert "secret-of-bob" not in ann.get("/").text + ann.get("/queue").text
    for path in (f"/runs/{run}", f"/runs/{run}/panel", f"/runs/{run}/use", f"/new?from={run}"):
        assert ann.get(path).status_code == 404 and root.get(path).status_code == 200
    csrf = Forms(ann.get("/account").text).found["/sign-out"]["csrf_token"]
    for action in ("cancel", "priority", "input"):
        answer = ann.client.post(f"/runs/{run}/{action}", data={"csrf_token": csrf, "priority": "high"})
        assert answer.status_code == 404
    assert "secret-of-bob" in root.get("/").text and "secret-of-bob" in root.get("/queue").text


def test_a_queued_run_says_why_it_waits_and_can_be_steered(site: Site, ann: Browser) -> None:
    run = site.submit()["id"]
    page = ann.get(f"/runs/{run}").text
    assert "1st in the queue" in page
    changed = ann.send(f"/runs/{run}", f"/runs/{run}/priority", priority="critical")
    assert changed.location == f"/runs/{run}" and "The priority is critical now." in ann.get(changed.location).text
    assert ann.send(f"/runs/{run}", f"/runs/{run}/priority", priority="URGENT").status_code == 422
    ann.send(f"/runs/{run}", f"/runs/{run}/cancel")
    ended = ann.get(f"/runs/{run}").text
    assert "CancelledByUser" in ended and f"/runs/{run}/cancel" not in ended


@pytest.mark.trap("Q6")
@pytest.mark.parametrize(
    ("asked", "sent", "value"),
    [
        ({"kind": "confirm"}, {"value": "false"}, False),
        ({"kind": "choice", "choices": ["red", "blue"]}, {"value": "blue"}, "blue"),
        ({"kind": "text"}, {"value": "a\r\nb"}, "a\nb"),
        ({"kind": "number"}, {"value": "2.5"}, 2.5),
        (
            {
                "kind": "form",
                "schema": {
                    "type": "object",
                    "properties": {
                        "n": {"type": "integer"},
                        "ok": {"type": "boolean"},
                        "c": {"enum": [1, "x"]},
                        "t": {"type": "string"},
                    },
                    "required": ["n"],
                },
            },
            {"field.n": "3", "field.ok": "1", "field.c": "1", "field.t": ""},
            {"n": 3, "ok": True, "c": 1},
        ),
        ({"kind": "form", "schema": {"type": "array"}}, {"value": "[1, 2]"}, [1, 2]),
    ],
)
def test_a_question_is_answered_with_a_plain_form(
    site: Site, ann: Browser, asked: dict[str, object], sent: dict[str, str], value: object
) -> None:
    run = running(site)
    question = ask(site, run, **asked)
    page, action = f"/runs/{run.id}", f"/questions/{question}/answer"
    wrong = ann.send(page, action, **dict.fromkeys(sent, "nonsense")) if asked["kind"] not in ("text",) else None
    assert wrong is None or wrong.status_code == 422
    assert ann.send(page, action, **sent).location == page
    stored = site.services.store.questions.get(question)
    assert stored is not None and stored.value == value and stored.answered_by == "ann"
    assert action not in ann.get(page).text and "Answered by ann" in ann.get(page).text


def test_a_secret_is_never_shown(site: Site, ann: Browser) -> None:
    run = running(site)
    question = ask(site, run, kind="secret", text="Password?")
    assert 'type="password"' in ann.get(f"/runs/{run.id}").text
    ann.send(f"/runs/{run.id}", f"/questions/{question}/answer", value="hunter2")
    page = ann.get(f"/runs/{run.id}").text
    assert "hunter2" not in page and "(secret)" in page


def test_a_question_for_anyone_is_answered_without_seeing_the_run(site: Site, ann: Browser) -> None:
    run = running(site)
    closed, everyone = ask(site, run), ask(site, run, 2, who="anyone", text="Anyone there?")
    bob = Browser(site).sign_in("bob")
    assert "Anyone there?" in bob.get("/questions").text and "Really?" not in bob.get("/questions").text
    assert bob.send("/questions", f"/questions/{everyone}/answer", value="yes").location == "/questions"
    csrf = Forms(bob.get("/account").text).found["/sign-out"]["csrf_token"]
    answer = bob.client.post(f"/questions/{closed}/answer", data={"csrf_token": csrf, "value": "x"})
    assert answer.status_code == 404 and "1 question waits" in ann.get("/").text


def test_input_reaches_a_run_that_reads_it(site: Site, ann: Browser) -> None:
    run = running(site, stdin=True)
    page = f"/runs/{run.id}"
    ann.send(page, f"{page}/input", data="hello")
    ann.send(page, f"{page}/input", eof="1")
    assert [(item.data, item.eof) for item in site.services.store.inputs.undelivered(run.id)] == [("hello\n", False), ("", True)]


def test_output_is_shown_as_text_only(site: Site, ann: Browser) -> None:
    run = running(site, command=[HOSTILE], script=None, language=None, labels={"x": HOSTILE})
    data = ("\x1b[31mred\x1b[0m 10%\r20%\n" + HOSTILE + "\n").encode()
    entry = Entry(1, encode(1, 1, 0.0, Kind.OUTPUT, output_fields("stdout", 0, data)))
    chunk = Chunk.pack([entry], 1, 0, len(data), 0)
    site.services.store.log.archive(run.id, run.token, chunk, Progress(1, 1, len(data), 0))
    ask(site, run, kind="choice", choices=[HOSTILE, "b"], text=HOSTILE)
    for path in (f"/runs/{run.id}", "/", "/queue", "/questions", f"/new?from={run.id}"):
        page = ann.get(path).text
        assert "<script>alert" not in page and "<img src=x" not in page, path
    shown = ann.get(f"/runs/{run.id}").text
    assert "<pre>20%\n&lt;script&gt;" in shown and "{{7*7}}" in shown and "\x1b" not in shown


def test_the_page_s_own_script_gets_short_answers(site: Site, ann: Browser) -> None:
    run = site.submit()["id"]
    live = {"X-Podwire-Live": "1", "X-CSRF-Token": Forms(ann.get("/account").text).found["/sign-out"]["csrf_token"]}
    assert ann.client.post(f"/runs/{run}/cancel", headers=live).status_code == 204
    refused = ann.client.post(f"/runs/{run}/input", headers=live, data={"data": "x"})
    assert refused.status_code == 409 and refused.get_json()["message"] == "This run has ended."
    ann.client.delete_cookie("podwire_session")
    assert ann.client.post(f"/runs/{run}/cancel", headers=live).status_code == 401


def test_nul_characters_are_refused_everywhere(site: Site, ann: Browser) -> None:
    for path in ("/?label=a:%00", "/sign-in/link/%00", "/admin/users?x=%00"):
        assert ann.get(path).status_code in (400, 404)
    assert ann.send("/new", "/new", script="a\0b").status_code == 400


def test_a_token_is_made_shown_once_and_revoked(site: Site, ann: Browser) -> None:
    made = ann.send("/account", "/account/tokens", name="laptop", days="")
    plain = made.text.split('value="pw_')[1].split('"')[0]
    assert made.status_code == 201 and site.services.store.users.person_of_token("pw_" + plain) == site.people["ann"]
    page = ann.get("/account").text
    assert plain not in page and "laptop" in page
    token = next(token for token in site.services.store.users.list_tokens(site.people["ann"].id) if token.name == "laptop")
    ann.send("/account", f"/account/tokens/{token.id}/revoke")
    assert site.services.store.users.person_of_token("pw_" + plain) is None
    bobs = site.services.store.users.list_tokens(site.people["bob"].id)[0]
    csrf = Forms(ann.get("/account").text).found["/sign-out"]["csrf_token"]
    assert ann.client.post(f"/account/tokens/{bobs.id}/revoke", data={"csrf_token": csrf}).status_code == 404


def test_an_admin_adds_a_user_who_signs_in_by_link(site: Site, root: Browser) -> None:
    made = root.send("/admin/users", "/admin/users", name="eve", role="user")
    link = made.text.split("/sign-in/link/")[1].split('"')[0]
    eve = Browser(site)
    assert eve.get(f"/sign-in/link/{link}").location == "/"
    assert root.send("/admin/users", "/admin/users", name="eve", role="user").status_code == 409
    person = site.services.store.users.by_name("eve")
    assert person is not None
    root.send("/admin/users", f"/admin/users/{person.person.id}/role")
    assert eve.get("/admin/users").status_code == 200
    root.send("/admin/users", f"/admin/users/{person.person.id}/disabled")
    assert eve.get("/").location == "/sign-in"
    me = site.people["root"].id
    assert root.send("/admin/users", f"/admin/users/{me}/disabled").status_code == 409


def test_only_admins_manage_users(site: Site, ann: Browser) -> None:
    csrf = Forms(ann.get("/account").text).found["/sign-out"]["csrf_token"]
    bob = site.people["bob"].id
    assert ann.get("/admin/users").status_code == 403
    for action in ("/admin/users", *(f"/admin/users/{bob}/{what}" for what in ("link", "role", "disabled"))):
        answer = ann.client.post(action, data={"csrf_token": csrf, "name": "x", "role": "admin", "disabled": "1"})
        assert answer.status_code == 403, action
    assert len(site.services.store.users.list()) == 3


def test_an_admin_sets_limits_changes_them_and_gives_the_defaults_back(site: Site, root: Browser) -> None:
    assert 'href="/admin/limits"' in root.get("/queue").text
    assert "Nothing is set" in root.get("/admin/limits").text
    site.submit(labels={"kind": "nightly"})
    answer = root.send("/admin/limits", "/admin/limits", scope="owner:ann", pending="7", weight="3", group="red")
    assert answer.status_code == 303
    shown = root.get("/admin/limits").text
    assert "owner:ann" in shown and "1 of 7" in shown and "group:red" in shown
    form = Forms(root.get("/admin/limits?scope=owner:ann").text).found["/admin/limits"]
    kept = ("scope", "pending", "active", "queue_length", "weight", "group")
    assert [form[name] for name in kept] == ["owner:ann", "7", "", "", "3", "red"]
    root.send("/admin/limits?scope=owner:ann", "/admin/limits", weight="")
    set_now = {str(item.scope): item.limits for item in site.services.store.limits.list()}
    assert (set_now["owner:ann"].weight, set_now["owner:ann"].pending) == (None, 7)
    root.send("/admin/limits", "/admin/limits/clear", scope="owner:ann")
    assert "<code>owner:ann</code>" not in root.get("/admin/limits").text
    record = site.services.store.audit.changes(limit=10)
    assert [(change.by, change.subject, change.after) for change in record] == [
        ("root", "owner:ann", None),
        ("root", "owner:ann", "pending 7, group red"),
        ("root", "owner:ann", "pending 7, weight 3, group red"),
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scope": "owner:nobody", "active": "1"}, "There is no user named nobody."),
        ({"scope": HOSTILE, "active": "1"}, "Scope must be all, "),
        ({"scope": "owner:ann", "active": "-1"}, "Active must be a whole number."),
        ({"scope": "owner:ann", "active": "9" * 400}, "Active must be 0 to "),
        ({"scope": "owner:ann", "queue_length": "5"}, "Queue length is not a limit of owner:ann."),
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_what_was_typed(root: Browser, fields: dict[str, str], said: str) -> None:
    answer = root.send("/admin/limits", "/admin/limits", **fields)
    assert answer.status_code in (404, 422) and said in answer.text and HOSTILE not in answer.text
    assert Forms(answer.text).found["/admin/limits"]["scope"] == fields["scope"]


def test_only_admins_see_and_change_limits(site: Site, ann: Browser) -> None:
    csrf = Forms(ann.get("/account").text).found["/sign-out"]["csrf_token"]
    assert ann.get("/admin/limits").status_code == 403 and "/admin/limits" not in ann.get("/queue").text
    for action in ("/admin/limits", "/admin/limits/clear"):
        answer = ann.client.post(action, data={"csrf_token": csrf, "scope": "owner:ann", "pending": "1000"})
        assert answer.status_code == 403
    assert site.services.store.limits.list() == []


def test_a_run_shows_what_it_uses_and_afterwards_what_it_used(site: Site, ann: Browser) -> None:
    run = running(site, memory="512Mi", cpu=2)
    page, part = f"/runs/{run.id}", f"/runs/{run.id}/use"
    assert "<progress" not in ann.get(page).text and "Memory" not in ann.get(part).text
    site.services.uses.put(run.id, Use(1, 1.0, 103 * 1024**2, 110 * 1024**2, 12.3, 0.98))
    for path in (page, part, f"{page}/panel"):
        text = ann.get(path).text
        assert "<b>103 MiB</b> of 512 MiB, at most 110 MiB" in text and "<b>0.98</b> of 2 cores, 12 s so far" in text
    assert "<h1" not in ann.get(part).text, "the part alone"
    outcome = Outcome(Status.FAILED, Reason.OOM_KILLED, "Too much.", None, "SIGKILL", 412 * 1024**2, 3.2)
    known = Evidence(1, "node<1>", "docker.io/library/python@sha256:" + "ab" * 32)
    ended = replace(transition(run, Step.END, site.services.store.clock.now(), outcome=outcome), evidence=known)
    site.services.store.runs.finish(run, ended, None, Progress())
    text = ann.get(page).text
    assert "Peak memory 412 MiB of 512 MiB (80 %), 3.2 s CPU, on node&lt;1&gt;, image python@sha256:abababababab" in text
    assert "<progress" not in text and "Memory" not in ann.get(part).text
