"""The sine that keeps its cosine: equal to PyTorch's, with derivatives of every order."""

import pytest
import torch
from inrbench_fields.siren import sine


def test_values_are_those_of_torch_sin_with_and_without_gradients():
    argument = torch.linspace(-40.0, 40.0, 1001, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(sine(argument), argument.sin(), rtol=0.0, atol=1e-15)
    with torch.no_grad():
        torch.testing.assert_close(sine(argument), argument.sin(), rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_are_shifted_by_a_quarter_turn_each(order):
    argument = torch.linspace(-3.0, 3.0, 31, dtype=torch.float64, requires_grad=True)
    value = sine(argument)
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), argument, create_graph=True)
    expected = torch.sin(argument + order * torch.pi / 2)
    torch.testing.assert_close(value, expected, rtol=0.0, atol=1e-14)


def test_first_and_second_derivatives_agree_with_finite_differences():
    argument = torch.linspace(-2.0, 2.0, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sine, argument)
    assert torch.autograd.gradgradcheck(sine, argument)
