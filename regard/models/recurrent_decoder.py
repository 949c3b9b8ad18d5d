"""Translation by jointly learning to align and translate (Bahdanau et al. 2015): gated units with additive attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from regard.errors import InputError, check_numbers
from regard.models.pieces import Front, attention_of

if TYPE_CHECKING:
    from regard.data.encoding import Encoding
    from regard.models.recurrent_sequence import RecurrentModel

__all__ = ["RecurrentEncoderDecoder", "make_recurrent_encoder_decoder"]


@dataclass
class RecurrentEncoderDecoder:
    """A gated unit writes ids, and looks at the states of two others that have read the set from both ends.

        h_j = [forward_j; backward_j]                     s_0 = tanh(W_s backward_1 + b_s)
        e_ij = v . tanh(W_a s_{i-1} + U_a h_j)            c_i = sum_j softmax_j(e_i) h_j
        s_i = unit([E y_{i-1}; c_i], s_{i-1})             t_i = maxout(U_o s_{i-1} + V_o E y_{i-1} + C_o c_i + b_o)
        p(y_i | y_<i, x) = softmax(W_o t_i)

    as in Bahdanau et al. 2015, sections 3.1, 3.2 and A.2; maxout takes the larger of each two neighbors.

    Args:
        width: of the vectors of ids, m of the paper.
        hidden: of each unit's state, n.
        aligned: of what the score compares, n'.
        maxout: of t, l.
        attention: text form, without pattern or bias; its score is the paper's where it is `Additive()`.
        readout: which state t_i reads, the one "before" y_i is told (A.2.2), or the one "after" the unit has read y_{i-1} and c_i
            (eq. 4).
        dropout: on t, while training.
        tied: whether the table of ids makes the scores, which `maxout` must be as wide as; where the source's ids are the targets',
            they share the table too.
        front: what makes vectors of the data; `dropout` is that of the ids written too.
    """

    width: int = 128
    hidden: int = 256
    aligned: int = 256
    maxout: int = 128
    attention: str = "Attention(score=Additive())"
    readout: Literal["before", "after"] = "before"
    dropout: float = 0.1
    tied: bool = True
    front: Front = field(default_factory=Front)

    def __post_init__(self) -> None:
        check_numbers("model", self, "width", "hidden", "aligned", "maxout", least=1)
        check_numbers("model", self, "dropout", least=0, below=1)
        attention_of(self.attention)
        if self.tied and self.maxout != self.width:
            found = f"model.maxout is {self.maxout} and model.width {self.width}"
            raise InputError(f"{found}, expected the same where model.tied is true: the table of ids makes the scores")


def make_recurrent_encoder_decoder(options: RecurrentEncoderDecoder, encoding: Encoding) -> RecurrentModel:
    """The model of those options, for data of that encoding.

    Raises:
        InputError: data whose targets are no sets of ids, whose vectors have no order, or an attention that reads places.
    """
    from regard.layers.attention import orderless
    from regard.layers.gated import BothWays
    from regard.models.front import embedding_of, make_front
    from regard.models.recurrent_sequence import RecurrentDecoder, RecurrentModel, RecurrentSizes
    from regard.models.sequences import written_ids

    targets = written_ids(encoding)
    entries = next(iter(targets.columns.values()))
    attention, width = attention_of(options.attention), options.width
    if not orderless(attention):
        found = f"model.attention is {options.attention!r}, which reads places"
        raise InputError(
            f"{found}, expected an attention without pattern and bias, such as 'Attention(score=Additive())'"
        )
    if not encoding.ordered:
        raise InputError("the model reads sequences, and the vectors of the data have no order")
    front = make_front(options.front, width, encoding, options.tied)
    shared = options.tied and list(encoding.columns.values()) == [entries]
    embed = None if shared else embedding_of(options.front, (len(entries),), width, scaled=options.tied)
    sizes = RecurrentSizes(
        width, options.hidden, options.aligned, options.maxout, options.readout == "after", options.dropout
    )
    encoder, decoder = BothWays(width, options.hidden), RecurrentDecoder(sizes, attention)
    return RecurrentModel(front, encoder, decoder, targets, embed, options.tied, options.front.dropout)
