"""A stopped training resumes with the same weights, and refuses other settings."""

import pytest
import torch
from torch import nn

from imap.errors import ImapError
from imap.shapes.training.fit import Fit, adamw
from imap.shapes.training.muon import Muon


def fitted(path, steps, stop=None, lr=0.2):
    """Fit a line; `stop` interrupts the training after some steps."""
    torch.manual_seed(0)
    line = nn.Linear(3, 1)
    trained = [Muon([line.weight], lr), adamw([line.bias], 0.1)]
    fit = Fit(line, path, steps, trained, {"steps": steps, "lr": lr}, ema=0.9, anneal=0.5)

    def loss_of(step):
        if step == stop:
            raise KeyboardInterrupt
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        return (fit.module(x) - x.sum(dim=1, keepdim=True)).square().mean()

    try:
        fit.run(loss_of)
    except KeyboardInterrupt:
        fit.save()
    return fit


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path):
    whole = fitted(tmp_path / "whole.pt", 40)
    assert fitted(tmp_path / "stopped.pt", 40, stop=17).step == 17
    resumed = fitted(tmp_path / "stopped.pt", 40)
    assert resumed.step == 40 and len(resumed.losses) == 40
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.mean.parameters(), resumed.mean.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.stack(resumed.losses[-5:]).mean() < 0.3 * torch.stack(resumed.losses[:5]).mean()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_training_resumes_with_more_steps_but_not_with_other_settings(tmp_path):
    fitted(tmp_path / "line.pt", 10)
    assert fitted(tmp_path / "line.pt", 20).step == 20
    with pytest.raises(ImapError, match=r"was trained with .*0\.2.* now are .*0\.3.* set another output_dir"):
        fitted(tmp_path / "line.pt", 20, lr=0.3)
    with pytest.raises(ImapError, match="has 20 steps, more than the 15 of the settings"):
        fitted(tmp_path / "line.pt", 15)


def test_a_finished_training_resumes_with_the_learning_rates_of_more_steps(tmp_path):
    fitted(tmp_path / "line.pt", 10)
    longer = fitted(tmp_path / "line.pt", 40, stop=10)
    rates = [group["lr"] for x in longer.optimizers for group in x.param_groups]
    assert rates == pytest.approx([0.2 * 11 / 40, 0.1 * 11 / 40])
