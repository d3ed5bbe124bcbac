"""Two logs of diffusers' tests, untraced and traced: what differs, and what was refused."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Log:
    """Outcomes by test, and records of pipeline calls by test and number."""

    tests: dict[str, str]
    calls: dict[tuple[str, int], dict[str, Any]]


def read_log(path: Path) -> Log:
    """A log of `calls`. A test whose setup or teardown fails has failed."""
    tests: dict[str, str] = {}
    calls = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] == "call":
            calls[record["test"], record["call"]] = record
        elif tests.get(record["test"]) != "failed":
            tests[record["test"]] = record["outcome"]
    return Log(tests, calls)


def faults(untraced: Log, traced: Log) -> Iterator[str]:
    """What a trace changed or broke, one line each. None is right."""
    for test in sorted({*untraced.tests, *traced.tests}):
        before, after = untraced.tests.get(test, "not run"), traced.tests.get(test, "not run")
        if before != after:
            yield f"{test}: {before} untraced, {after} traced"
    for key in sorted({*untraced.calls, *traced.calls}):
        if key not in untraced.calls or key not in traced.calls:
            yield f"{_named(key)}: made in one run only"
            continue
        before, after = untraced.calls[key], traced.calls[key]
        for name in ("output", "random", "raised"):
            if before.get(name) != after.get(name):
                yield f"{_named(key)} ({after['outcome']}): another {name}, {before.get(name)} and {after.get(name)}"
        if after.get("hooks_left") != before.get("hooks_left"):  # the encoders of transformers add their own hooks
            yield f"{_named(key)}: {after.get('hooks_left')} hooks left, {before.get('hooks_left')} untraced"
        if after.get("finite") is False:
            yield f"{_named(key)}: maps that are not finite"


def refusals(traced: Log) -> Counter[tuple[str, str]]:
    """How many calls were refused, by pipeline and reason."""
    refused = [call for call in traced.calls.values() if call["outcome"] == "refused"]
    return Counter((call["pipeline"], _reason(call["error"])) for call in refused)


def table(untraced: Log, traced: Log) -> str:
    """Figures of both runs as lines of text."""
    calls = traced.calls.values()
    read = [key for key, call in traced.calls.items() if call["outcome"] == "traced" and "output" in call]
    same = sum(traced.calls[key]["output"] == untraced.calls.get(key, {}).get("output") for key in read)
    lines = [
        f"{name}: {len(log.tests)} tests, {_counted(Counter(log.tests.values()))}"
        for name, log in (("untraced", untraced), ("traced", traced))
    ]
    lines.append(f"pipeline calls: {len(calls)}, {_counted(Counter(call['outcome'] for call in calls))}")
    lines.append(f"traced calls that end: {len(read)}, bit-identical to the untraced call: {same}")
    lines.append(f"traced calls without a map: {sum('no_maps' in call for call in calls)}")
    lines.append("refused:")
    lines += [f"{count:5}  {pipeline}: {reason}" for (pipeline, reason), count in refusals(traced).most_common()]
    return "\n".join(lines)


def _named(key: tuple[str, int]) -> str:
    return f"{key[0]}, call {key[1]}"


def _reason(error: str) -> str:
    return re.sub(r"^cannot trace this \w+: ", "", error).split(";")[0][:120]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
