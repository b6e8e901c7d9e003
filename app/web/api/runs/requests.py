"""The shapes of what clients send about runs: types and unknown fields only; ranges are the domain's.

The API's description is generated from these models, so their texts are for readers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from app.domain.errors import FieldError, InvalidInput
from app.domain.runs.retry import ON_REQUEST, Retry
from app.domain.runs.run import Priority, Status
from app.domain.runs.spec import RunSpec, SpecLimits, check_spec
from app.web.api.shapes import Shape, sequence_of
from app.web.parsing import field_errors
from app.web.quantities import cores, duration_s, size_bytes

_AMOUNT = [{"type": "integer"}, {"type": "number"}, {"type": "string"}]
Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    WithJsonSchema({"anyOf": [_AMOUNT[0], _AMOUNT[2]], "description": "bytes, or a size such as 512Mi"}),
]
Cores = Annotated[
    float,
    BeforeValidator(cores),
    WithJsonSchema({"anyOf": _AMOUNT[1:], "description": "cores, or a text such as 500m"}),
]
Duration = Annotated[
    float,
    BeforeValidator(duration_s),
    WithJsonSchema({"anyOf": _AMOUNT[1:], "description": "seconds, or a duration such as 10m"}),
]
_DEFAULT = RunSpec()


def _priority(value: object) -> Priority:
    if not isinstance(value, str) or value not in list(Priority):
        raise ValueError(f"must be one of {', '.join(Priority)}")
    return Priority(value)


def _status(value: object) -> Status:
    if not isinstance(value, str) or value not in list(Status):
        raise ValueError(f"must be one of {', '.join(Status)}")
    return Status(value)


def _label(value: object) -> tuple[str, str]:
    name, colon, text = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (name and colon):
        raise ValueError("must be of the form name:value")
    return name, text


PriorityName = Annotated[Priority, BeforeValidator(_priority)]
StatusName = Annotated[Status, BeforeValidator(_status)]
LabelFilter = Annotated[tuple[str, str], BeforeValidator(_label), WithJsonSchema({"type": "string"})]


class EnvValue(Shape):
    """The value of an environment variable, which may be a secret: then nobody can read it here any more."""

    value: str = Field(repr=False)
    secret: bool = False


def _env_value(value: object) -> object:
    if isinstance(value, str):
        return EnvValue(value=value)
    if not isinstance(value, dict):
        raise ValueError("must be a text, or an object with value and secret")
    return value


_ENV_VALUE = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "required": ["value"],
            "properties": {
                "value": {"type": "string"},
                "secret": {
                    "type": "boolean",
                    "default": False,
                    "description": "true: kept apart, never shown again, and forgotten when the run has ended",
                },
            },
            "additionalProperties": False,
        },
    ]
}
EnvEntry = Annotated[EnvValue, BeforeValidator(_env_value), WithJsonSchema(_ENV_VALUE)]


class RetryRequest(Shape):
    """When the run is tried again after a failed attempt."""

    max_attempts: int | None = Field(None, description="attempts in all, 1 to 10; left out: as the service is configured")
    reasons: list[str] = Field([], description="reasons after which the code may run again: " + ", ".join(sorted(ON_REQUEST)))


class RunRequest(Shape):
    """What to run: `script` and `language`, or `command` (with `image`)."""

    image: str | None = Field(None, max_length=512)
    command: list[str] = Field([])
    script: str | None = None
    language: str | None = Field(None, max_length=64)
    args: list[str] = Field([], description="arguments of the script or command")
    env: dict[str, EnvEntry] = Field({}, description="name -> text, or {value, secret: true}")
    files: dict[str, str] = Field({}, description="file name -> text, placed in the working folder")
    cpu: Cores = _DEFAULT.cpu
    memory: Size = _DEFAULT.memory_bytes
    disk: Size = _DEFAULT.disk_bytes
    timeout: Duration = _DEFAULT.timeout_s
    queue_timeout: Duration = _DEFAULT.queue_timeout_s
    grace: Duration = _DEFAULT.grace_s
    output_limit: Size = _DEFAULT.output_limit_bytes
    network: bool = True
    stdin: bool = Field(False, description="keep standard input open for what watchers send")
    labels: dict[str, str] = Field({})
    retry: RetryRequest | None = Field(None, description="left out: only what failed before the code began is tried again")
    priority: PriorityName = Priority.NORMAL

    def spec(self) -> RunSpec:
        """Return the domain's form."""
        return RunSpec(
            image=self.image,
            command=tuple(self.command),
            script=self.script,
            language=self.language,
            args=tuple(self.args),
            env={name: entry.value for name, entry in self.env.items() if not entry.secret},
            secrets=tuple(sorted(self.secrets())),
            files=self.files,
            cpu=self.cpu,
            memory_bytes=self.memory,
            disk_bytes=self.disk,
            timeout_s=self.timeout,
            queue_timeout_s=self.queue_timeout,
            grace_s=self.grace,
            output_limit_bytes=self.output_limit,
            network=self.network,
            stdin=self.stdin,
            labels=self.labels,
            retry=Retry(self.retry.max_attempts, tuple(self.retry.reasons)) if self.retry else None,
        )

    def secrets(self) -> dict[str, str]:
        """Return the values of the secret environment variables."""
        return {name: entry.value for name, entry in self.env.items() if entry.secret}

    def fingerprint(self, key: str) -> str:
        """Return a hash of what is asked for, however it was written: the same request again has the same.

        It is stored. Where there are secrets it depends on the key, so that whoever reads it cannot try out guesses.
        """
        asked: dict[str, object] = {"spec": self.spec().to_json(), "priority": self.priority.value}
        secrets = self.secrets()
        whole = json.dumps(asked | ({"secrets": secrets} if secrets else {}), sort_keys=True).encode()
        if secrets:
            return hmac.new(b"podwire run request " + key.encode(), whole, hashlib.sha256).hexdigest()
        return hashlib.sha256(whole).hexdigest()


