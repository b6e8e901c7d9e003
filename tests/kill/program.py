"""What the runs of a kill test execute, and what they must write: this very file is the script, so both come from one function.

Standard library only, and nothing of the tests: it is started inside runs.
"""

import os
import random
import sys
import time

NO_NOTES = "-"


def pieces(number):
    """Yield what run `number` does, always the same: bytes to write, or a text to ask as a question."""
    rng = random.Random(number)
    steps = rng.randrange(40, 140)
    asks_at = set(rng.sample(range(steps), rng.randrange(1, 4))) if number % 2 else set()
    for step in range(steps):
        if step in asks_at:
            yield f"Question {number}.{step}?"
        kind = rng.randrange(6)
        if kind == 0:
            yield rng.randbytes(rng.randrange(1, 300))
        elif kind == 1:
            yield f"\r{step * 100 // steps}%".encode()
        elif kind == 2:
            text = ("äöü€𝄞\r\n" * rng.randrange(1, 9)).encode()
            cut = rng.randrange(1, len(text))
            yield text[:cut]
            yield text[cut:]
        elif kind == 3 and rng.random() < 0.2:
            yield rng.randbytes(30_000).hex().encode() + b"\n"
        else:
            yield f"run {number} step {step} {'x' * rng.randrange(80)}\n".encode()


def expected(number, answers):
    """Return all that the run writes when its questions, in this order, get these answers."""
    values = iter(answers)
    return begun(number) + b"".join(said(next(values, None)) if isinstance(piece, str) else piece for piece in pieces(number))


def said(value):
    """Return what the program writes after an answer."""
    return f"answer {value}\n".encode()


def begun(number):
    """Return what the program writes first; a second start in the same place would be seen by it."""
    return f"run {number} begins\n".encode()


def note(folder, name, *words):
    """Append a line to the file, whole, whoever else appends."""
    if folder == NO_NOTES:
        return
    path = f"{folder}/{name}"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, (" ".join(words) + "\n").encode())
    os.close(file)


def main():
    """Do it, and note every start and every answer in the folder of notes."""
    import podwire

    number, folder, pace_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    run = os.environ["PODWIRE_RUN_ID"]
    note(folder, "starts", run, os.environ["PODWIRE_ATTEMPT"])
    os.write(1, begun(number))
    for piece in pieces(number):
        if isinstance(piece, str):
            value = podwire.ask(piece)
            note(folder, "answers", run, piece.split()[1], value)
            piece = said(value)
        while piece:
            piece = piece[os.write(1, piece) :]
        time.sleep(random.uniform(0, 2 * pace_s))
    note(folder, "ends", run)


if __name__ == "__main__":
    main()
