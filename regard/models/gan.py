"""The self-attention GAN (Zhang et al. 2018): options of a generator of small pictures and of its discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.errors import InputError, check_numbers

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.gan_networks import GanModel

__all__ = ["SelfAttentionGan", "make_gan"]


@dataclass(frozen=True)
class SelfAttentionGan:
    """A generator of pictures from noise, and a discriminator that tells them from those of the data: residual blocks of
    convolutions whose weights have spectral norm 1, with self-attention in both where pictures have half of their rows.

    Args:
        width: of the vectors where pictures have all of their rows; each halving doubles it.
        stages: how often rows and columns are halved, from the picture to what the generator begins with.
        noise: how many numbers the generator begins with.
        self_attention: whether there is any.
        labels: whether both networks know the label of a picture.
    """

    width: int = 32
    stages: int = 2
    noise: int = 128
    self_attention: bool = True
    labels: bool = True

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "stages", "noise", least=1)
        check_numbers("model", self, "stages", below=11)
        if self.self_attention and self.width < 4:
            raise InputError(
                f"model.width is {self.width}, expected at least 4 with attention: its keys have a quarter"
            )


def make_gan(options: SelfAttentionGan, encoding: Encoding) -> GanModel:
    """The networks of those options, for data of that encoding.

    Raises:
        InputError: data that are no pictures of one size, pixel by pixel, or of a size that cannot be halved so often.
    """
    from regard.models.gan_networks import Discriminator, GanModel, Generator

    extent, times = encoding.grid.extent, 1 << options.stages
    if encoding.grid.coords != 2 or encoding.width not in (1, 3):
        found = f"vectors of width {encoding.width} with {encoding.grid.coords} coordinates"
        raise InputError(f"the model reads pixels, and the data have {found}, expected pictures by --data.patch 1")
    if any(side % times for side in extent):
        found = f"model.stages is {options.stages} and pictures have {' x '.join(map(str, extent))} pixels"
        raise InputError(f"{found}, expected sides that are multiples of {times}, or another --data.size")
    labels = len(encoding.labels) if options.labels else 0
    widths = [options.width << n for n in range(options.stages + 1)]
    begin = extent[0] // times, extent[1] // times
    model = GanModel(
        Generator(widths[::-1], options.noise, begin, encoding.width, labels, options.self_attention),
        Discriminator(widths[1:], encoding.width, labels, options.self_attention),
        (extent[0], extent[1]),
    )
    model.options = options
    return model
