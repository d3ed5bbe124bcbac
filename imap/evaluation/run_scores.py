"""Scores of whole runs, in several processes, as a CSV file in each run's folder."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from imap.errors import ImapError, UnknownNameError
from imap.evaluation.long_form import Row, samples_of_run, write_rows
from imap.evaluation.other_maps import OtherMaps, checked
from imap.evaluation.sample_scores import Job, kept_scores, names_of_maps, score
from imap.map_files import AGAIN, META, TRUTH, read_meta

TABLE = "scores.csv"
KEPT = ".scores"  # folder in a run: the scores of each sample, so that a command continues
NAMED = 8  # samples that a line names
WORTHWHILE = 5.0  # seconds of work that are worth the start of processes
MOST_WORKERS = 16


def score_runs(
    runs: Sequence[Path],
    keys: Sequence[str] | None = None,
    baselines: bool = False,
    workers: int | None = None,
    others: Sequence[OtherMaps] = (),
) -> list[Path]:
    """Score every map of every word with truth, and write RUN/scores.csv in long form.

    Scores of every sample are kept in RUN/.scores. Samples that did not change since are not scored again.

    Args:
        runs: output folders of runs.
        keys: of maps; None for all.
        baselines: also score maps that need no model, and the maps of other words.
        workers: processes; None for one per CPU, where the work is worth their start.
        others: maps of other tools, scored too.

    Returns:
        Paths of the tables.

    Raises:
        ImapError: for a run without truth, an unknown key, or samples that cannot be scored; of these runs, the other
            samples are in the tables.
    """
    jobs = {run: jobs_of(run, keys, baselines, others) for run in dict.fromkeys(runs)}
    _check_keys(jobs, keys)
    pending = [job for run in jobs.values() for job in run if not set(job.maps) <= set(kept_scores(job))]
    problems = {}
    with tqdm(total=len(pending), desc="scores", unit="sample", disable=len(pending) < 3) as bar:
        for job, problem in _scored(pending, workers):
            bar.update()
            if problem:
                problems[job] = problem
    for job in pending:
        if job not in problems and not set(job.maps) <= set(kept_scores(job)):
            problems[job] = "it, or what is kept of it, changed meanwhile; run the same command again"
    tables = [write_table(run / TABLE, run_jobs) for run, run_jobs in jobs.items()]
    for run_jobs in jobs.values():
        note_gaps(run_jobs, others)
    if problems:
        first = next(iter(problems))
        total = sum(map(len, jobs.values()))
        raise ImapError(
            f"{len(problems)} of {total} samples cannot be scored, and the table lacks what was not scored before: "
            f"{_some([job.folder.name for job in problems])}; the first: {problems[first]}"
        )
    return tables


def jobs_of(run: Path, keys: Sequence[str] | None, baselines: bool, others: Sequence[OtherMaps] = ()) -> list[Job]:
    """The samples of a run that have a truth. Those that have none are named on standard error.

    Raises:
        ImapError: if there is none.
    """
    samples = samples_of_run(run)
    known = [sample for sample in samples if (sample / TRUTH).is_file()]
    if not known:
        raise ImapError(
            f"no sample of {run} has a truth ({TRUTH}); put truth-<clip>.npz beside every clip "
            "(docs/guide/real_clips.md), or cut a data set with `imap score prepare`, and run `imap renoise` on them"
        )
    if len(known) < len(samples):
        without = [sample.name for sample in samples if sample not in known]
        print(f"{run}: no truth of {len(without)} samples, which get no scores: {_some(without)}", file=sys.stderr)
    metas = {sample: read_meta(sample) or {} for sample in known}
    damaged = [sample.name for sample, meta in metas.items() if not {"keys", "texts", "motions"} <= set(meta)]
    if damaged:
        raise ImapError(f"{META} of {len(damaged)} samples of {run} cannot be read: {_some(damaged)}; {AGAIN}")
    taken = {key for meta in metas.values() for key in meta["keys"]}
    others = checked(others, taken, [sample.name for sample in known])
    return [_job(run, sample, names_of_maps(meta, keys, baselines), others) for sample, meta in metas.items()]


def _job(run: Path, sample: Path, names: tuple[str, ...], others: Sequence[OtherMaps]) -> Job:
    """A sample with those of other tools' maps that it has."""
    own = tuple(other for other in others if other.files(sample.name))
    return Job(sample, kept_file(run, sample.name), (*names, *(other.name for other in own)), own)


def kept_file(run: Path, sample: str) -> Path:
    """File that keeps the scores of a sample."""
    return run / KEPT / f"{sample}.json"


def write_table(path: Path, jobs: Sequence[Job]) -> Path:
    """Write the kept scores of samples in long form.

    Samples whose truth has none of their words are named on standard error.
    """
    wordless: list[str] = []

    def rows() -> Iterator[Row]:
        for job in jobs:
            kept = kept_scores(job)
            for name in job.maps:
                for word, kind, metric, value in kept.get(name, []):
                    yield job.folder.name, word, kind, name, metric, value
            if kept and not any(kept.values()):
                wordless.append(job.folder.name)

    write_rows(path, rows())
    if wordless:
        print(f"{path.parent}: the truth has no word of {len(wordless)} samples: {_some(wordless)}", file=sys.stderr)
    return path


def note_gaps(jobs: Sequence[Job], others: Sequence[OtherMaps]) -> None:
    """Name on standard error the words of which another tool has no map: its means are over fewer words."""
    for other in others:
        lacking = {}
        for job in jobs:
            kept = kept_scores(job)
            words = {row[0] for name, rows in kept.items() if name in job.maps for row in rows}
            own = kept.get(other.name, []) if other.name in job.maps else []  # kept scores of removed files stay
            lacking[job.folder.name] = len(words - {row[0] for row in own})
        samples = [name for name, count in lacking.items() if count]
        if samples:
            print(
                f"{other.folder}: words without a map: {sum(lacking.values())}, in {_some(samples)}; the means of "
                f"{other.name!r} are over fewer words",
                file=sys.stderr,
            )


def _scored(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[Job, str | None]]:
    """Score samples, in several processes where it is worth it. Yields each with why it failed."""
    for job in jobs:
        job.kept.parent.mkdir(exist_ok=True)
    processes, start, rest = min(workers or _cpus(), MOST_WORKERS), time.monotonic(), list(jobs)
    while rest:
        spent, done = time.monotonic() - start, len(jobs) - len(rest)
        if processes > 1 and done and spent / done * len(rest) > WORTHWHILE:
            yield from _in_processes(rest, processes)
            return
        job = rest.pop(0)
        yield job, score(job)


def _in_processes(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, str | None]]:
    context = multiprocessing.get_context("spawn")  # a fork may copy a lock that a thread of a library holds
    pool = ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=_ignore_interrupts)
    try:
        running = {pool.submit(score, job): job for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool:
        raise ImapError(
            "a process was ended from outside, maybe for lack of memory; run the same command again with fewer "
            "--workers, and it continues"
        ) from None
    finally:  # after an interrupt: samples that are being scored are finished and kept
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_keys(jobs: dict[Path, list[Job]], keys: Sequence[str] | None) -> None:
    """Raise UnknownNameError for a key that no sample has."""
    if not keys:
        return
    metas = [read_meta(job.folder) or {} for run in jobs.values() for job in run]
    known = dict.fromkeys(key for meta in metas for key in meta.get("keys", ()))
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise UnknownNameError(f"no sample has maps {unknown[0]!r}; there are {', '.join(known)}")


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
