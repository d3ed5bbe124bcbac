"""Ask the judge about every map of a run, and keep every reply."""

import logging
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
) -> Generator[Case, None, None]:
    """Ask about cases, in order, and keep the replies. Yields each case when it has been asked.

    Close the iterator to stop: nothing more is sent, and requests under way are finished.

    Args:
        cases: `Plan.missing`.
        protocol, endpoint: as in `questions`.
        replies: take up every reply as soon as it comes.
        parallel: requests at a time, also of different samples.

    Raises:
        ImapError: if the endpoint refuses all requests, or several, one after another, get no reply.
    """
    failures = 0
    under_way: dict[Future[bool], Case] = {}

    def ask(question: Question) -> bool:
        try:
            reply = endpoint.ask(question.text, [png(picture) for picture in question.grids])
        except NoReplyError as error:
            case = question.case
            log.error("%s, %s, %s: no reply: %s", case.sample.name, case.word, case.key, error)
            return False
        replies.put(question.name, endpoint.model, question.text, reply)
        return True

    def finished() -> Iterator[Case]:
        nonlocal failures
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in [one for one in under_way if one in done]:
            case = under_way.pop(future)
            failures = 0 if future.result() else failures + 1
            if failures == MOST_FAILURES:
                raise ImapError(
                    f"{failures} requests in a row had no reply; replies so far are kept. Run the same command again "
                    "to continue"
                )
            yield case

    with ThreadPoolExecutor(parallel) as pool:
        try:
            for sample, of_sample in by_sample(cases).items():
                for question in questions(sample, of_sample, protocol, endpoint.model, endpoint.temperature):
                    under_way[pool.submit(ask, question)] = question.case
                    if len(under_way) == parallel:  # so no request waits in the pool, and none has to be cancelled
                        yield from finished()
            while under_way:
                yield from finished()
        except BaseException:
            endpoint.stopped.set()
            raise


def answers(names: Mapping[Case, str], replies: Replies) -> dict[Case, Answer]:
    """Answer to each case; failed if there is no reply on disk."""
    raw = {case: replies.get(name) for case, name in names.items()}
    return {case: Answer(FAILED) if reply is None else read_answer(reply) for case, reply in raw.items()}
