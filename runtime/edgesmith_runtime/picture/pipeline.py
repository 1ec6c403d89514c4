"""The whole way: a picture's bytes to the model's input, and the model's answer to labels or boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgesmith_runtime.picture.classifying import classes_of
from edgesmith_runtime.picture.detecting import boxes_of
from edgesmith_runtime.picture.placing import place, resized
from edgesmith_runtime.picture.preparing import levels, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.picture.declaration import Picture
    from edgesmith_runtime.picture.placing import Placed

__all__ = ["Pipeline", "Prepared"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as the model takes it.

    Attributes:
        feed: The model's input by name.
        placed: Where the picture lies in it.
        format: ``JPEG`` or ``PNG``.
    """

    feed: Mapping[str, NDArray[Any]]
    placed: Placed
    format: str


class Pipeline:
    """What a declaration does to pictures and answers. It keeps nothing of them, so several threads may use it.

    Args:
        picture: The declaration.
        datatype: The datatype of the model's input.
        labels: The names of classes that the model has; the declaration's own where it has none.
    """

    def __init__(self, picture: Picture, datatype: str, labels: Sequence[str]) -> None:
        self.picture = picture
        self.labels = tuple(labels) or picture.labels
        self._table = levels(picture, datatype)

    def prepare(self, data: memoryview, *, largest: int | None = None) -> Prepared:
        """Decode a picture and make the model's input of it.

        Args:
            data: The bytes of a JPEG or PNG.
            largest: The most bytes that its pixels may have; None: the usual bound.

        Raises:
            BadRequest: It is no such picture, or a broken one.
            TooLarge: It has too many pixels.
        """
        from edgesmith_runtime.picture.decode import LARGEST, decode  # noqa: PLC0415 - Pillow, for pictures alone

        with decode(data, gray=self.picture.depth == 1, largest=largest or LARGEST) as decoded:
            placed = place(self.picture, *decoded.size)
            pixels = resized(self.picture, placed, decoded.image)
            kind = decoded.format
        return Prepared({self.picture.input: tensor(self.picture, self._table, pixels)}, placed, kind)

    def answer(self, outputs: Mapping[str, NDArray[Any]], placed: Placed) -> dict[str, Any]:
        """Make labels or boxes of what the model answered.

        Args:
            outputs: The outputs that the declaration names.
            placed: Where the picture lies in the input.

        Returns:
            ``labels`` or ``boxes``, best first.

        Raises:
            AnswerFailed: The outputs do not have the declared shapes.
        """
        asked = self.picture.classification
        if asked is not None:
            return {"labels": classes_of(asked, outputs[asked.output], self.labels)}
        return {"boxes": boxes_of(self.picture, outputs, placed, self.labels)}
