import pytest
import torch
from torch import nn

from quantizers.calibration import CalibrationSet
from quantizers.candidates import nearest
from quantizers.gram import gram_sensitivity, grams, input_weights
from quantizers.grids import fake_quantize
from quantizers.layout import LinearSite, ModelLayout


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


@pytest.fixture
def net_layout() -> ModelLayout:
    return ModelLayout(
        (LinearSite("0", "language"), LinearSite("2", "language")),
        lambda module, batch: module(batch["x"]).mean(dim=1).unflatten(-1, (2, 2)),
    )


@pytest.fixture
def tokens() -> CalibrationSet:
    return CalibrationSet.of([{"x": torch.randn(3, 7, 6)}, {"x": torch.randn(2, 7, 6)}])


def layers(net: nn.Module) -> dict[str, nn.Linear]:
    return {"0": net[0], "2": net[2]}


def test_the_gram_is_that_of_the_saved_inputs_over_samples(net, net_layout, tokens):
    found = grams(net, net_layout, layers(net), tokens)
    x = torch.cat([batch["x"] for batch in tokens.batches]).reshape(-1, 6)
    torch.testing.assert_close(found["0"], 2 / 5 * x.t() @ x)
    h = net[1](net[0](x)).detach()
    torch.testing.assert_close(found["2"], 2 / 5 * h.t() @ h)


def test_the_proxy_equals_a_plain_loop(net, net_layout, tokens):
    bits = (0, 2, 4, 8, 16)
    values = gram_sensitivity(net, net_layout, layers(net), tokens, nearest(layers(net), bits, "absmax"), 0.01)
    for name, layer in layers(net).items():
        gram = grams(net, net_layout, layers(net), tokens)[name].double()
        gram += 0.01 * gram.diagonal().mean() * torch.eye(len(gram))
        upper = torch.linalg.cholesky(torch.linalg.inv(gram)).t()
        weight = layer.weight.detach()
        for level, width in enumerate(bits):
            for row in range(layer.out_features):
                quantized = fake_quantize(weight, width)[row] if width < 16 else weight[row]
                loop = sum(
                    (weight[row, j] - quantized[j]).item() ** 2 / max(upper[j, j].item() ** 2, 1e-12)
                    for j in range(layer.in_features)
                )
                assert values[name][level, row].item() == pytest.approx(loop, rel=1e-5, abs=1e-12)


def test_the_proxy_is_the_true_output_error_if_inputs_are_uncorrelated(net, net_layout):
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unsqueeze(1)
    calibration = CalibrationSet.of([{"x": x}])
    weight = net[0].weight.detach()
    candidates = nearest(layers(net), (2, 16), "absmax")
    proxy = gram_sensitivity(net, net_layout, layers(net), calibration, candidates, 1e-9)["0"][0]
    error = x.squeeze(1) @ (fake_quantize(weight, 2) - weight).t()
    torch.testing.assert_close(proxy.float(), 2 / 6 * error.square().sum(dim=0), rtol=1e-5, atol=1e-9)


def test_a_layer_that_is_never_called_is_charged_its_plain_weight_error():
    torch.testing.assert_close(input_weights(torch.zeros(4, 4), 0.01), torch.full((4,), 1.01, dtype=torch.float64))


def test_a_dead_input_counts_as_one_of_power_one():
    gram = torch.diag(torch.tensor([4.0, 0.0]))
    torch.testing.assert_close(input_weights(gram, 0.1), torch.tensor([4.25, 1.25], dtype=torch.float64))
