"""How this service logs: one line an event to stderr, as text or JSON.

Secrets are never passed to a logger in the first place.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime

from app.domain import log_context
from config.settings import Settings, Watching

_RUN_ID = re.compile(r"\br[a-z2-7]{19}\b")


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, the traceback if there is one, and the run_id of every
    line that is about a run.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run_id := _run_of(record):
            line["run_id"] = run_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _run_of(record: logging.LogRecord) -> str | None:
    """Return the run that a line is about, else the one that its thread works for, else one that it mentions.

    Ours begin with `run %s`. Celery's lines about a task carry its arguments beside the message.
    """
    named: object = ""
    if isinstance(record.args, tuple) and record.args and str(record.msg).startswith("run %s"):
        named = record.args[0]
    elif isinstance(data := getattr(record, "data", None), dict):
        named = data.get("args")
    return _id_in(str(named)) or log_context.present() or _id_in(record.getMessage())


def _id_in(text: str) -> str | None:
    found = _RUN_ID.search(text)
    return found.group() if found else None


def formatter(settings: Settings | Watching) -> logging.Formatter:
    """Return the configured form of a line."""
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return JsonLines() if settings.log_format == "json" else text


def set_up_logging(settings: Settings | Watching) -> None:
    """Send every logger's records, warnings and the faults of threads to stderr in the configured form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    threading.excepthook = _log_fault


def _log_fault(fault: threading.ExceptHookArgs) -> None:
    name = fault.thread.name if fault.thread else "unknown"
    if fault.exc_value is not None and not issubclass(fault.exc_type, SystemExit):
        logging.getLogger("threading").error("thread %s ended", name, exc_info=fault.exc_value)
