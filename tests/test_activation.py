"""Activations by name, by module and by callable."""

import copy
import math

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from repflow.activation import activation_from_dict, activation_names, as_activation, as_activations

Z = torch.linspace(-5.0, 5.0, 41, dtype=torch.float64) + 0.0123
NAMES = [name for name in activation_names() if name != "monomial"] + ["monomial:3", "leaky_relu:0.2", "elu:0.5"]


def cube_root_like(z):
    """Importable, so that a file can refer to it."""
    return z / (1 + z * z) ** (1 / 3)


def through_numpy(z):
    return torch.as_tensor(np.tanh(z.numpy()) + 0.5 * np.maximum(z.numpy(), 0.25))


REFERENCE = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0),
    "leaky_relu:0.2": lambda z: z if z > 0 else 0.2 * z,
    "abs": abs,
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "erf": mpmath.erf,
    "arctan": mpmath.atan,
    "gelu": lambda z: z * (1 + mpmath.erf(z / mpmath.sqrt(2))) / 2,
    "gelu_tanh": lambda z: z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "mish": lambda z: z * mpmath.tanh(mpmath.log(1 + mpmath.exp(z))),
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "elu:0.5": lambda z: z if z > 0 else 0.5 * mpmath.expm1(z),
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * mpmath.expm1(z)),
    "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "hardtanh": lambda z: min(max(z, -1), 1),
    "hardswish": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "monomial:3": lambda z: z**3,
    "perceptron": lambda z: 1 if z > 0 else 0,
}


class TestRegistered:
    @pytest.mark.parametrize("name", REFERENCE)
    def test_values(self, name):
        exact = torch.tensor([float(REFERENCE[name](mpmath.mpf(z))) for z in Z.tolist()], dtype=torch.float64)
        torch.testing.assert_close(as_activation(name)(Z), exact, rtol=1e-12, atol=1e-15)

    def test_every_registered_one_has_a_reference(self):
        missing = {name.partition(":")[0] for name in NAMES} - {name.partition(":")[0] for name in REFERENCE}
        assert missing == set()

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("order", [1, 2, 3])
    def test_derivatives_are_those_of_the_values(self, name, order):
        activation = as_activation(name)
        points = Z
        for kink in activation.kinks:
            points = points[(points - kink).abs() > 0.07]
        fitted = activation.local_derivative(points, order)
        # Each derivative of the fit costs about two digits of the values it starts from.
        atol = 1e-13 * 10.0 ** (2 * order) * (1.0 + float(activation(points).abs().max()))
        torch.testing.assert_close(activation.derivative(points, order), fitted, rtol=1e-9, atol=atol)

    def test_derivative_of_order_zero_is_the_function(self):
        assert torch.equal(as_activation("tanh").derivative(Z, 0), torch.tanh(Z))

    @pytest.mark.parametrize("order", [1, 2, 5])
    def test_derivatives_beyond_the_degree_vanish(self, order):
        derivative = as_activation("monomial:2").derivative(Z, order)
        expected = {1: 2 * Z, 2: torch.full_like(Z, 2.0), 5: torch.zeros_like(Z)}[order]
        torch.testing.assert_close(derivative, expected)

    def test_derivative_keeps_shape_and_leaves_the_argument_alone(self):
        z = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
        derivative = as_activation("gelu").derivative(z, 2)
        assert derivative.shape == (2, 3)
        assert not derivative.requires_grad
        assert z.grad is None

    @pytest.mark.parametrize(
        ("name", "slopes"),
        [
            ("relu", (0.0, 1.0)),
            ("identity", (1.0, 1.0)),
            ("abs", (-1.0, 1.0)),
            ("leaky_relu:0.2", (0.2, 1.0)),
            ("leaky_relu", (0.01, 1.0)),
            ("tanh", None),
            ("perceptron", None),
        ],
    )
    def test_slopes(self, name, slopes):
        assert as_activation(name).slopes == slopes

    @pytest.mark.parametrize(
        ("name", "order", "jumps"),
        [
            ("relu", 1, ((0.0, 1.0),)),
            ("relu", 2, ()),
            ("abs", 1, ((0.0, 2.0),)),
            ("perceptron", 0, ((0.0, 1.0),)),
            ("hardtanh", 1, ((-1.0, 1.0), (1.0, -1.0))),
            ("softsign", 2, ((0.0, -4.0),)),
            ("gelu", 1, ()),
        ],
    )
    def test_jumps(self, name, order, jumps):
        found = as_activation(name).jumps(order)
        assert [point for point, _ in found] == [point for point, _ in jumps]
        np.testing.assert_allclose([size for _, size in found], [size for _, size in jumps], rtol=1e-6)

    def test_smoothness(self):
        assert as_activation("gelu").smooth
        assert not as_activation("softsign").smooth
        assert as_activation("relu").continuous
        assert not as_activation("perceptron").continuous


