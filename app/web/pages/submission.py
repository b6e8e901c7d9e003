"""The form for a new run: from fields to a request and back, with every fault beside its field."""

from __future__ import annotations

import hashlib
import json
import secrets
import shlex
from collections.abc import Mapping, Sequence

from flask import flash, redirect, request, url_for
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from app.domain.bounded_json import read_json
from app.domain.errors import FieldError, InvalidInput, NotJson, PodwireError
from app.domain.runs.retry import ON_REQUEST
from app.domain.runs.run import Priority
from app.domain.runs.spec import RunSpec, check_spec
from app.service import queries
from app.service.runs.submit import submit
from app.web.api.runs.requests import RunRequest, run_request
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.formats import duration_field, size_field
from app.web.pages.site import field_messages, page, pages, sentence

RETRY_REASONS = sorted(reason.value for reason in ON_REQUEST)
_AMOUNTS = ("cpu", "memory", "disk", "timeout", "queue_timeout", "grace", "output_limit")


@pages.get("/new")
def new_run() -> AnyResponse:
    """Show the form, filled with the defaults or with what an earlier run was (`?from=`)."""
    earlier = request.args.get("from")
    if not earlier:
        return _form(fields_of(RunSpec(language=_languages()[0] if _languages() else None), Priority.NORMAL), {})
    run = queries.show(context().services, current_person(), earlier)
    return _form(fields_of(run.spec, run.priority), dict(run.spec.files))


@pages.post("/new")
def submit_run() -> AnyResponse:
    """Submit the run. The same form sent twice makes one run."""
    services, person = context().services, current_person()
    files, faults = read_files(request.form, request.files.getlist("upload"))
    body, more = read_body(request.form)
    try:
        asked = run_request({**body, "files": files}, services.spec_limits)
        if faults or more:
            raise InvalidInput(_other_faults(asked, {fault.field for fault in (*faults, *more)}))
        fingerprint = asked.fingerprint(context().settings.secret_key)
        key = hashlib.sha256(f"{request.form.get('nonce')} {fingerprint}".encode()).hexdigest()
        taken = submit(
            services,
            person,
            asked.spec(),
            asked.priority,
            secrets=asked.secrets(),
            idempotency_key=f"page-{key}",
            request_hash=fingerprint,
        )
    except InvalidInput as error:
        every = InvalidInput([*faults, *more, *(_in_form(fault, request.form) for fault in error.errors)])
        return _form(request.form, files, 422, field_messages(every))
    except PodwireError as error:
        return _form(request.form, files, error.status, problem=sentence(error))
    if not taken.created:
        flash("This was submitted already; here is the run.")
    elif taken.delayed:
        flash("Accepted. The workers cannot be told at the moment; the run starts as soon as they can.")
    return redirect(url_for("pages.show_run", run_id=taken.run.id), 303)


def fields_of(spec: RunSpec, priority: Priority) -> dict[str, str]:
    """Return what the form's fields say for this spec."""
    return {
        "kind": "command" if spec.command else "script",
        "script": spec.script or "",
        "language": spec.language or "",
        "command": shlex.join(spec.command),
        "args": shlex.join(spec.args),
        "image": spec.image or "",
        "env": _lines(spec.env),
        "secrets": _lines(dict.fromkeys(spec.secrets, "")),
        "labels": _lines(spec.labels),
        "cpu": f"{spec.cpu:g}",
        "memory": size_field(spec.memory_bytes),
        "disk": size_field(spec.disk_bytes),
        "timeout": duration_field(spec.timeout_s),
        "queue_timeout": duration_field(spec.queue_timeout_s),
        "grace": duration_field(spec.grace_s),
        "output_limit": size_field(spec.output_limit_bytes),
        "network": "1" if spec.network else "",
        "stdin": "1" if spec.stdin else "",
        "priority": priority.value,
        "max_attempts": str(spec.retry.max_attempts or "") if spec.retry else "",
        **{f"retry.{reason}": "1" for reason in (spec.retry.reasons if spec.retry else ())},
    }


def read_body(form: Mapping[str, str]) -> tuple[dict[str, object], list[FieldError]]:
    """Return the request that the form means, and what could not be read."""
    faults: list[FieldError] = []
    body: dict[str, object] = {
        "args": _words("args", form, faults),
        "env": {**_pairs("env", form, faults), **_secrets(form, faults)},
        "labels": _pairs("labels", form, faults),
        "network": form.get("network") == "1",
        "stdin": form.get("stdin") == "1",
        "priority": form.get("priority", Priority.NORMAL.value),
    }
    if form.get("kind") == "command":
        body["command"] = _words("command", form, faults)
        if not body["command"] and not faults:
            faults.append(FieldError("command", "is empty"))
    else:
        body |= {"script": form.get("script", "").replace("\r\n", "\n"), "language": form.get("language", "")}
        if not str(body["script"]).strip():
            faults.append(FieldError("script", "is empty"))
    if retry := _retry(form, faults):
        body["retry"] = retry
    if image := form.get("image", "").strip():
        body["image"] = image
    body |= {name: _amount(form[name]) for name in _AMOUNTS if form.get(name, "").strip()}
    return body, faults


