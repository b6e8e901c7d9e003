"""What a person asks to be run: the frozen spec, its stored form and the checks against the configured maxima.

The shape of a request (types, unknown fields) is checked where it arrives; here is what every accepted spec has in common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from app.domain.errors import FieldError
from app.domain.runs.images import ImageRules
from app.domain.runs.retry import Retry, check_retry

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?\Z")
_RESERVED_ENV = "PODWIRE_"
_MAX_SECRET_NAME = 253


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run and within which limits.

    `image` + `command`, or `script` + `language`. CPU in cores, sizes in bytes, times in seconds. `secrets` are names of
    environment variables; their values are never part of a spec.
    """

    image: str | None = None
    command: tuple[str, ...] = ()
    script: str | None = None
    language: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    cpu: float = 1.0
    memory_bytes: int = 512 * 1024 * 1024
    disk_bytes: int = 1024 * 1024 * 1024
    timeout_s: float = 3600.0
    queue_timeout_s: float = 86400.0
    grace_s: float = 10.0
    output_limit_bytes: int = 64 * 1024 * 1024
    network: bool = True
    stdin: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    retry: Retry | None = None

    def to_json(self) -> dict[str, object]:
        """Return the stored form: plain JSON values under the same names.

        What came later is left out where it is not used: so such a spec has the form, and the hashes, that it had before.
        """
        stored: dict[str, object] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if not self.secrets:
            del stored["secrets"]
        if self.retry is None:
            del stored["retry"]
        else:
            stored["retry"] = asdict(self.retry)
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> RunSpec:
        """Return the spec of a stored form; names that a newer version added and this one does not know are left out."""
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        for name in ("command", "args", "secrets"):
            known[name] = tuple(known.get(name) or ())  # type: ignore[arg-type]
        if isinstance(retry := known.get("retry"), Mapping):
            known["retry"] = Retry(retry.get("max_attempts"), tuple(retry.get("reasons") or ()))
        return cls(**known)  # type: ignore[arg-type]

    @property
    def title(self) -> str:
        """A short line for lists: the command, or the script's first line that is not blank."""
        text = " ".join(self.command) if self.command else next((ln for ln in (self.script or "").splitlines() if ln.strip()), "")
        return text[:120]


@dataclass(frozen=True, slots=True)
class SpecLimits:
    """The configured maxima for one run. `languages` maps a language to the command that its script's path is appended to.

    `images` is None where runs have no image.
    """

    languages: Mapping[str, tuple[str, ...]]
    max_cpu: float = 4.0
    max_memory_bytes: int = 4 * 1024**3
    max_disk_bytes: int = 10 * 1024**3
    max_timeout_s: float = 7 * 86400.0
    max_script_bytes: int = 256 * 1024
    max_files: int = 32
    max_file_bytes: int = 256 * 1024
    max_env: int = 128
    max_env_bytes: int = 64 * 1024
    max_args: int = 256
    max_labels: int = 32
    max_output_bytes: int = 1024**3
    images: ImageRules | None = None


def check_spec(spec: RunSpec, limits: SpecLimits, secrets: Mapping[str, str] | None = None) -> list[FieldError]:
    """Return everything that is wrong with the spec and its secrets, each with its field; empty when it can be accepted."""
    what = [*_check_code(spec, limits), *_check_image(spec, limits), *_check_sizes(spec, limits)]
    return [*what, *_check_env(spec, secrets or {}, limits), *_check_names(spec, limits), *check_retry(spec.retry)]


