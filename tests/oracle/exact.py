"""Runs a `transformers` model in true float64.

`model.double()` alone leaves the norms, the rotary angles and the softmax in
float32, because the modelling code asks for float32 by name there. Inside
`float64()` those requests mean float64. What is fixed by the format stays: the
rotary inverse frequencies are float32 numbers.
"""

import contextlib

import torch


@contextlib.contextmanager
def float64():
    to_float, softmax = torch.Tensor.float, torch.nn.functional.softmax

    def softmax64(x, dim=None, dtype=None, **kwargs):
        return softmax(x, dim=dim, dtype=torch.float64, **kwargs)

    torch.Tensor.float = torch.Tensor.double
    torch.nn.functional.softmax = softmax64
    try:
        yield
    finally:
        torch.Tensor.float, torch.nn.functional.softmax = to_float, softmax
