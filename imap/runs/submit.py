"""`imap submit`: a list as an array of SLURM jobs, or as processes of this machine, by submitit."""

import argparse
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imap.config.scale import devices_of
from imap.errors import ImapError, brief, first_line
from imap.runs.cluster_task import ClusterTask
from imap.runs.failures import CHECK, log_failure
from imap.runs.log import errors_in_one_line, plain_log
from imap.runs.waiting import array_of, wait

if TYPE_CHECKING:
    from imap.runs.plan import Plan

log = logging.getLogger("imap")
CONFIGS = {"sample": "sampling", "renoise": "renoising"}
INSTALL = 'pip install "imap-video[cluster]" (in a checkout: pip install -e ".[cluster]")'
REQUEUES = 20  # of a task that has run out of time; preemptions are not counted
SIGNAL = 90  # seconds before the end of its time, at which a task gets a signal
OWN = ("shard", "shard.index", "shard.count", "dry_run")  # settings that this command sets
EXAMPLES = """examples:
  imap submit renoise backbone=wan2_1_14b input_json=list.json output_dir=outputs/list --tasks 64 --time 8:00:00
  imap submit sample backbone=cogvideox_5b input_json=list.json --tasks 8 --slurm constraint=a100 --slurm qos=long
  imap submit sample input_json=list.json --tasks 2 --cluster local --wait
"""


def main(argv: Sequence[str], program: str = "imap submit") -> None:
    """Submit a list. Exits with status 1 if samples fail the check or, with --wait, are not finished in the end."""
    options = _parser(program).parse_intermixed_args(argv)
    plain_log()
    with errors_in_one_line():
        all_well = submit(options)
    sys.exit(0 if all_well else 1)


def submit(options: argparse.Namespace) -> bool:
    """Check a list, and submit its tasks. Returns whether all samples are well, as far as it has waited.

    Raises:
        ImapError: for anything that keeps the list from running. Nothing is submitted then.
    """
    _check_cluster(options)
    todo = check_list(options)
    out, count = todo.run.output_dir, min(options.tasks, len(todo.tasks))
    if not count:
        log.info("%s: %s; nothing is left to do", out, todo.tally)
        return not todo.tally.failed
    shards = [[f"shard.index={index}", f"shard.count={count}"] for index in range(count)]
    tasks = [ClusterTask([options.command, "pictures=false", *options.settings, *shard]) for shard in shards]
    log.info("%d samples, of which %d are left to do, as %d tasks", len(todo.names), len(todo.tasks), count)
    if options.dry_run:
        log.info("the first task: imap %s", shlex.join(tasks[0].arguments))
        log.info("each with: %s", ", ".join(f"{name}={value}" for name, value in resources(options).items()))
        return not todo.tally.failed
    logs = (options.folder or out.with_name(f"{out.name}.logs")).absolute()
    if "%" in str(logs):
        raise ImapError(f"{logs}: SLURM replaces % and the letter after it; name a folder for the logs with --folder")
    try:
        jobs = start(tasks, options, logs)
    except OSError as error:
        raise ImapError(f"{logs}: {first_line(error)}; name a folder for the logs with --folder") from error
    log.info("submitted: %s; logs: %s", ", ".join(dict.fromkeys(array_of(job.job_id) for job in jobs)), logs)
    if not options.wait:
        log.info("when they are done, imap view %s draws the pictures and the report", shlex.quote(str(out)))
        return not todo.tally.failed
    return wait(jobs, options.cluster, todo)


def check_list(options: argparse.Namespace) -> "Plan":
    """The plan of the whole list, checked as a task would check it on its node.

    Raises:
        ImapError: as `plan`, and for settings that the tasks set.
    """
    own = [x for x in options.settings if x.partition("=")[0].lstrip("+~") in OWN]
    if own:
        raise ImapError(f"{brief(own[0])}: imap submit sets it for each task; set --tasks or --dry-run instead")
    from omegaconf import OmegaConf

    from imap.config.overrides import check_overrides, literal
    from imap.runs.plan import plan

    config = check_overrides(CONFIGS[options.command], [literal(x) for x in options.settings])
    values: Any = OmegaConf.to_container(config, resolve=True)
    values["dry_run"] = options.dry_run
    if options.gpus or any("gpu" in x for x in options.slurm):
        values["backbone"] = on_a_gpu(values["backbone"])
        values["devices"] = _on_a_node(values["devices"], options)
    todo = plan(values, options.command == "renoise")
    if options.dry_run:  # else they are logged while they are found
        for problem in todo.problems:
            log_failure(problem.name, CHECK, problem.reason)
    return todo


def _on_a_node(devices: Any, options: argparse.Namespace) -> Any:
    """The setting `devices` for a check on a login node. Raises ImapError for GPUs that a task does not have."""
    gpus = [x for x in devices_of(devices) if isinstance(x, int)]
    asked = options.gpus and not any("gpu" in x for x in options.slurm)
    if gpus and asked and max(gpus) >= options.gpus:
        raise ImapError(f"devices={brief(devices)}, and a task has {options.gpus} GPUs; set --gpus {max(gpus) + 1}")
    return None if gpus else devices


