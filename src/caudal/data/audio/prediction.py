"""The prediction of sound that follows from the spectra of clips."""

from caudal.bijections import LinearPrediction, Prediction, SpectralUpdate
from caudal.data.audio.mel import filters
from caudal.data.audio.schema import AudioSchema


def prediction(schema: AudioSchema) -> Prediction:
    """The prediction of a schema, for amplitudes that contain the noise of dequantisation.

    Raises:
        ValueError: the order is 0, as of a schema without a spectrum.
    """
    bands = filters(schema.rate, schema.window, schema.mels, schema.convention)
    noise = 1 / (3 * schema.full_scale**2)  # uniform in [0, 1), in whole numbers
    power = schema.convention.power
    linear = LinearPrediction(bands, schema.window, schema.hop, schema.order, noise, power)
    return SpectralUpdate(linear, bands) if schema.update else linear