class TestNames:
    @pytest.mark.parametrize(
        ("alias", "name"), [("linear", "identity"), ("swish", "silu"), ("step", "perceptron"), ("atan", "arctan")]
    )
    def test_aliases(self, alias, name):
        assert as_activation(alias) == as_activation(name)

    def test_monomial_of_degree_one_is_the_identity(self):
        assert as_activation("monomial:1") == as_activation("identity")

    @pytest.mark.parametrize("name", ["leaky_relu:0.123456789012345", "elu:1.0000000001", "leaky_relu:1e-05"])
    def test_a_name_holds_all_digits_of_its_parameter(self, name):
        activation = as_activation(name)
        assert torch.equal(as_activation(activation.name)(Z), activation(Z))
        assert activation.name == name

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("rleu", "'rleu' is unknown; registered are abs, "),
            ("", "'' is unknown"),
            ("tanh:2", "takes no parameter"),
            ("monomial", "needs a parameter"),
            ("monomial:2.5", "whole power"),
            ("monomial:0", "whole power"),
            ("leaky_relu:steep", "'steep' is not a number"),
            ("leaky_relu:", "'' is not a number"),
            ("leaky_relu:nan", "must be finite"),
        ],
    )
    def test_bad_names(self, spec, message):
        with pytest.raises(ValueError, match=message):
            as_activation(spec)


