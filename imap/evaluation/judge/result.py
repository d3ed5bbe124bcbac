"""The files of a judged run: its table, its summary, and the pictures of a dry run."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import replaced
from imap.evaluation.judge.answers import FAILED, GRADED, MALFORMED, REFUSED, Answer
from imap.evaluation.judge.cases import Case, questions
from imap.evaluation.judge.grading import by_sample
from imap.evaluation.judge.grids import png
from imap.evaluation.judge.protocol import AVERAGE, CRITERIA, Protocol
from imap.evaluation.long_form import mean_of_known, write_rows
from imap.view.pictures import file_names

TABLE, SUMMARY = "judge.csv", "judge.json"
SCORES = (AVERAGE, *CRITERIA.values())


def write_result(run: Path, found: Mapping[Case, Answer], names: Mapping[Case, str], facts: Mapping[str, Any]) -> str:
    """Write the table and the summary of a run, and return lines to print.

    Args:
        run: folder of the run.
        found: answer to each case.
        names: of the replies.
        facts: settings, for the summary.
    """
    scores = {case: answer.scores() for case, answer in found.items()}
    write_rows(
        run / TABLE,
        ((c.sample.name, c.word, "motion", c.key, metric, x) for c, by in scores.items() for metric, x in by.items()),
    )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case, answer in found.items():
        counts[case.key][answer.status] += 1
    means = {
        key: {
            metric: mean_of_known([by[metric] for case, by in scores.items() if case.key == key]) for metric in SCORES
        }
        for key in counts
    }
    paid = {names[case]: answer.tokens for case, answer in found.items()}  # of equal requests, one
    summary = {
        **facts,
        "counts": {
            key: {kind: count[kind] for kind in (GRADED, REFUSED, MALFORMED, FAILED)} for key, count in counts.items()
        },
        "means": {
            key: {name: None if np.isnan(x) else round(x, 6) for name, x in by.items()} for key, by in means.items()
        },
        "tokens": {"read": sum(x for x, _ in paid.values()), "written": sum(x for _, x in paid.values())},
        "not_graded": [
            {"sample": case.sample.name, "word": case.word, "map": case.key, "status": x.status, "reply": names[case]}
            for case, x in found.items()
            if x.status != GRADED
        ],
    }
    with replaced(run / SUMMARY) as part:
        part.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kinds = (GRADED, REFUSED, MALFORMED, FAILED)
    lines = [
        f"{'map':<34}" + "".join(f"{name:>7}" for name in SCORES) + "".join(f"{kind:>11}" for kind in kinds),
        *(
            f"{key:<34}"
            + "".join(f"{by[name]:>7.2f}" for name in SCORES)
            + "".join(f"{counts[key][kind]:>11}" for kind in kinds)
            for key, by in means.items()
        ),
        str(run / TABLE),
    ]
    return "\n".join(lines)


def write_dry_run(folder: Path, cases: Sequence[Case], protocol: Protocol) -> None:
    """Write the prompt and the pictures of each case into <sample>/<word>/<map>/."""
    for sample, of_sample in by_sample(cases).items():
        words = list(dict.fromkeys(case.word for case in of_sample))
        names = dict(zip(words, file_names(words), strict=True))
        for question in questions(sample, of_sample, protocol, "", None):
            case = question.case
            own = folder / sample.name / names[case.word] / case.key
            own.mkdir(parents=True, exist_ok=True)
            (own / "prompt.txt").write_text(question.text + "\n", encoding="utf-8")
            for name, picture in question.grids._asdict().items():
                (own / f"{name}.png").write_bytes(png(picture))
