import json

import pytest

from quantizers.awq import AWQ
from quantizers.gptq import GPTQ
from quantizers.identity import Identity
from quantizers.omega_qvla import OmegaQVLA
from quantizers.omniquant import OmniQuant
from quantizers.quantize import _PLANNERS
from quantizers.quantvla import QuantVLA
from quantizers.qvla import QVLA
from quantizers.registry import METHODS, UnknownMethod, config_class, from_json, method_name, parse_method, to_json
from quantizers.rtn import RTN
from quantizers.smoothquant import SmoothQuant

EXAMPLES = {
    "fp": Identity(),
    "rtn": RTN(),
    "rtn:w4": RTN(weight_bits=4, activation_bits=None),
    "rtn:w8a8": RTN(weight_bits=8, activation_bits=8),
    "rtn:w4a16,group=64": RTN(weight_bits=4, activation_bits=None, group_size=64),
    "rtn:weight_bits=2, clip=search, group_size=none": RTN(weight_bits=2, clip="search"),
    "rtn:w4a8,roles=vision/language/lm_head": RTN(weight_bits=4, roles=("vision", "language", "lm_head")),
    "rtn:w3a4,clip=minmax": RTN(weight_bits=3, activation_bits=4, clip="minmax"),
    "smoothquant": SmoothQuant(),
    "smoothquant:w4a4,alpha=0.7,group=auto": SmoothQuant(4, 4, "auto", alpha=0.7),
    "smoothquant:alphas=0.5/0.9": SmoothQuant(alphas=(0.5, 0.9)),
    "awq": AWQ(weight_bits=4, activation_bits=None, group_size="auto", clip="minmax"),
    "awq:w3,group=64,input_scales=false": AWQ(weight_bits=3, group_size=64, input_scales=False),
    "gptq": GPTQ(weight_bits=4, activation_bits=None, group_size=None),
    "gptq:w4a8,group=Auto,act_order=False": GPTQ(activation_bits=8, group_size="auto", act_order=False),
    "omniquant": OmniQuant(weight_bits=4, activation_bits=4, epochs=20),
    "omniquant:w4a16,group=none,epochs=3": OmniQuant(activation_bits=None, epochs=3),
    "quantvla": QuantVLA(4, 8, None, "five", "svd", 64, "none", True, percentile=99.9),
    "quantvla:temperature=false,balance=false,w4a16": QuantVLA(4, None, temperature=False, balance=False),
    "quantvla:activation_scales=channel,backend=reference": QuantVLA(activation_scales="channel", backend="reference"),
    "omega-qvla": OmegaQVLA(4, 4, "auto", "five", "svd_hadamard", 64, "zigzag", True, "gptq", "nearest", 0.05),
    "omega-qvla:w8a8,permute=snake,head_scales=token": OmegaQVLA(8, 8, permute="snake", head_scales="token"),
    "qvla": QVLA(),
    "qvla:a16": QVLA(activation_bits=None),
    "qvla:target_bits=4,budget=bytes": QVLA(budget="bytes"),
    "qvla:bits=0/4/8,rule=hull,probes=4,damp=0.1": QVLA(bits=(0, 4, 8), rule="hull", probes=4, damp=0.1),
}


@pytest.mark.parametrize(("text", "config"), EXAMPLES.items())
def test_a_method_is_written_as_text(text, config):
    assert parse_method(text) == config


@pytest.mark.parametrize("config", EXAMPLES.values())
def test_configs_survive_json(config):
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_every_entry_has_a_class_and_a_planner():
    for name in METHODS:
        kind = config_class(name)
        assert method_name(kind()) == name and kind in _PLANNERS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtm:w4", "'rtm'; legal names are fp, rtn, smoothquant, awq, gptq, omniquant, qvla, quantvla, omega-qvla; did "
         "you mean 'rtn'?"),
        ("", "unknown method ''"),
        ("rtn:w5", "weight_bits is 5; legal values are 2, 3, 4, 8, 16"),
        ("rtn:w4a6", "activation_bits is 6; legal values are 4, 8, None"),
        ("gptq:w16", "weight_bits is 16; legal values are 2, 3, 4, 8"),
        ("awq:group=many", "group_size is 'many'; it must be an integer or 'auto'"),
        ("awq:ratios=0", "ratios is 0; it must be positive"),
        ("awq:clip_steps=25", "clip_steps is 25"),
        ("gptq:act_order=maybe", "act_order is 'maybe'; legal values are True, False"),
        ("gptq:damp=0", "damp is 0"),
        ("smoothquant:alpha=1.5", "alpha is 1.5; it must lie in 0 .. 1"),
        ("smoothquant:group=-2", "group_size is -2; it must be positive"),
        ("omniquant:epochs=-1", "epochs is -1"),
        ("rtn:grup=64", "no field 'grup'.*did you mean 'group_size'"),
        ("rtn:w4,group=x", "group_size is 'x'; it must be an integer"),
        ("rtn:group=0", "group_size is 0"),
        ("rtn:w4,weight_bits=8", "twice"),
        ("quantvla:activation_scales=channel", "backend is 'auto', it must be 'reference', or take scales per token"),
        ("omega-qvla:head_scales=channel,backend=cpu", "no integer backend can do; backend is 'cpu'"),
        ("omega-qvla:percentile=0", "percentile is 0"),
        ("omega-qvla:permute=snack", "legal values are none, snake, zigzag; did you mean 'snake'?"),
        ("quantvla:block=0", "block is 0; it must be positive"),
        ("rtn:four", "neither field=value nor a short form"),
        ("rtn:w4,backend=cpu", "needs activation_bits=4 or 8"),
        ("fp:w4", "method 'fp' has no field 'weight_bits'; its fields are none"),
        ("qvla:rule=hul", "rule is 'hul'; legal values are hull, incremental, released; did you mean 'hull'?"),
        ("qvla:w4", "no field 'weight_bits'"),
        ("qvla:bits=0/3", "bits is '3'; legal values are 0, 2, 4, 8, 16"),
        ("qvla:bits=4/2", "growing"),
        ("qvla:target_bits=low", "must be a number"),
        ("qvla:probes=0", "probes is 0"),
        ("qvla:roles=eyes", "roles is 'eyes'; legal values are vision"),
    ],
)
def test_a_wrong_text_is_an_error_that_names_the_legal_values(text, message):
    with pytest.raises(ValueError, match=message):
        parse_method(text)


def test_an_unknown_name_in_json_is_an_error():
    with pytest.raises(UnknownMethod, match="gptk"):
        from_json({"method": "gptk"})
    with pytest.raises(ValueError, match="no field 'bit'"):
        from_json({"method": "qvla", "bit": 4})
    with pytest.raises(TypeError, match="not the config"):
        method_name(3)
