"""Small nets with a known Lipschitz constant, for the tests of what is made of them."""

import torch
from torch import nn


class Contraction(nn.Module):
    """g(x) = lipschitz W2 tanh(W1 x + context) of flattened events, W1 and W2 of norm 1."""

    def __init__(self, elements, lipschitz=0.7, hidden=None, context=0):
        super().__init__()
        hidden = hidden or elements
        self.first = nn.Parameter(torch.randn(hidden, elements))
        self.second = nn.Parameter(torch.randn(elements, hidden))
        self.context = nn.Linear(context, hidden) if context else None
        self.bound = lipschitz

    def forward(self, x, context=None):
        h = x.flatten(1) @ unit(self.first).T
        if self.context is not None:
            h = h + self.context(context)
        return self.bound * (torch.tanh(h) @ unit(self.second).T).view_as(x)

    def lipschitz(self):
        return self.bound


def unit(matrix):
    return matrix / torch.linalg.matrix_norm(matrix, 2)
