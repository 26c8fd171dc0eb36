from __future__ import annotations

import pytest
import torch

from policies.pocket.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_a_step_is_that_of_torch_but_for_the_rounding_of_bfloat16(shape):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    own, other = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = Muon([own], 0.02, 0.1), torch.optim.Muon([other], 0.02, 0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        own.grad, other.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (own - other).norm() <= 0.03 * (other - start).norm()


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_singular_values_end_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert 0.6 < values.min() and values.max() < 1.3
    assert not orthogonal(torch.zeros(shape)).any()


def test_a_matrix_without_gradient_stays_and_the_state_goes_on_in_another_optimizer():
    still, moved = torch.ones(3, 3, requires_grad=True), torch.ones(3, 3, requires_grad=True)
    optimizer = Muon([still, moved], 0.1, 0.1)
    moved.grad = torch.eye(3)
    optimizer.step()
    assert torch.equal(still, torch.ones(3, 3)) and not torch.equal(moved, torch.ones(3, 3))
    again = Muon([matrix.detach().clone().requires_grad_() for matrix in (still, moved)], 0.1, 0.1)
    again.load_state_dict(optimizer.state_dict())
    moved.grad = torch.eye(3)
    again.param_groups[0]["params"][1].grad = torch.eye(3)
    optimizer.step()
    again.step()
    assert torch.equal(again.param_groups[0]["params"][1], moved)
