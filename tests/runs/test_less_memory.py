"""Memory that runs out: a safer offload where there is one, else advice. Errors are injected, on a CPU."""

# ruff: noqa: F401, F811  (fixtures of another module)

from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch

import imap.runs.less_memory
from imap import ImapError
from imap.map_files import read_meta
from imap.runs.failures import ERRORS
from imap.runs.less_memory import offload_of, safer_offload, with_less_memory
from imap.testing import tiny
from imap.tracing.out_of_memory import free_memory_of, is_out_of_memory
from tests.runs.test_runner import arrays, command, failing, listed, loads, visible

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FULL, True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (OSError("out of memory cards"), False),
        (ImapError("out of memory"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error: Exception, expected: bool):
    assert is_out_of_memory(error) is expected


def test_what_the_failed_work_held_is_freed_while_its_error_lives():
    freed = []

    class Held:
        def __del__(self) -> None:
            freed.append(1)

    def work() -> None:
        held = Held()
        held.itself = held
        try:
            raise RuntimeError("first")
        except RuntimeError:
            raise FULL from None

    with pytest.raises(RuntimeError) as raised:
        work()
    assert not freed
    free_memory_of(raised.value)
    assert freed and raised.value.__traceback__ is not None


def test_the_offload_is_read_from_the_pipeline():
    parts = {name: torch.nn.Linear(2, 2) for name in ("transformer", "vae")}
    pipe = SimpleNamespace(components={**parts, "tokenizer": None}, _execution_device=torch.device("cuda"), **parts)
    assert (offload_of(pipe), safer_offload(pipe)) == ("none", "model")
    accelerate.cpu_offload_with_hook(parts["transformer"], "cpu")
    assert (offload_of(pipe), safer_offload(pipe)) == ("model", "sequential")
    parts["transformer"].hf_quantizer = object()
    assert safer_offload(pipe) is None  # quantized weights are not moved layer by layer
    del parts["transformer"].hf_quantizer
    for part in parts.values():
        accelerate.hooks.remove_hook_from_module(part, recurse=True)
        accelerate.cpu_offload(part, "cpu")
    assert (offload_of(pipe), safer_offload(pipe)) == ("sequential", None)
    accelerate.hooks.remove_hook_from_module(parts["vae"], recurse=True)
    accelerate.hooks.remove_hook_from_module(parts["transformer"], recurse=True)
    parts["transformer"].hf_device_map = {"": 0}
    accelerate.hooks.add_hook_to_module(parts["transformer"], accelerate.hooks.AlignDevicesHook("cpu"))
    assert (offload_of(pipe), safer_offload(pipe)) == ("none", None)  # its weights are on several GPUs already
    accelerate.hooks.remove_hook_from_module(parts["transformer"], recurse=True)
    del parts["transformer"].hf_device_map
    pipe._execution_device = torch.device("cpu")
    assert safer_offload(pipe) is None


@pytest.fixture
def ladder(monkeypatch) -> list[str]:
    """As on a GPU: the offload gets safer twice, and nothing is moved. Returns the offloads that were set."""
    placed = []
    monkeypatch.setattr(imap.runs.less_memory, "place", lambda pipe, offload, device: placed.append(offload))
    monkeypatch.setattr(imap.runs.less_memory, "offload_of", lambda pipe: placed[-1] if placed else "none")
    monkeypatch.setattr(imap.runs.runner, "offload_of", lambda pipe: placed[-1] if placed else "none")
    safer = imap.runs.less_memory.SAFER
    monkeypatch.setattr(
        imap.runs.less_memory, "safer_offload", lambda pipe: safer.get(placed[-1] if placed else "none")
    )
    return placed


@pytest.mark.slow
def test_a_job_is_run_again_until_it_fits(pipes, ladder, caplog):
    tries = []

    def job() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise FULL
        return "done"

    assert with_less_memory(pipes("wan"), job) == "done" and ladder == ["model", "sequential"]
    assert "out of memory on cpu (CUDA out of memory. Tried to allocate 20.00 GiB.); offload=model from" in caplog.text
    with pytest.raises(ImapError, match="out of memory on cpu: .*; set a smaller height, width or num_frames, or"):
        with_less_memory(pipes("wan"), lambda: (_ for _ in ()).throw(FULL))
    with pytest.raises(ValueError, match="another"):
        with_less_memory(pipes("wan"), lambda: (_ for _ in ()).throw(ValueError("another")))
    assert ladder == ["model", "sequential"]


def test_the_advice_names_tiling_where_it_is_off(monkeypatch):
    pipe = SimpleNamespace(_execution_device=torch.device("cuda"), vae=SimpleNamespace(use_tiling=False))
    assert "set backbone.vae_tiling=true (slightly different pixels), a smaller" in imap.runs.less_memory._advice(pipe)
    pipe.vae.use_tiling = True
    assert imap.runs.less_memory._advice(pipe) == "set a smaller height, width or num_frames, or use a larger GPU"


@pytest.mark.slow
def test_a_list_goes_on_with_the_safer_offload_and_records_it(
    command,
    loads,
    ladder,
    tmp_path,
    monkeypatch,
    caplog,
):
    request = [listed(tmp_path, "a ball", "a dog", "a cat"), "num_inference_steps=1"]
    command("sampling", *request, f"output_dir={tmp_path / 'undisturbed'}")
    sample, tries = imap.runs.runner.sample_video, []

    def once_full(pipe, one, run, **prepared):
        output = sample(pipe, one, run, **prepared)
        tries.append(one.prompt)
        if tries == ["a ball", "a dog"]:
            raise FULL
        return output

    monkeypatch.setattr(imap.runs.runner, "sample_video", once_full)
    status, said = command("sampling", *request)
    assert status == 0 and "3 done" in said and tries == ["a ball", "a dog", "a dog", "a cat"] and ladder == ["model"]
    assert said.count("offload=model from now on: slower, the same maps") == 1
    names = ["000-a-ball", "001-a-dog", "002-a-cat"]
    offloads = [(read_meta(tmp_path / "out" / name) or {})["offload"] for name in names]
    assert offloads == ["none", "model", "model"]
    for name in names:
        one, other = arrays(tmp_path / "out" / name), arrays(tmp_path / "undisturbed" / name)
        assert all(np.array_equal(one[key], other[key]) for key in other)


@pytest.mark.slow
def test_a_sample_that_never_fits_fails_with_advice_and_the_others_go_on(command, loads, failing, tmp_path):
    failing("bad", FULL)
    status, said = command("sampling", listed(tmp_path, "a bad ball", "a dog"), "num_inference_steps=1")
    assert status == 1 and "1 done, 0 already finished, 1 failed (000-a-bad-ball)" in said
    assert "000-a-bad-ball failed (maps): out of memory on cpu: CUDA out of memory. Tried" in said
    assert "use a machine with more memory" in said and visible(tmp_path / "out") == ["001-a-dog", ERRORS]
    assert "failing_job" in (tmp_path / "out" / ERRORS).read_text()


def test_a_change_of_offload_is_made_by_diffusers(monkeypatch):
    pipe, called = tiny.build("wan"), []
    for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        monkeypatch.setattr(pipe, name, lambda device, name=name: called.append((name, str(device))))
    for offload in ("model", "sequential", "none"):
        imap.runs.less_memory.place(pipe, offload, torch.device("cpu"))
    assert called == [("enable_model_cpu_offload", "cpu"), ("enable_sequential_cpu_offload", "cpu")]


@pytest.mark.slow
def test_the_file_of_a_measured_layer_choice_survives_a_retry(command, loads, ladder, tmp_path, monkeypatch):
    """lambda_2 is measured anew after memory ran out: nothing of the first try is left in it."""
    request = ["prompt=a ball", "concepts=ball", "num_inference_steps=2", "imap_layer=auto"]
    command("sampling", *request, f"output_dir={tmp_path / 'undisturbed'}")
    sample, tries = imap.runs.runner.sample_video, []

    def once_full(*args, **prepared):
        output = sample(*args, **prepared)
        tries.append(1)
        if len(tries) == 1:
            raise FULL
        return output

    monkeypatch.setattr(imap.runs.runner, "sample_video", once_full)
    status, _ = command("sampling", *request)
    assert status == 0 and ladder == ["model"] and len(tries) == 3
    one, other = ((tmp_path / name / "layers.json").read_text() for name in ("out", "undisturbed"))
    assert one == other
