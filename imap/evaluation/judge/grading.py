"""Ask the judge about every map of a run, and keep every reply."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imap.errors import ImapError
from imap.evaluation.judge.answers import FAILED, Answer, read_answer
from imap.evaluation.judge.cases import Case, Question, questions
from imap.evaluation.judge.endpoint import Endpoint, NoReplyError
from imap.evaluation.judge.grids import png
from imap.evaluation.judge.protocol import Protocol
from imap.evaluation.judge.replies import Replies

log = logging.getLogger("imap")
MOST_FAILURES = 3  # requests without a reply, one after another, after which an endpoint counts as down
PIXELS_PER_TOKEN, LETTERS_PER_TOKEN, WRITTEN = 750, 4, 60  # guesses; models count differently


@dataclass(frozen=True)
class Plan:
    """Questions of a run.

    Attributes:
        names: of the reply to each case.
        missing: cases whose reply is not on disk, one of each name.
        pictures: number of pictures of them.
        tokens: guess of the tokens that they read and write.
    """

    names: Mapping[Case, str]
    missing: Sequence[Case]
    pictures: int
    tokens: tuple[int, int]


def plan(cases: Sequence[Case], protocol: Protocol, model: str, temperature: float | None, replies: Replies) -> Plan:
    """What has to be asked. Draws all pictures once."""
    names: dict[Case, str] = {}
    missing: dict[str, Case] = {}
    pictures = read = 0
    for sample, of_sample in by_sample(cases).items():
        for question in questions(sample, of_sample, protocol, model, temperature):
            names[question.case] = question.name
            if question.name not in missing and replies.get(question.name) is None:
                missing[question.name] = question.case
                pictures += len(question.grids)
                pixels = sum(x.shape[0] * x.shape[1] for x in question.grids)
                read += round(pixels / PIXELS_PER_TOKEN + len(question.text) / LETTERS_PER_TOKEN)
    return Plan(names, list(missing.values()), pictures, (read, WRITTEN * len(missing)))


def by_sample(cases: Sequence[Case]) -> dict[Path, list[Case]]:
    """Cases by the folder of their sample."""
    groups: dict[Path, list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.sample].append(case)
    return dict(groups)


def ask_all(
    cases: Sequence[Case], protocol: Protocol, endpoint: Endpoint, replies: Replies, parallel: int
) -> Iterator[Case]:
    """Ask about cases, of one sample after another, and keep the replies. Yields each case when it has been asked.

    Args:
        cases: `Plan.missing`.
        protocol, endpoint: as in `questions`.
        replies: take up every reply as soon as it comes.
        parallel: requests at a time.

    Raises:
        ImapError: if the endpoint refuses all requests, or several, one after another, get no reply.
    """
    failures = 0

    def ask(question: Question) -> bool:
        try:
            reply = endpoint.ask(question.text, [png(picture) for picture in question.grids])
        except NoReplyError as error:
            case = question.case
            log.error("%s, %s, %s: no reply: %s", case.sample.name, case.word, case.key, error)
            return False
        replies.put(question.name, endpoint.model, question.text, reply)
        return True

    with ThreadPoolExecutor(parallel) as pool:
        for sample, of_sample in by_sample(cases).items():
            asked = questions(sample, of_sample, protocol, endpoint.model, endpoint.temperature)
            pending = [pool.submit(ask, question) for question in asked]
            try:
                for question, future in zip(asked, pending, strict=True):
                    failures = 0 if future.result() else failures + 1
                    if failures == MOST_FAILURES:
                        raise ImapError(
                            f"{failures} requests in a row had no reply; replies so far are kept. Run the same command "
                            "again to continue"
                        )
                    yield question.case
            except BaseException:
                endpoint.stopped.set()
                for future in pending:
                    future.cancel()  # nothing more is sent, and so nothing is paid
                raise


def answers(names: Mapping[Case, str], replies: Replies) -> dict[Case, Answer]:
    """Answer to each case; failed if there is no reply on disk."""
    raw = {case: replies.get(name) for case, name in names.items()}
    return {case: Answer(FAILED) if reply is None else read_answer(reply) for case, reply in raw.items()}
