"""A page over a model, to look at and to play with."""

from typing import TYPE_CHECKING

from caudal.explore.serving import Page, serve

if TYPE_CHECKING:
    from caudal.model.model import Model


def explore(model: "Model", *, port: int | None = None, browser: bool = True) -> Page:
    """Serves a page over this model on this machine, as `caudal explore` does.

    It has tabs of samples, of the noise behind an item, of what lies between items, and of
    scores of the visitor's own. It is there until the program ends, or `close` is called on what
    is returned. It needs caudal[explore], and no network.

    Args:
        port: at which it is served; a free one from 7860 on if None.
        browser: whether it is opened in the user's browser.

    Raises:
        InputError: the port is not free, or Gradio is not installed.
    """
    page = serve(model, port)
    if browser:
        page.open()
    return page
