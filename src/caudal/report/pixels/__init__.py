"""Numbers, pictures and the page that tell how good a run on images is."""

from caudal.report.pixels.between import draw_manifold
from caudal.report.pixels.evaluate import evaluate_images
from caudal.report.pixels.evaluation import ImageEvaluation
from caudal.report.pixels.filmstrip import Filmstrip, draw_filmstrip
from caudal.report.pixels.gaussian import (
    PixelGaussian,
    fit_pixel_gaussian,
    load_pixel_gaussian,
    save_pixel_gaussian,
)
from caudal.report.pixels.story import ImageStory
from caudal.report.pixels.write import write_image_report

__all__ = [
    "Filmstrip",
    "ImageEvaluation",
    "ImageStory",
    "PixelGaussian",
    "draw_filmstrip",
    "draw_manifold",
    "evaluate_images",
    "fit_pixel_gaussian",
    "load_pixel_gaussian",
    "save_pixel_gaussian",
    "write_image_report",
]
