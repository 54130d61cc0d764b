"""The batched linear map and the sine: equal to PyTorch's own, with derivatives of first and second order."""

import pytest
import torch

from inrbench.backends.torch.batched_linear import batched_linear


def _arguments(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = ((3, 5, 4), (3, 2, 4), (3, 2))
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes]


def _plain(inputs, weight, bias):
    return torch.baddbmm(bias[:, None], inputs, weight.mT)


def test_values_equal_those_of_baddbmm_with_and_without_gradients():
    inputs, weight, bias = _arguments()
    expected = _plain(inputs, weight, bias)
    torch.testing.assert_close(batched_linear(inputs, weight, bias), expected, rtol=1e-14, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(batched_linear(inputs, weight, bias), expected, rtol=1e-14, atol=1e-14)


def test_first_and_second_derivatives_agree_with_finite_differences():
    arguments = _arguments()
    assert torch.autograd.gradcheck(batched_linear, arguments)
    assert torch.autograd.gradgradcheck(batched_linear, arguments)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1, 2)])
def test_third_derivatives_equal_those_of_baddbmm(wanted):
    def third(function):
        arguments = _arguments()
        scalar = function(*arguments).sin().sum()
        for power in (2, 3):
            gradients = torch.autograd.grad(scalar, [arguments[i] for i in wanted], create_graph=True)
            scalar = sum((gradient**power).sum() for gradient in gradients)
        return torch.autograd.grad(scalar, [arguments[i] for i in wanted])

    for ours, expected in zip(third(batched_linear), third(_plain), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_gradients_are_contiguous():
    inputs, weight, bias = _arguments()
    middle = batched_linear(inputs, weight, bias).sin()
    (gradient,) = torch.autograd.grad(middle.square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), inputs)
    assert gradient.is_contiguous()
    assert second.is_contiguous()
