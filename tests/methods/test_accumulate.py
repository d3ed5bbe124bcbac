"""Means over layers and steps, one buffer per key."""

import pytest
import torch

from imap.methods.accumulate import RunningMaps

STEPS, LAYERS, SHAPE = 3, 4, (3, 2, 5)


@pytest.fixture
def x():
    """One map for each step and layer."""
    return torch.randn(STEPS, LAYERS, *SHAPE, generator=torch.Generator().manual_seed(0))


def feed(running, x):
    for step in x:
        for layer, value in enumerate(step):
            running.add(layer, {"imap": value, "sel_imap": 2 * value})
        running.end_step()
    return running.means()


def close(got, expected):
    torch.testing.assert_close(got.double(), expected.double(), rtol=1e-6, atol=1e-6)


def test_each_suffix_averages_its_own_layers_and_then_the_steps(x):
    means = feed(RunningMaps(range(3), [1, 3], softmax=False), x)
    assert set(means) == {"imap", "imap_layers", "sel_imap", "sel_imap_layers"}
    close(means["imap"], x[:, :3].double().mean(dim=(0, 1)))
    close(means["imap_layers"], x[:, [1, 3]].double().mean(dim=(0, 1)))
    close(means["sel_imap_layers"], 2 * x[:, [1, 3]].double().mean(dim=(0, 1)))


def test_maps_over_the_same_layers_share_one_buffer_and_their_means_do_not(x):
    running = RunningMaps(range(3), [2, 0, 1], softmax=False)
    means = feed(running, x)
    assert len(running._total) == 2 and set(means) == {"imap", "imap_layers", "sel_imap", "sel_imap_layers"}
    assert torch.equal(means["imap"], means["imap_layers"])
    means["imap"].zero_()
    close(means["imap_layers"], x[:, :3].double().mean(dim=(0, 1)))
    apart = RunningMaps(range(3), [1, 3], softmax=False)
    feed(apart, x)
    assert len(apart._total) == 4


def test_a_layer_of_neither_list_counts_nowhere(x):
    means = feed(RunningMaps(range(2), [1], softmax=False), x)
    other = x.clone()
    other[:, 2:] = 99
    again = feed(RunningMaps(range(2), [1], softmax=False), other)
    assert all(torch.equal(means[key], again[key]) for key in means)


def test_the_second_softmax_is_over_rows_after_the_mean_over_layers_and_before_that_over_steps(x):
    means = feed(RunningMaps(range(LAYERS), [1, 3], softmax=True), x)
    close(means["imap"], x.double().mean(dim=1).softmax(dim=1).mean(dim=0))
    close(means["imap_layers"], x[:, [1, 3]].double().mean(dim=1).softmax(dim=1).mean(dim=0))


def test_rows_of_prompt_tokens_have_a_softmax_of_their_own(x):
    means = feed(RunningMaps(range(LAYERS), [1], softmax=True, texts=1), x)
    mean = x.double().mean(dim=1)
    close(means["imap"][:1], mean[:, :1].mean(dim=0))  # a single text
    close(means["imap"][1:], mean[:, 1:].softmax(dim=1).mean(dim=0))
    means = feed(RunningMaps(range(LAYERS), [1], softmax=True, texts=2), x)
    close(means["imap"][:2], mean[:, :2].softmax(dim=1).mean(dim=0))
    close(means["imap"][2:], mean[:, 2:].mean(dim=0))


def test_a_single_row_is_not_made_constant_by_the_second_softmax(x):
    means = feed(RunningMaps(range(LAYERS), [1], softmax=True), x[:, :, :1])
    close(means["imap"], x[:, :, :1].double().mean(dim=(0, 1)))


def test_a_dropped_step_leaves_no_trace(x):
    running = RunningMaps(range(LAYERS), [1], softmax=False)
    running.add(0, {"imap": torch.full(SHAPE, 1e6)})
    running.drop_step()
    means = feed(running, x)
    assert running.steps == STEPS
    close(means["imap"], x.double().mean(dim=(0, 1)))


def test_maps_handed_over_are_neither_changed_nor_kept(x):
    running = RunningMaps([0], [0], softmax=False)
    first = x[0, 0].clone()
    running.add(0, {"imap": first})
    running.end_step()
    running.add(0, {"imap": x[1, 0]})
    running.end_step()
    assert torch.equal(first, x[0, 0])
    first.fill_(99)
    close(running.means()["imap"], x[:2, 0].double().mean(dim=0))


def test_asking_for_the_means_between_steps_changes_nothing(x):
    running = RunningMaps(range(LAYERS), [1], softmax=False)
    feed(running, x[:1])
    close(feed(running, x[1:])["imap"], x.double().mean(dim=(0, 1)))
