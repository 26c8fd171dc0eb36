import torch
from torch import nn

from quantizers.folds import apply_
from quantizers.plan import Rewriting
from quantizers.sharing import Changed, Made, sharing_copy


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3))


def test_a_sharing_copy_has_the_tensors_and_not_the_modules():
    module = network()
    twin = sharing_copy(module)
    assert all(a is b for a, b in zip(module.parameters(), twin.parameters(), strict=True))
    assert all(a is not b for a, b in zip(module.modules(), twin.modules(), strict=True))


def test_what_changes_in_a_copy_leaves_the_original_and_can_be_adopted():
    module = network()
    twin, before = sharing_copy(module), module[0].weight.detach().clone()
    apply_(twin, {"0.weight": before + 1})
    assert torch.equal(module[0].weight, before) and torch.equal(twin[0].weight, before + 1)
    rewriting = Rewriting(module)
    rewriting.adopt(twin)
    assert torch.equal(module[0].weight, before + 1) and twin[0].weight is module[0].weight
    assert rewriting.moved() == ("0.weight",)


def test_a_weight_of_two_modules_stays_that_of_both():
    module = network()
    module[2].weight = module[0].weight
    apply_(module, {"0.weight": torch.zeros(3, 3), "2.weight": torch.ones(3, 3)})
    assert module[0].weight is module[2].weight and module[0].weight.eq(1).all()


def test_made_and_changed_modules_answer_as_what_they_stand_for():
    module, x = network(), torch.randn(2, 3)
    assert torch.equal(Made(lambda: module[0])(x), module[0](x))
    changed = Changed(module[0], lambda: {"weight": torch.eye(3), "bias": torch.zeros(3)})
    assert torch.equal(changed(x), x) and not list(changed.parameters())
