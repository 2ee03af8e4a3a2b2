"""Small nets with a known Lipschitz constant, for tests."""

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
        return self.linearised(x, context)[0]

    def linearised(self, x, context=None):
        first, second = unit(self.first), self.bound * unit(self.second)
        h = x.flatten(1) @ first.T
        if self.context is not None:
            h = h + self.context(context)
        h = torch.tanh(h)

        def push(v):
            t = (v.flatten(2) @ first.T) * (1 - h.square())
            return (t @ second.T).view(len(v), *x.shape)

        return (h @ second.T).view_as(x), push

    def frozen(self):
        return self

    def lipschitz(self):
        return self.bound


def unit(matrix):
    return matrix / torch.linalg.matrix_norm(matrix, 2)