def read_files(form: Mapping[str, str], uploads: Sequence[FileStorage]) -> tuple[dict[str, str], list[FieldError]]:
    """Return the files of an earlier try that are to be kept, and the uploaded ones; each must be UTF-8 text."""
    files, faults = {}, []
    try:
        kept = read_json(form.get("kept_files") or "{}")
    except (NotJson, InvalidInput):
        kept = {}
    if isinstance(kept, dict):
        files = {name: text for name, text in kept.items() if isinstance(text, str) and form.get(f"keep.{name}") == "1"}
    for upload in uploads:
        if upload.filename:
            try:
                files[upload.filename] = upload.read().decode()
            except UnicodeDecodeError:
                faults.append(FieldError("files", f"{upload.filename} is not UTF-8 text"))
    return files, faults


def _other_faults(asked: RunRequest, known: set[str]) -> list[FieldError]:
    # A field that could not be read is empty in the spec, which may be a fault that nobody made.
    found = check_spec(asked.spec(), context().services.spec_limits, asked.secrets())
    return [fault for fault in found if fault.field not in known | {"script"}]


def _in_form(fault: FieldError, form: Mapping[str, str]) -> FieldError:
    """Return the fault under the name of the form's field: secrets have one of their own there."""
    root, _, name = fault.field.partition(".")
    return FieldError(f"secrets.{name}", fault.message) if root == "env" and name in _secrets(form, []) else fault


def _form(
    given: Mapping[str, str],
    files: dict[str, str],
    status: int = 200,
    errors: dict[str, list[str]] | None = None,
    problem: str | None = None,
) -> AnyResponse:
    current_person()
    return page(
        "new.html",
        status,
        given=given,
        secret_names=_secret_names(given),
        files=files,
        kept_files=json.dumps(files) if files else "",
        errors=errors or {},
        problem=problem,
        nonce=given.get("nonce") or secrets.token_hex(16),
        languages=_languages(),
        images=context().services.spec_limits.images,
        priorities=list(Priority),
        retry_reasons=RETRY_REASONS,
        retries=[reason for reason in RETRY_REASONS if given.get(f"retry.{reason}") == "1"],
    )


def _languages() -> list[str]:
    return list(context().services.spec_limits.languages)


def _lines(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs.items())


def _secrets(form: Mapping[str, str], faults: list[FieldError]) -> dict[str, object]:
    unread: list[FieldError] = []
    pairs, plain = _pairs("secrets", form, unread), _pairs("env", form, [])
    if unread:  # what looks like a name may then be a piece of a value: nothing of it is repeated
        faults += unread
        return {}
    faults += [FieldError("secrets", f"{name} has no value") for name, value in pairs.items() if not value]
    faults += [FieldError("secrets", f"{name} stands in the environment as well") for name in pairs if name in plain]
    return {name: {"value": value, "secret": True} for name, value in pairs.items()}


def _secret_names(given: Mapping[str, str]) -> str:
    """Return the lines of the form's secrets without their values, for these never go back to a browser.

    A line that is not of the right form may be a piece of a value.
    """
    faults: list[FieldError] = []
    names = _pairs("secrets", given, faults)
    return "" if faults else _lines(dict.fromkeys(names, ""))


def _retry(form: Mapping[str, str], faults: list[FieldError]) -> dict[str, object]:
    """Return what the form says of further attempts; nothing is as the service is configured."""
    attempts = form.get("max_attempts", "").strip()
    if attempts and not (attempts.isascii() and attempts.isdigit() and len(attempts) < 10):
        faults.append(FieldError("retry", "the number of attempts is not a whole number"))
        return {}
    reasons = [reason for reason in RETRY_REASONS if form.get(f"retry.{reason}") == "1"]
    if not attempts and not reasons:
        return {}
    return {"max_attempts": int(attempts) if attempts else None, "reasons": reasons}


def _words(name: str, form: Mapping[str, str], faults: list[FieldError]) -> list[str]:
    try:
        return shlex.split(form.get(name, ""))
    except ValueError:
        faults.append(FieldError(name, "has a quotation mark or backslash without its end"))
        return []


def _pairs(name: str, form: Mapping[str, str], faults: list[FieldError]) -> dict[str, str]:
    found = {}
    for number, line in enumerate(form.get(name, "").splitlines(), start=1):
        if line.strip():
            key, sign, value = line.partition("=")
            if sign:
                found[key.strip()] = value
            else:
                faults.append(FieldError(name, f"line {number} is not of the form NAME=value"))
    return found


def _amount(text: str) -> object:
    # A bare number is cores, bytes or seconds; with a unit it is read where the API's own amounts are.
    text = text.strip().replace(" ", "").removesuffix("B")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
