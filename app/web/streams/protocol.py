"""The rules of a watcher's connection, without any I/O: client texts to commands, what happens to frames, and when it is over.

Frames are complete and unmasked (RFC 6455, section 5.2). connection.py moves the bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from app.domain.errors import BadRequest, InvalidInput, PodwireError
from app.domain.runs.events import Position
from app.live.batch import Batch, Reset, text_frame
from app.service.queries import WaitReason
from app.web.api.runs.resources import RunSummary
from app.web.errors import fields_of
from app.web.parsing import field_errors, json_object
from app.web.streams.close_codes import CloseCode, Violation
from app.web.streams.frames import AnswerFrame, CancelFrame, InputFrame, PingFrame

# Said when what was in the way of a start is so no more.
BEGINS = WaitReason(None, "It is being started.")
Command = AnswerFrame | InputFrame | CancelFrame | PingFrame
_COMMANDS: dict[object, type[Command]] = {
    "answer": AnswerFrame,
    "input": InputFrame,
    "cancel": CancelFrame,
    "ping": PingFrame,
}


class Refusal(Exception):
    """A command cannot be understood, but its id can: it gets a reply."""

    def __init__(self, frame: bytes) -> None:
        """`frame` is the reply."""
        super().__init__("refused")
        self.frame = frame


@dataclass(frozen=True, slots=True)
class Out:
    """What to do: send the frames in order, then close with `code` when there is one."""

    frames: tuple[bytes, ...] = ()
    code: CloseCode | None = None


def parse_command(text: str) -> Command:
    """Return the client's command. Raises: Violation, Refusal."""
    try:
        frame = json_object(text)
    except (BadRequest, InvalidInput) as error:
        raise Violation(CloseCode.BAD_FRAME, "bad_frame") from error
    model, name = _COMMANDS.get(_plain(frame.get("type"))), frame.get("id")
    if model is None or not isinstance(name, str) or not 0 < len(name) <= 128:
        raise Violation(CloseCode.BAD_FRAME, "bad_frame")
    try:
        return model.model_validate(frame)
    except ValidationError as error:
        raise Refusal(failure(name, InvalidInput(field_errors(error)))) from error


def success(command_id: str, fields: dict[str, object]) -> bytes:
    """Return the reply to a command that was carried out."""
    return _frame({**fields, "type": "reply", "id": command_id, "ok": True})


def failure(command_id: str, error: PodwireError) -> bytes:
    """Return the reply to a command that was refused."""
    return _frame({"type": "reply", "id": command_id, "ok": False, "error": fields_of(error)})


class Session:
    """What one watcher was told so far, and so what comes next."""

    __slots__ = ("_wait", "to_start")

    def __init__(self, *, to_start: bool) -> None:
        """`to_start` says whether the run has yet to start; then `on_wait` is to be called every second or so."""
        self.to_start = to_start
        self._wait: WaitReason | None = None

    def hello(self, run: RunSummary, position: Position) -> Out:
        """Return the first frame."""
        return Out((_frame({"type": "hello", "run": run.model_dump(mode="json"), "position": str(position)}),))

    def on_wait(self, to_start: bool, wait: WaitReason | None) -> Out:
        """It was looked up whether the run has yet to start, and what it waits for; None when nothing is in its way."""
        self.to_start = to_start
        if wait is None and self._wait is not None and self._wait.position is None:
            wait = BEGINS if to_start else None
        if wait is None or wait == self._wait:
            return Out()
        self._wait = wait
        return Out((_frame({"type": "queue", "position": wait.position, "message": wait.message}),))

    def on_item(self, item: Batch | Reset | None) -> Out:
        """The cursor brought something, or nothing for a while."""
        if item is None:
            return Out()
        if isinstance(item, Reset):
            return Out((_frame({"type": "reset", "epoch": item.epoch, "seq": item.seq}),))
        if item.queued:
            self.to_start, self._wait = True, None
        return Out((item.frame,) if item.frame else (), CloseCode.ENDED if item.ended else None)


def _plain(value: object) -> object:
    return value if isinstance(value, str) else None


def _frame(message: dict[str, object]) -> bytes:
    return text_frame(json.dumps(message, ensure_ascii=False, separators=(",", ":"), default=_model).encode())


def _model(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
