"""The two ways things go wrong: the input is bad, or the numbers are."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where (file, row, column), and what to do about it.
    The command line prints it without a traceback and exits with code 2.
    """


class NumericalError(ArithmeticError):
    """A computation failed (a non-finite loss, a solver that did not converge).

    The message says where and at which step; nothing goes on silently after it. The command line
    prints it without a traceback and exits with code 1.
    """
