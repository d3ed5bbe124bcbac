"""Settings of long lists."""

from pathlib import Path

import pytest
import torch

from imap import ImapError
from imap.config.scale import Scale, scale_settings, with_device

DEFAULTS = {"dry_run": False, "shard": {"index": 0, "count": 1, "helps": True}, "devices": None, "max_failures": None}


def test_one_process_does_the_whole_list_by_default():
    assert scale_settings(DEFAULTS) == Scale()


@pytest.mark.parametrize(
    ("value", "devices"),
    [([0, 2], (0, 2)), (3, (3,)), ([], ()), ((1,), (1,)), (["cpu", "cpu"], ("cpu", "cpu")), ("cpu", ("cpu",))],
)
def test_devices_are_a_list_of_gpus_or_of_cpu(value, devices):
    assert scale_settings({**DEFAULTS, "devices": value}).devices == devices


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"shard": {"index": 2, "count": 2, "helps": True}},
            "expected whole numbers, and an index from 0 to count - 1",
        ),
        ({"shard": {"index": -1, "count": 2, "helps": True}}, "shard.index=-1"),
        ({"shard": {"index": True, "count": 2, "helps": True}}, "expected whole numbers"),
        ({"shard": {"index": 0, "count": 0, "helps": True}}, "shard.count=0"),
        ({"shard": {"index": 0}}, "set shard.index, shard.count and shard.helps"),
        ({"shard": {"index": 0, "count": 2, "helps": "no"}}, "shard.helps"),
        ({"shard": "0/2"}, "set shard.index, shard.count and shard.helps"),
        ({"devices": "all"}, "is not a list; write GPUs as devices=[0,1,2,3]"),
        ({"devices": [0, "cpu"]}, "is neither a list of GPUs nor of cpu"),
        ({"devices": ["gpu"]}, "is neither a list of GPUs nor of cpu"),
        ({"devices": [0, 0]}, "names a GPU twice"),
        ({"devices": [-1]}, "is neither a list of GPUs nor of cpu"),
        ({"max_failures": 0}, "max_failures=0 is not a number of samples"),
        ({"max_failures": 1.5}, "is not a number of samples"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"cache_latents": "a\0b"}, "cache_latents"),
        ({"cache_latents": ["a"]}, "is neither true, null nor a folder"),
        ({"cache_latents": 5}, "is neither true, null nor a folder"),
        ({"cache_latents": ""}, "is neither true, null nor a folder"),
    ],
)
def test_faulty_settings_are_refused(settings, message):
    with pytest.raises(ImapError) as error:
        scale_settings({**DEFAULTS, **settings})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("value", "folder"), [(None, None), (False, None), (True, "out/.latents"), ("true", "out/.latents"), ("a/b", "a/b")]
)
def test_encodings_are_kept_in_the_output_folder_or_in_a_named_one(value, folder):
    scale = scale_settings({**DEFAULTS, "output_dir": "out", "cache_latents": value})
    assert scale.cache_latents == (folder and Path(folder))


def test_processes_have_the_device_that_they_share(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert with_device({"device": "auto", "id": 1}, Scale()) == {"device": "auto", "id": 1}
    assert with_device({"device": "auto", "id": 1}, Scale(devices=(1, 0))) == {"device": "cuda", "id": 1}
    assert with_device({"device": "cpu"}, Scale(devices=("cpu", "cpu"))) == {"device": "cpu"}


@pytest.mark.parametrize(
    ("count", "devices", "device", "message"),
    [
        (0, (0, 1), "auto", r"devices=\[0,1\], but torch .* finds no CUDA GPU here; leave devices out"),
        (2, (0, 2), "auto", r"devices=\[0,2\]: there is no GPU 2; this machine has 2, and numbers start at 0"),
        (2, (0, 1), "cpu", r"devices=\[0,1\] and backbone.device='?cpu'? both name a device"),
        (2, ("cpu",), "cuda", "both name a device"),
    ],
)
def test_devices_that_are_not_there_are_refused(monkeypatch, count, devices, device, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ImapError, match=message):
        with_device({"device": device}, Scale(devices=devices))
