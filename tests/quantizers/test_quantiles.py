"""T10 of static scales: exact quantiles over everything, one row per step, in any order."""

import pytest
import torch

from quantizers.calibration import CalibrationSet
from quantizers.quantiles import factored, quantile, quantile_tables, step_factors
from quantizers.quantize import quantize_
from quantizers.registry import parse_method
from tests.quantizers.denoising import STEPS, build

STEPPED = {"language": False, "dit.fc1": True, "dit.attention.to_q": False}


def tables(network, layout, calibration, percentile: float = 90.0, stepped=STEPPED):
    return quantile_tables(network, layout, stepped, calibration, lambda _name, x: x, percentile)


@pytest.mark.parametrize("percentile", [50.0, 99.9, 100.0])
@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_the_quantile_is_that_of_torch(percentile, total):
    values = torch.randn(total, 3, dtype=torch.float64).abs()
    falling = values.sort(dim=0, descending=True).values
    expected = values.quantile(percentile / 100, dim=0)
    torch.testing.assert_close(quantile(falling, percentile, total), expected)


def test_tables_are_quantiles_of_all_inputs_step_by_step():
    network, layout, calibration = build()
    seen: dict[float, list[torch.Tensor]] = {}
    times = []
    network.dit.register_forward_pre_hook(lambda _m, args: times.append(args[1][0].item()))
    network.dit.fc1.register_forward_pre_hook(
        lambda _m, args: seen.setdefault(times[-1], []).append(args[0].flatten(0, 1).abs()))
    found = tables(network, layout, calibration)
    steps, table = found["dit.fc1"]
    assert steps.tolist() == [step / STEPS for step in range(STEPS)] and found["language"][0] is None
    # Both passes of the collection were seen; each value counts twice, which moves no quantile between two of them.
    half = {time: torch.cat(parts[: len(parts) // 2]) for time, parts in seen.items()}
    expected = torch.stack([half[time.item()].quantile(0.9, dim=0) for time in steps])
    torch.testing.assert_close(table, expected)


def test_every_batch_counts_and_their_order_does_not():
    network, layout, calibration = build()
    first, second = calibration.batches
    found = tables(network, layout, calibration)
    turned = tables(network, layout, CalibrationSet.of([second, first]))
    louder = tables(network, layout, CalibrationSet.of([first, {"noise": second["noise"] * 1.5}]))
    for name in STEPPED:
        torch.testing.assert_close(turned[name][1], found[name][1])
        assert (louder[name][1] > found[name][1]).float().mean() > 0.9


def test_a_layer_that_is_never_called_is_an_error():
    network, layout, calibration = build()
    network.dit.attention.forward = lambda x: x
    with pytest.raises(ValueError, match="'dit.attention.to_q' is never called on the calibration set"):
        tables(network, layout, calibration)


def test_steps_of_a_layer_outside_of_the_denoiser_are_an_error():
    network, layout, calibration = build()
    with pytest.raises(ValueError, match="'language' is called outside of the denoiser"):
        tables(network, layout, calibration, stepped={"language": True})


def test_a_table_that_is_a_product_is_factored_exactly():
    channel, step = torch.rand(16) + 0.5, torch.tensor([1.0, 2.0, 5.0])
    found, rows = factored(step[:, None] * channel)
    torch.testing.assert_close(rows[:, None] * found, step[:, None] * channel)
    assert found.log().mean().abs() < 1e-6
    assert torch.equal(step_factors(torch.ones(2, 4), torch.ones(4)), torch.ones(2))


def test_static_scales_do_not_change_with_the_order_of_requests():
    network, layout, calibration = build()
    quantize_(network, layout, parse_method("omega-qvla:activation_scales=tensor"), calibration)
    x, y = torch.randn(2, 3, 16), torch.randn(2, 3, 16) * 30
    before = network(x)
    network(y)
    assert torch.equal(network(x), before)
    assert torch.equal(network(torch.cat([x, y]))[:2], before)
