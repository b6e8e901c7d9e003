"""Whether a pod fits what a namespace grants: its quotas and its limit ranges. Pure: objects of the API in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

Json = dict[str, Any]
Amounts = dict[str, Decimal]
RESOURCES = ("cpu", "memory", "ephemeral-storage")
# Quotas of these scopes do not count pods of ours, which all have a deadline and requests.
FOREIGN_SCOPES = {"NotTerminating", "BestEffort"}


def needs(pod: Json) -> Amounts:
    """Return what the pod takes from a quota, under every name that a quota may give it."""
    wanted = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for kind in ("requests", "limits"):
        for name in RESOURCES:
            wanted[f"{kind}.{name}"] = sum((_amount(c, kind, name) for c in pod["spec"]["containers"]), Decimal(0))
    return wanted | {name: wanted[f"requests.{name}"] for name in RESOURCES}


def _amount(container: Json, kind: str, name: str) -> Decimal:
    return _number(container["resources"][kind][name])


def _number(quantity: object) -> Decimal:
    return Decimal(parse_quantity(quantity))  # type: ignore[no-untyped-call]


def usage(quota: Json) -> str:
    """Return what of the quota is used: `pods 1 of 10, limits.cpu 2 of 40`."""
    status = _status(quota)
    return (
        ", ".join(f"{name} {status['used'].get(name, '0')} of {hard}" for name, hard in status["hard"].items()) or "sets nothing"
    )


def shortfalls(quota: Json, pod: Json) -> Iterator[tuple[bool, str]]:
    """Yield (can it ever fit, sentence) for each part of the quota that the pod does not fit in at the moment."""
    if not _counts(quota, pod):
        return
    name, status, wanted = quota["metadata"]["name"], _status(quota), needs(pod)
    for resource, hard in status["hard"].items():
        if resource not in wanted:
            continue
        used = status["used"].get(resource, "0")
        if wanted[resource] > _number(hard):
            yield False, f"quota {name} allows {hard} of {resource} in all, and one such run takes {wanted[resource]:f}"
        elif _number(used) + wanted[resource] > _number(hard):
            yield True, f"quota {name} has {used} of {hard} {resource} in use, and one such run takes {wanted[resource]:f}"


def _status(quota: Json) -> Json:
    status = quota.get("status") or {}
    return {"hard": status.get("hard") or quota.get("spec", {}).get("hard") or {}, "used": status.get("used") or {}}


def _counts(quota: Json, pod: Json) -> bool:
    spec = quota.get("spec") or {}
    terms = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or []]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return all(_in_scope(term, str(pod["spec"].get("priorityClassName") or "")) for term in terms)


def _in_scope(term: Json, priority_class: str) -> bool:
    if term["scopeName"] != "PriorityClass":
        return term["scopeName"] not in FOREIGN_SCOPES
    named = priority_class in (term.get("values") or [])
    answers = {"In": named, "NotIn": not named, "Exists": bool(priority_class), "DoesNotExist": not priority_class}
    return answers.get(term.get("operator", ""), True)


def conflicts(limit_range: Json, pod: Json) -> Iterator[tuple[bool, str]]:
    """Yield (does it concern every run, sentence) for each limit that the pod breaks.

    Every run: the limit is broken by the agent's container, which is the same in all of them.
    """
    name = limit_range["metadata"]["name"]
    for limit in limit_range.get("spec", {}).get("limits") or []:
        if limit.get("type") == "Container":
            for container in pod["spec"]["containers"]:
                words = f"limit range {name}, container {container['name']}"
                for fault in _broken(limit, {kind: _all(container, kind) for kind in ("requests", "limits")}):
                    yield container["name"] == "agent", f"{words}: {fault}"
        elif limit.get("type") == "Pod":
            total = needs(pod)
            amounts = {kind: {each: total[f"{kind}.{each}"] for each in RESOURCES} for kind in ("requests", "limits")}
            yield from ((False, f"limit range {name}, the whole pod: {fault}") for fault in _broken(limit, amounts))


def _all(container: Json, kind: str) -> Amounts:
    return {name: _amount(container, kind, name) for name in RESOURCES}


def _broken(limit: Json, amounts: dict[str, Amounts]) -> Iterator[str]:
    requests, limits = amounts["requests"], amounts["limits"]
    for name in RESOURCES:
        least, most, ratio = (limit.get(key, {}).get(name) for key in ("min", "max", "maxLimitRequestRatio"))
        if least is not None and requests[name] < _number(least):
            yield f"at least {least} of {name} must be requested, and it requests {requests[name]:f}"
        if most is not None and limits[name] > _number(most):
            yield f"at most {most} of {name} are allowed, and its limit is {limits[name]:f}"
        if ratio is not None and limits[name] > requests[name] * _number(ratio):
            yield f"its limit of {name} is more than {ratio} times what it requests"