def run_request(body: dict[str, object], limits: SpecLimits) -> RunRequest:
    """Return the request for a run. Raises: InvalidInput with every fault of shape and of range at once."""
    try:
        return RunRequest.model_validate(body)
    except ValidationError as error:
        faults = field_errors(error)
        raise InvalidInput([*faults, *_range_faults(body, faults, limits)]) from error


def _range_faults(body: dict[str, object], faults: list[FieldError], limits: SpecLimits) -> list[FieldError]:
    """Check the ranges of the fields whose shape is right, so that a second try need not find them."""
    wrong = {_root(fault.field) for fault in faults}
    sound = {name: value for name, value in body.items() if name not in wrong and name in RunRequest.model_fields}
    try:
        asked = RunRequest.model_validate(sound)
    except ValidationError:
        return []
    return [fault for fault in check_spec(asked.spec(), limits, asked.secrets()) if _root(fault.field) in sound]


def _root(field: str) -> str:
    return field.split(".")[0].split("[")[0]


class ChangeRequest(Shape):
    """Another place in the queue for a run that is there: another priority, or before all others (admins)."""

    priority: PriorityName | None = None
    front: Literal[True] | None = Field(None, description="true: before all other runs; its priority stays what it was")


class InputRequest(Shape):
    """A piece of standard input."""

    data: str = ""
    eof: bool = Field(False, description="true closes the standard input after this piece")
    id: str | None = Field(None, min_length=1, max_length=128, description="the same id again changes nothing")


class RunQuery(Shape):
    """Which runs to list."""

    status: list[StatusName] = Field([])
    label: LabelFilter | None = Field(None, description="name:value")
    priority: PriorityName | None = None
    limit: int = Field(50, ge=1, le=200, strict=False)
    cursor: str | None = Field(None, max_length=64, description="where the list goes on, from `next`")

    @property
    def before(self) -> int | None:
        """The sequence that the listed runs are older than."""
        return None if self.cursor is None else sequence_of(self.cursor)
