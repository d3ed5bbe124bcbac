"""A pytest plugin: logs every test and every pipeline call, and opens a trace around each call if SUITE_TRACE is set.

SUITE_LOG names the log, one JSON object a line. A call that imap refuses is repeated without a trace, from the same
random state, so the test goes on.
"""

import functools
import hashlib
import importlib
import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import imap
from imap.backbones import FAMILIES

TRACED, LOG = bool(os.environ.get("SUITE_TRACE")), os.environ.get("SUITE_LOG", "")
CONCEPTS, MOTIONS = ["cat", "grass"], ["running"]
_now: dict[str, Any] = {"test": None, "call": 0}


def pytest_configure() -> None:
    """Wrap the pipelines of imap's families before any test module is imported."""
    for pipeline in pipelines():
        pipeline.__call__ = logged(pipeline.__call__)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Calls are counted by test, so that both runs name them alike."""
    _now.update(test=nodeid, call=0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Log the outcome of a test: that of its call, or of a setup or teardown that did not pass."""
    if report.when == "call" or report.outcome != "passed":
        said = str(report.longrepr).strip().splitlines()[-1:] if report.failed else []
        _log(kind="test", test=report.nodeid, outcome=report.outcome, error="".join(said)[:300])


def folders() -> list[str]:
    """Folders of diffusers/pipelines, and of its tests, that have a pipeline of imap's families."""
    named = {name for family in FAMILIES for name in (family.pipeline_class, *family.also_loads)}
    found = (getattr(diffusers, name, None) for name in named)  # an older diffusers lacks some
    return sorted({kind.__module__.split(".")[2] for kind in found if kind and "pipelines" in kind.__module__})


def pipelines() -> Iterator[type]:
    """All pipelines in these folders: of imap's families, and relatives that it refuses."""
    for folder in folders():
        module = importlib.import_module(f"diffusers.pipelines.{folder}")
        for name in sorted(dir(module)):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, diffusers.DiffusionPipeline) and "__call__" in vars(value):
                yield value


def logged(own: Callable[..., Any]) -> Callable[..., Any]:
    """A pipeline's `__call__` that logs its output, its hooks, and why imap refused it."""

    @functools.wraps(own)
    def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
        _now["call"] += 1
        record = {"kind": "call", **_now, "pipeline": type(pipe).__name__, "outcome": "untraced"}
        hooks, trace = count_hooks(pipe), None
        restore = random_state(kwargs.get("generator"))
        try:
            with ExitStack() as stack:
                if TRACED:
                    trace = stack.enter_context(imap.trace(pipe, concepts=CONCEPTS, motions=MOTIONS))
                    record["outcome"] = "traced"
                output = own(pipe, *args, **kwargs)
        except imap.ImapError as error:
            record |= {"outcome": "refused", "error": str(error)}
            restore()
            trace, output = None, _logged_error(record, own, pipe, *args, **kwargs)
        except Exception as error:
            _log(**record, raised=_described(error))
            raise
        record |= {"output": digest(output), "random": digest(torch.get_rng_state())}
        _log(**record, hooks_left=count_hooks(pipe) - hooks, **(maps_of(trace) if trace else {}))
        return output

    return call


def _logged_error(record: dict[str, Any], own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The output of a call without a trace. Its error is logged too."""
    try:
        return own(*args, **kwargs)
    except Exception as error:
        _log(**record, raised=_described(error))
        raise


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def maps_of(trace: imap.Trace) -> dict[str, Any]:
    """Whether a trace has finite maps."""
    try:
        maps = trace.maps()
    except imap.ImapError as error:
        return {"no_maps": str(error)}
    return {"finite": all(bool(np.isfinite(array).all()) for array in maps.values())}


def random_state(generator: Any) -> Callable[[], None]:
    """A function that puts the random state back to what it is now."""
    given = generator if isinstance(generator, list | tuple) else [generator]
    generators = [x for x in given if isinstance(x, torch.Generator)]
    states, state = [x.get_state() for x in generators], torch.get_rng_state()

    def restore() -> None:
        torch.set_rng_state(state)
        for one, before in zip(generators, states, strict=True):
            one.set_state(before)

    return restore


def count_hooks(pipe: Any) -> int:
    """Hooks on all modules of a pipeline."""
    parts = [x for x in pipe.components.values() if isinstance(x, torch.nn.Module)]
    modules = [module for part in parts for module in part.modules()]
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def digest(value: Any) -> str:
    """A hash of all numbers of an output, with their types and shapes."""
    hashed = hashlib.sha256()
    for array in _arrays(value):
        hashed.update(f"{array.dtype} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:16]


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        yield value.numpy() if value.dtype != torch.bfloat16 else value.view(torch.int16).numpy()
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item)
    elif value is not None:  # as an array it would be its address
        yield np.asarray(value)  # an image, an array or a number


def _log(**record: Any) -> None:
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
