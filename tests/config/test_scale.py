"""Settings of long lists."""

from pathlib import Path

import pytest

from imap import ImapError
from imap.config.scale import Scale, scale_settings

DEFAULTS = {"dry_run": False, "shard": {"index": 0, "count": 1}, "devices": None, "max_failures": None}


def test_one_process_does_the_whole_list_by_default():
    assert scale_settings(DEFAULTS) == Scale()


@pytest.mark.parametrize(("value", "devices"), [([0, 2], (0, 2)), (3, (3,)), ([], ()), ((1,), (1,))])
def test_devices_are_a_list_of_gpus(value, devices):
    assert scale_settings({**DEFAULTS, "devices": value}).devices == devices


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard": {"index": 2, "count": 2}}, "expected whole numbers, and an index from 0 to count - 1"),
        ({"shard": {"index": -1, "count": 2}}, "shard.index=-1"),
        ({"shard": {"index": True, "count": 2}}, "expected whole numbers"),
        ({"shard": {"index": 0, "count": 0}}, "shard.count=0"),
        ({"shard": {"index": 0}}, "set shard.index and shard.count"),
        ({"shard": "0/2"}, "set shard.index and shard.count"),
        ({"devices": "all"}, "is not a list of GPUs"),
        ({"devices": [0, 0]}, "names a GPU twice"),
        ({"devices": [-1]}, "is not a list of GPUs"),
        ({"max_failures": 0}, "max_failures=0 is not a number of samples"),
        ({"max_failures": 1.5}, "is not a number of samples"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"cache_latents": "a\0b"}, "cache_latents"),
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