def on_a_gpu(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model as a GPU would have them, for a check on a login node that has none."""
    import torch

    if torch.cuda.is_available() or backbone["device"] == "cpu":
        return dict(backbone)
    dtype = "bfloat16" if backbone["dtype"] == "auto" else backbone["dtype"]
    return {**backbone, "device": "cpu", "offload": "auto", "dtype": dtype}


def resources(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of a task, by their names in submitit."""
    own = dict(name_value.partition("=")[::2] for name_value in options.slurm)
    wanted = {
        "job_name": f"imap-{options.command}",
        "time": options.time,
        "gpus_per_node": options.gpus or None,
        "cpus_per_task": options.cpus,
        "mem": options.mem,
        "partition": options.partition,
        "account": options.account,
        # a step does not take over the processors of its job (since SLURM 22.05)
        "srun_args": [f"--cpus-per-task={options.cpus}"] if options.cpus else None,
        "signal_delay_s": SIGNAL,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True} | {name.replace("-", "_"): own[name] or True for name in own},
    }
    return {name: value for name, value in wanted.items() if value is not None}


def start(tasks: Sequence[ClusterTask], options: argparse.Namespace, logs: Path) -> list[Any]:
    """Submit tasks. Returns their jobs of submitit.

    Raises:
        ImapError: with the reason of sbatch.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if options.cluster == "slurm":
        executor = submitit.SlurmExecutor(logs, max_num_timeout=REQUEUES)
        executor.update_parameters(**resources(options), array_parallelism=len(tasks))  # else 256 at most
        try:
            return executor.submit_array(tasks)
        except (FailedJobError, FailedSubmissionError) as error:
            raise ImapError(f"sbatch has refused the tasks: {first_line(error)}") from error
    jobs, here = [], _gpus_here()
    each = min(1 if options.gpus is None else options.gpus, len(here))
    for index, task in enumerate(tasks):
        executor = submitit.LocalExecutor(logs, max_num_timeout=REQUEUES)
        own = tuple(here[(index * each + k) % len(here)] for k in range(each))
        executor.update_parameters(
            timeout_min=options.time, signal_delay_s=SIGNAL, stderr_to_stdout=True, gpus_per_node=each, visible_gpus=own
        )
        jobs.append(executor.submit(task))
    return jobs


def _gpus_here() -> list[int]:
    """Numbers of the GPUs that this process may use."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [int(x) for x in named] if all(x.isdigit() for x in named) else list(range(torch.cuda.device_count()))


def _check_cluster(options: argparse.Namespace) -> None:
    """Raise ImapError where tasks cannot be submitted."""
    if options.cluster == "slurm" and options.gpus is None:
        options.gpus = 1
    given = [f"--{name}" for name in ("cpus", "mem", "partition", "account", "slurm") if getattr(options, name)]
    if options.cluster == "local" and given:
        raise ImapError(f"{given[0]} is for sbatch, and --cluster local does not use it; leave it out")
    if options.dry_run:
        return
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ImapError(f"imap submit needs the package submitit; install it: {INSTALL}") from None
    if options.cluster == "slurm" and not all(map(shutil.which, ("sbatch", "srun", "squeue"))):
        raise ImapError(
            "there is no sbatch, srun or squeue here; run it on a node of a SLURM cluster, or set --cluster local for "
            "this machine"
        )


def _minutes(text: str) -> int:
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):(\d\d):(\d\d)|(\d+))", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write minutes, H:MM:SS or D-HH:MM:SS")
    days, hours, minutes, seconds, alone = (int(x or 0) for x in match.groups())
    total = alone + (days * 24 + hours) * 60 + minutes + (seconds > 0)
    if not total:
        raise argparse.ArgumentTypeError(f"{text!r} is too short a time; set a minute or more")
    return total


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _parser(program: str) -> argparse.ArgumentParser:
    about = "Check a list, and run it as an array of SLURM jobs. Preempted tasks are requeued, and go on."
    parser = argparse.ArgumentParser(
        prog=program, description=about, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("command", choices=CONFIGS, help="the command of each task")
    add("settings", nargs="*", metavar="setting=value", help="of that command; imap sample --help lists them")
    add("--tasks", type=_count, required=True, metavar="N", help="processes that share the list, at most")
    add("--cluster", choices=("slurm", "local"), default="slurm", help="local: processes of this machine [slurm]")
    add("--gpus", type=int, choices=range(17), metavar="N", help="GPUs of a task [1]")
    add("--cpus", type=_count, metavar="N", help="processors of a task [the cluster's default]")
    add("--mem", metavar="SIZE", help="memory of a task, such as 64G [the cluster's default]")
    add("--time", type=_minutes, default=240, help="of a task until it is requeued: minutes or H:MM:SS [240]")
    add("--partition", metavar="NAME")
    add("--account", metavar="NAME")
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help="any other option of sbatch; may be repeated")
    add("--folder", type=Path, metavar="LOGS", help="of the logs, seen by all nodes [OUTPUT_DIR.logs]")
    add("--wait", action="store_true", help="show progress; exit status 0 if all samples are finished in the end")
    add("--dry-run", action="store_true", help="check, say what would be submitted, and submit nothing")
    return parser
