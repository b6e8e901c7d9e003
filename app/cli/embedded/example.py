"""The first run that a person sees: `podwire up` sends it through the API like any other client would."""

from __future__ import annotations

QUESTION_S = 300
UNATTENDED_S = 2

_SCRIPT = r"""
# A first run: output as it appears, a progress bar, a question
import sys, time
import podwire

print("Hello! This is a run. What a program prints arrives here while it runs.")
for number in range(1, 4):
    print(f"  line {number} on stdout")
    time.sleep(0.2)
print("  a line on stderr", file=sys.stderr)

for done in range(0, 101, 5):
    bar = "#" * (done // 5)
    print(f"\r  working [{bar:<20}] {done:3}%", end="", flush=True)
    time.sleep(0.04)
print()

colour = podwire.choice("Which colour shall the next line have?", ["green", "yellow", "blue"], default="green", timeout=SECONDS)
code = {"green": 32, "yellow": 33, "blue": 34}[colour]
print(f"\033[{code}m  You chose {colour}. The program waited for the answer and went on.\033[0m")
"""


def example_run(unattended: bool) -> dict[str, object]:
    """Return the body of the submission. Unattended, its question takes the default after a moment."""
    script = _SCRIPT.lstrip().replace("SECONDS", str(UNATTENDED_S if unattended else QUESTION_S))
    return {"script": script, "language": "python", "labels": {"example": "first-run"}, "timeout": 600}