def _check_code(spec: RunSpec, limits: SpecLimits) -> list[FieldError]:
    errors = []
    if (spec.script is None) == (not spec.command):
        errors.append(FieldError("script", "give either script with language, or command (with image)"))
    if spec.script is not None and spec.language not in limits.languages:
        errors.append(FieldError("language", f"must be one of {', '.join(sorted(limits.languages))}"))
    if spec.command and spec.language is not None:
        errors.append(FieldError("language", "goes with script, not with command"))
    if spec.script is not None and len(spec.script.encode()) > limits.max_script_bytes:
        errors.append(FieldError("script", f"is larger than {limits.max_script_bytes} bytes"))
    for name in ("command", "args"):
        words = getattr(spec, name)
        if len(words) > limits.max_args:
            errors.append(FieldError(name, f"has more than {limits.max_args} words"))
        errors += [FieldError(f"{name}[{i}]", "must not contain a NUL character") for i, word in enumerate(words) if "\0" in word]
    return errors


def _check_image(spec: RunSpec, limits: SpecLimits) -> list[FieldError]:
    # Without an image of its own, what to run comes first: that fault is named already.
    known = spec.language in limits.languages if spec.script is not None else bool(spec.command)
    if limits.images is None or not (spec.image or known):
        return []
    fault = limits.images.fault(spec.image, spec.language)
    return [fault] if fault else []


def _check_sizes(spec: RunSpec, limits: SpecLimits) -> list[FieldError]:
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("cpu", spec.cpu, 0.01, limits.max_cpu),
        ("memory", spec.memory_bytes, 16 * 1024**2, limits.max_memory_bytes),
        ("disk", spec.disk_bytes, 1024**2, limits.max_disk_bytes),
        ("timeout", spec.timeout_s, 1, limits.max_timeout_s),
        ("queue_timeout", spec.queue_timeout_s, 1, limits.max_timeout_s),
        ("grace", spec.grace_s, 0, 600),
        ("output_limit", spec.output_limit_bytes, 1, limits.max_output_bytes),
    )
    return [
        FieldError(name, f"must lie between {low:.12g} and {high:.12g}")
        for name, value, low, high in ranges
        if not low <= value <= high
    ]


def _check_env(spec: RunSpec, secrets: Mapping[str, str], limits: SpecLimits) -> list[FieldError]:
    whole = {**spec.env, **dict.fromkeys(spec.secrets, ""), **secrets}
    faults = {name: fault for name in whole if (fault := _env_fault(name, spec, secrets))}
    errors = [FieldError(f"env.{name}", fault) for name, fault in faults.items()]
    errors += [FieldError(f"env.{name}", "must not contain a NUL character") for name, value in whole.items() if "\0" in value]
    if len(whole) > limits.max_env or sum(len(k) + len(v.encode()) for k, v in whole.items()) > limits.max_env_bytes:
        errors.append(FieldError("env", f"has more than {limits.max_env} names or {limits.max_env_bytes} bytes"))
    return errors


def _env_fault(name: str, spec: RunSpec, secrets: Mapping[str, str]) -> str | None:
    secret = name in spec.secrets
    if not _ENV_NAME.match(name) or (secret and len(name) > _MAX_SECRET_NAME):
        return "is not a valid name"
    if name.startswith(_RESERVED_ENV):
        return f"names that begin with {_RESERVED_ENV} are reserved"
    if secret and name in spec.env:
        return "is there twice, once as a secret"
    return "is a secret without its value" if secret and name not in secrets else None


def _check_names(spec: RunSpec, limits: SpecLimits) -> list[FieldError]:
    errors = [
        FieldError(f"files.{name}", "is not a plain file name")
        for name in spec.files
        if not _FILE_NAME.match(name) or len(name) > 128
    ]
    errors += [
        FieldError(f"files.{name}", f"is larger than {limits.max_file_bytes} bytes")
        for name, text in spec.files.items()
        if len(text.encode()) > limits.max_file_bytes
    ]
    if len(spec.files) > limits.max_files:
        errors.append(FieldError("files", f"has more than {limits.max_files} files"))
    errors += [
        FieldError(f"labels.{name}", "is not a valid label")
        for name, value in spec.labels.items()
        if not _LABEL.match(name) or len(value) > 256
    ]
    if len(spec.labels) > limits.max_labels:
        errors.append(FieldError("labels", f"has more than {limits.max_labels} labels"))
    return errors
