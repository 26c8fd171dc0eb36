import pytest
import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.candidates import compensated, nearest
from quantizers.exact import rank_correlation
from quantizers.grids import fake_quantize
from quantizers.layout import LinearSite, ModelLayout
from quantizers.sensitivity import action_deviation, action_sensitivity

BITS = (0, 2, 4, 8, 16)


def measure(module, layout, names, calibration, probes=100, seed=0):
    linears = {name: module.get_submodule(name) for name in names}
    return action_sensitivity(module, layout, linears, calibration, nearest(linears, BITS, "absmax"), probes, seed)


def truth(module, layout, name, calibration) -> torch.Tensor:
    """float64[L, O] by replacing one row at a time in every batch."""
    layer = module.get_submodule(name)
    result = torch.zeros(len(BITS), layer.out_features, dtype=torch.float64)
    samples = sum(len(next(iter(batch.values()))) for batch in calibration.batches)
    for batch in calibration.batches:
        with torch.no_grad():
            actions = layout.forward(module, batch)
        for level, width in enumerate(BITS[:-1]):
            rows = fake_quantize(layer.weight.detach(), width)
            for channel in range(layer.out_features):
                moved = action_deviation(module, layout, layer, channel, rows[channel], None, batch, actions)
                result[level, channel] += moved * len(actions) / samples
    return result


def layout_of(module: nn.Module) -> ModelLayout:
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return ModelLayout(
        tuple(LinearSite(name, "language") for name in names), lambda m, b: m(b["x"]).unflatten(-1, (2, -1))
    )


def random_batches(*shape: int) -> CalibrationSet:
    return CalibrationSet.of([{"x": torch.randn(shape)}, {"x": torch.randn(shape)}])


def test_on_a_linear_policy_the_estimate_is_the_true_deviation():
    module = nn.Sequential(nn.Linear(7, 9), nn.Linear(9, 4)).double().float()
    layout, calibration = layout_of(module), random_batches(11, 7)
    values = measure(module, layout, ["0", "1"], calibration)
    for name in ("0", "1"):
        torch.testing.assert_close(values[name], truth(module, layout, name, calibration), rtol=1e-4, atol=1e-9)


def test_random_probes_approach_the_exact_average():
    module = nn.Sequential(nn.Linear(7, 9), nn.Linear(9, 12))
    layout, calibration = layout_of(module), random_batches(100, 7)
    exact, estimate = (measure(module, layout, ["0"], calibration, probes)["0"] for probes in (12, 11))
    assert not torch.equal(exact, estimate)
    torch.testing.assert_close(estimate, exact, rtol=0.2, atol=0)


def test_on_a_network_the_ranking_is_that_of_true_measurements(policy, layout, calibration):
    names = ["vision", "blocks.0.v", "blocks.0.down", "blocks.1.q", "blocks.1.up"]
    values = measure(policy, layout, names, calibration)
    for level, least in ((1, 0.9), (2, 0.95), (3, 0.95)):
        estimates = torch.cat([values[name][level] for name in names]).tolist()
        true = torch.cat([truth(policy, layout, name, calibration)[level] for name in names]).tolist()
        assert rank_correlation(estimates, true) >= least


def test_compensated_rows_and_their_biases_are_measured_as_they_are(policy, layout, calibration):
    linears = {name: policy.get_submodule(name) for name in ("vision", "blocks.0.o")}
    candidates = compensated(policy, layout, linears, calibration, BITS, "search", 0.01)
    estimate = action_sensitivity(policy, layout, linears, calibration, candidates, 100, 0)
    batch = {name: torch.cat([b[name] for b in calibration.batches]) for name in calibration.batches[0]}
    actions = layout.forward(policy, batch).detach()
    for name, layer in linears.items():
        mean = candidates.means.get(name)
        rows = candidates.weights(name, layer)[3]
        true = [action_deviation(policy, layout, layer, channel, rows[channel], mean, batch, actions)
                for channel in range(layer.out_features)]
        assert rank_correlation(estimate[name][3].tolist(), true) >= 0.95
        torch.testing.assert_close(estimate[name][3].sum().item(), sum(true), rtol=0.1, atol=0)


def test_a_channel_with_no_path_to_the_actions_is_exactly_zero(policy, layout, calibration):
    with torch.no_grad():
        policy.blocks[0].o.weight[:, :6] = 0.0  # the first head of the first block
    values = measure(policy, layout, ["blocks.0.q", "unused", "blocks.0.gate"], calibration, probes=3)
    assert not values["unused"].any() and not values["blocks.0.q"][:, :6].any()
    assert values["blocks.0.q"][0, 6:].all() and values["blocks.0.gate"][0].all()


def test_sixteen_bits_cost_nothing_and_zero_bits_most(policy, layout, calibration):
    values = measure(policy, layout, ["blocks.0.gate"], calibration)["blocks.0.gate"]
    assert not values[4].any()
    assert values[0].mean() > values[2].mean() > values[3].mean() > 0


def test_the_batching_of_samples_does_not_matter(policy, layout, calibration):
    joined = {name: torch.cat([batch[name] for batch in calibration.batches]) for name in calibration.batches[0]}
    apart = measure(policy, layout, ["vision", "blocks.1.k"], calibration)
    together = measure(policy, layout, ["vision", "blocks.1.k"], CalibrationSet.of([joined]))
    for name, value in apart.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-12)


def test_a_layer_called_twice_is_moved_in_both_calls():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) + self.layer(2 * x)

    module = Twice()
    layout, calibration = layout_of(module), random_batches(6, 4)
    values = measure(module, layout, ["layer"], calibration)["layer"]
    torch.testing.assert_close(values, truth(module, layout, "layer", calibration), rtol=1e-4, atol=1e-9)


def test_the_module_is_left_as_it_was(policy, layout, calibration):
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    policy.head.bias.requires_grad_(False)
    measure(policy, layout, ["vision"], calibration)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())
    assert policy.vision.weight.requires_grad and not policy.head.bias.requires_grad
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert not policy.vision._forward_hooks


def test_actions_that_cannot_be_differentiated_are_an_error(policy, layout, calibration):
    blind = ModelLayout(layout.linears, torch.no_grad()(layout.forward))
    with pytest.raises(ValueError, match="no_grad"):
        measure(policy, blind, ["vision"], calibration)
    assert policy.vision.weight.requires_grad


def test_rank_correlation_shares_ranks_between_ties():
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert rank_correlation([1, 1], [1, 2]) is None