class TestModules:
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            (nn.Identity(), "identity"),
            (nn.ReLU(), "relu"),
            (nn.LeakyReLU(0.3), "leaky_relu:0.3"),
            (nn.Tanh(), "tanh"),
            (nn.GELU(), "gelu"),
            (nn.GELU(approximate="tanh"), "gelu_tanh"),
            (nn.SiLU(), "silu"),
            (nn.Mish(), "mish"),
            (nn.ELU(), "elu:1"),
            (nn.ELU(alpha=0.5), "elu:0.5"),
            (nn.SELU(), "selu"),
            (nn.Softplus(), "softplus"),
            (nn.Sigmoid(), "sigmoid"),
            (nn.Softsign(), "softsign"),
            (nn.Hardtanh(), "hardtanh"),
            (nn.Hardswish(), "hardswish"),
        ],
    )
    def test_known_modules_are_registered_activations(self, module, name):
        activation = as_activation(module)
        assert activation.registered
        assert activation.name == name
        torch.testing.assert_close(activation(Z), module(Z), rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize(
        ("module", "kinks"),
        [
            (nn.ReLU6(), (0.0, 6.0)),
            (nn.Hardtanh(-2.0, 0.5), (-2.0, 0.5)),
            (nn.PReLU(), (0.0,)),
            (nn.Softplus(beta=2.0, threshold=100.0), ()),
            (nn.Sequential(nn.ReLU(), nn.Tanh()), (0.0,)),
        ],
    )
    def test_other_modules_are_callables(self, module, kinks):
        activation = as_activation(module)
        assert not activation.registered
        assert activation.kinks == kinks
        expected = copy.deepcopy(module).double()(Z).detach()
        assert torch.equal(activation(Z), expected)

    def test_the_users_module_is_left_alone(self):
        module = nn.PReLU()
        as_activation(module)
        assert module.weight.dtype == torch.float32
        assert module.weight.requires_grad

    def test_a_class_says_to_make_an_instance(self):
        with pytest.raises(TypeError, match=r"pass an instance, GELU\(\)"):
            as_activation(nn.GELU)


class TestCallables:
    def test_a_lambda_with_kinks(self):
        activation = as_activation(lambda z: (z - 0.5).abs() + torch.relu(z + 1))
        assert activation.breakpoints == ((-1.0, 1), (0.5, 1))
        assert activation.slopes is None

    def test_one_that_is_linear_on_both_sides_is_scale_invariant(self):
        assert as_activation(lambda z: torch.where(z > 0, 2 * z, -0.5 * z)).slopes == (-0.5, 2.0)
        assert as_activation(lambda z: 3 * z).slopes == (3.0, 3.0)
        assert as_activation(lambda z: torch.zeros_like(z)).slopes is None

    def test_one_that_blocks_automatic_differentiation(self):
        activation = as_activation(through_numpy)
        assert not activation.differentiable
        assert activation.kinks == (0.25,)
        away = Z[(Z - 0.25).abs() > 1e-3]
        step = 0.5 * (away > 0.25)
        first = 1 - torch.tanh(away) ** 2
        torch.testing.assert_close(activation.derivative(away, 1), first + step, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(activation.derivative(away, 2), -2 * torch.tanh(away) * first, rtol=1e-7, atol=1e-7)

    def test_a_surrogate_gradient_is_not_taken_for_the_derivative(self):
        class Straight(torch.autograd.Function):
            @staticmethod
            def forward(ctx, z):
                return torch.tanh(z)

            @staticmethod
            def backward(ctx, gradient):
                return gradient

        activation = as_activation(Straight.apply)
        assert not activation.differentiable
        torch.testing.assert_close(activation.derivative(Z), 1 - torch.tanh(Z) ** 2, rtol=1e-9, atol=1e-9)

    def test_one_that_detaches(self):
        activation = as_activation(lambda z: torch.sin(z.detach()))
        torch.testing.assert_close(activation.derivative(Z), torch.cos(Z), rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(
        ("function", "error", "message"),
        [
            (lambda z: torch.softmax(z, -1), ValueError, "not elementwise"),
            (lambda z: z - z.mean(), ValueError, "not elementwise"),
            (lambda z: z.cumsum(0), ValueError, "not elementwise"),
            (lambda z: z.sum(), ValueError, r"maps shape \(97,\) to \(\)"),
            (lambda z: z * torch.randn_like(z), ValueError, "differs between calls"),
            (lambda z: z.float(), TypeError, "returns torch.float32"),
            (lambda z: z > 0, TypeError, "returns torch.bool"),
            (lambda z: 1.0, TypeError, "it returned float"),
            (lambda z: torch.log(z), ValueError, "not finite"),
            (lambda z: z.no_such_method(), ValueError, "failed on a float64 tensor"),
            (lambda: 1, ValueError, "failed on a float64 tensor"),
        ],
    )
    def test_refused(self, function, error, message):
        with pytest.raises(error, match=message):
            as_activation(function)

    @pytest.mark.parametrize("spec", [3, None, 1.5, {"name": "relu"}])
    def test_other_types(self, spec):
        with pytest.raises(TypeError, match="must be a name, an nn.Module, a callable"):
            as_activation(spec)


class TestLists:
    def test_one_for_all_layers(self):
        assert as_activations("tanh", 3) == (as_activation("tanh"),) * 3

    def test_one_for_each(self):
        names = [activation.name for activation in as_activations(["tanh", nn.ReLU()], 2)]
        assert names == ["tanh", "relu"]

    def test_length_must_fit(self):
        with pytest.raises(ValueError, match="a list of 2, the network has 3 hidden layers"):
            as_activations(["tanh", "relu"], 3)


class TestIdentity:
    def test_equal_by_name_or_by_values(self):
        assert as_activation("gelu") == as_activation(nn.GELU())
        assert as_activation("leaky_relu:0.1") != as_activation("leaky_relu:0.2")
        assert as_activation(lambda z: 2 * z) == as_activation(lambda z: 2 * z)
        assert as_activation(lambda z: 2 * z) != as_activation(lambda z: 3 * z)
        assert as_activation("tanh") != "tanh"

    def test_hash_agrees_with_equality(self):
        assert len({as_activation("gelu"), as_activation(nn.GELU()), as_activation("relu")}) == 2

    def test_repr(self):
        assert repr(as_activation("elu:0.5")) == "Activation('elu:0.5')"


class TestFiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_registered(self, name):
        activation = as_activation(name)
        back = activation_from_dict(activation.to_dict())
        assert back == activation
        assert torch.equal(back(Z), activation(Z))

    def test_importable_callable(self):
        activation = as_activation(torch.special.log_ndtr)
        assert activation.name.endswith(":special_log_ndtr")
        back = activation_from_dict(activation.to_dict(), {activation.name: torch.special.log_ndtr})
        assert back == activation
        assert back.breakpoints == activation.breakpoints

    def test_callable_of_a_module_that_can_be_imported(self):
        activation = as_activation(cube_root_like)
        back = activation_from_dict(activation.to_dict())
        assert back == activation
        assert torch.equal(back(Z), cube_root_like(Z))

    def test_module_that_can_be_built_again(self):
        activation = as_activation(nn.ReLU6())
        assert activation_from_dict(activation.to_dict()) == activation

    def test_module_with_other_arguments_is_refused(self):
        data = as_activation(nn.Hardtanh(-2.0, 0.5)).to_dict()
        with pytest.raises(ValueError, match="no longer has the values that were saved"):
            activation_from_dict(data)
        back = activation_from_dict(data, {data["callable"]: nn.Hardtanh(-2.0, 0.5)})
        assert back.kinks == (-2.0, 0.5)

    def test_changed_values_are_refused(self):
        data = as_activation(cube_root_like).to_dict()
        data["values"][3] += 1e-6
        with pytest.raises(ValueError, match="no longer has the values"):
            activation_from_dict(data)

    def test_a_lambda_needs_to_be_given_back(self):
        activation = as_activation(lambda z: torch.sin(z) + z)
        data = activation.to_dict()
        with pytest.raises(ValueError, match="is a lambda or local function"):
            activation_from_dict(data)
        back = activation_from_dict(data, {activation.name: lambda z: z + torch.sin(z)})
        assert back.name == activation.name
        torch.testing.assert_close(back(Z), activation(Z))

    def test_another_function_given_back_is_refused(self):
        activation = as_activation(lambda z: torch.sin(z) + z)
        with pytest.raises(ValueError, match="no longer has the values"):
            activation_from_dict(activation.to_dict(), {activation.name: torch.sin})

    @pytest.mark.parametrize("path", ["no_such_module_at_all:f", "math:no_such_function"])
    def test_what_cannot_be_imported_says_the_remedy(self, path):
        with pytest.raises(ValueError, match=r"cannot be imported .* activations=\{'"):
            activation_from_dict({"callable": path, "values": [0.0] * 97})


def test_gradient_of_relu_at_zero_is_that_of_networks_in_training():
    zero = torch.zeros(1, dtype=torch.float64)
    assert as_activation("relu").derivative(zero).item() == 0.0


def test_values_far_out_are_finite():
    far = torch.tensor([-1e3, 1e3], dtype=torch.float64)
    for name in NAMES:
        assert all(map(math.isfinite, as_activation(name)(far).tolist())), name
