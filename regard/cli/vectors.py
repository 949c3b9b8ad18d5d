"""`regard vectors`: learn word vectors from text, ask for neighbors and analogies, measure and draw them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regard.cli.options import parse, parser
from regard.cli.pictures import picture_format, place_to_write, write_picture
from regard.cli.table import print_table
from regard.errors import InputError, nearest

if TYPE_CHECKING:
    from regard.vectors.scoring import Score
    from regard.vectors.words import WordVectors

__all__ = ["run"]

_DESCRIPTION = """Word vectors:

  regard vectors train TEXT... --out FILE       learn them from files or folders of text, novels (the published set), or -
  regard vectors walk GRAPH --out FILE          of a graph's nodes, from random walks: a folder, a file, or email-eu-core
  regard vectors nearest FILE WORD...           the words nearest to each
  regard vectors analogy FILE A B C             what is to C as B is to A
  regard vectors evaluate FILE...               agreement with people, and analogies, each with its coverage
  regard vectors draw FILE --out PICTURE        a picture of words by kind
  regard vectors extract RUN --out FILE         the embedding of words that a model has learned
  regard vectors embed FOLDER TEXT...           a vector for each text, lines of files or --text, by a BERT of Hugging Face

FILE ends in .txt or .vec (word2vec's text format, or GloVe's without a first line), .bin (word2vec's binary format), each also with
.gz, .bz2 or .xz behind, or in .safetensors."""


def run(arguments: Sequence[str]) -> int:
    options = parser("vectors", _DESCRIPTION)
    options.add_argument("action", metavar="ACTION", help=", ".join(_ACTIONS))
    options.add_argument("operands", metavar="TEXT | FILE | WORD", nargs="*", help="what the action takes")
    options.add_argument("--out", type=str, default="", metavar="FILE", help="to write, for train, draw and extract")
    options.add_argument(
        "--method",
        type=str,
        default="skip-gram",
        help="skip-gram, cbow, counts, ppmi, next-word, auto-encoder, variational",
    )
    options.add_argument("--width", type=int, default=100, help="of the vectors")
    options.add_argument("--window", type=int, default=5, help="words on each side; for next-word, words before")
    options.add_argument(
        "--epochs", type=int | None, default=None, help="passes over the text; the method's own if not given"
    )
    options.add_argument("--negatives", type=int, default=5, help="words drawn against each, for skip-gram and cbow")
    options.add_argument(
        "--sample",
        type=float | None,
        default=None,
        help="threshold that frequent words are dropped by; 0 keeps all. 0.001 if not given, for walk 0",
    )
    options.add_argument(
        "--rate", type=float | None, default=None, help="of learning, for skip-gram and cbow; their own if not given"
    )
    options.add_argument("--minimum_count", type=int, default=5, help="rarer words get no vector")
    options.add_argument("--vocabulary", type=int | None, default=None, help="only so many words, the most frequent")
    options.add_argument(
        "--tokens",
        type=Literal["words", "spaces"],
        default="words",
        help="runs of letters, or what stands between spaces",
    )
    options.add_argument("--lines", type=bool, default=False, help="each line of text is a text of its own")
    options.add_argument("--threads", type=int, default=2, help="of train; with one, the seed decides all")
    options.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    _walking(options)
    options.add_argument("--count", type=int, default=10, help="neighbors to show")
    options.add_argument(
        "--kinds", type=str, default="", metavar="FILE", help="words to draw: lines `: kind`, words below each"
    )
    options.add_argument("--only", type=str, default="", metavar="KIND,...", help="kinds to draw; all if not given")
    options.add_argument("--most", type=int, default=20, help="words of each kind to draw")
    options.add_argument("--by", type=Literal["pca", "tsne"], default="pca", help="how two dimensions are made")
    options.add_argument(
        "--pairs", type=str, default="", metavar="FILE", help="evaluate on these pairs too: two words and a number"
    )
    options.add_argument("--text", action="append", type=str, default=[], help="for embed, a text itself")
    chosen = parse(options, arguments)
    if chosen.action not in _ACTIONS:
        raise InputError(f"vectors does not know {chosen.action!r}: {nearest(chosen.action, _ACTIONS)}")
    act, least, most, wanted = _ACTIONS[chosen.action]
    if not least <= len(chosen.operands) <= most:
        raise InputError(f"vectors {chosen.action} got {len(chosen.operands)} operands, expected {wanted}")
    for name in ("count", "most"):
        if chosen[name] < 1:
            raise InputError(f"--{name} is {chosen[name]}, expected at least 1")
    return act(chosen)


def _walking(options: Any) -> None:
    options.add_argument("--walks", type=int, default=10, help="for walk, how many begin at each node")
    options.add_argument("--length", type=int, default=80, help="for walk, nodes of each")
    options.add_argument(
        "--back", type=float, default=1.0, help="for walk, p of node2vec: the larger, the fewer go back"
    )
    options.add_argument(
        "--outward", type=float, default=1.0, help="for walk, q of node2vec: the larger, the fewer lead away"
    )


def _train(chosen: Any) -> int:
    from regard.data.registry import locate
    from regard.vectors.corpus import read_corpus
    from regard.vectors.files import format_of, save
    from regard.vectors.methods import Options, learn

    out = _output(chosen, "a file of word vectors to write", format_of)
    options = Options(**_learning(chosen, 1e-3))
    sources = [locate(name) if name == "novels" and not Path(name).exists() else Path(name) for name in chosen.operands]
    corpus = read_corpus(sources, chosen.tokens, chosen.minimum_count, chosen.vocabulary, chosen.lines)
    print(f"{corpus.length:,} words, {len(corpus.words):,} distinct", file=sys.stderr)
    save(learn(corpus, options, lambda line: print(line, file=sys.stderr, flush=True)), out)
    print(out)
    return 0


def _learning(chosen: Any, sample: float) -> dict[str, Any]:
    names = ("method", "width", "window", "epochs", "seed", "threads", "negatives", "rate")
    return {name: chosen[name] for name in names} | {"sample": sample if chosen.sample is None else chosen.sample}


def _walk(chosen: Any) -> int:
    from regard.cli.walks import walk
    from regard.vectors.files import format_of
    from regard.vectors.methods import Options

    out = _output(chosen, "a file of vectors to write", format_of)
    walks = {"number": chosen.walks} | {name: chosen[name] for name in ("length", "back", "outward", "seed")}
    walk(chosen.operands[0], out, Options(**_learning(chosen, 0.0)), walks)
    print(out)
    return 0


def _loaded(file: str) -> WordVectors:
    """The vectors of a file, and what was passed over in it."""
    from regard.vectors.files import load

    vectors = load(file)
    for line in vectors.skips.lines():
        print(f"skipped in {file}: {line}", file=sys.stderr)
    return vectors


def _output(chosen: Any, expected: str, check: Callable[[Path], Any] | None = None) -> Path:
    """The file to write; `check` refuses a name that says no format."""
    if not chosen.out:
        raise InputError(f"vectors {chosen.action} needs --out, expected {expected}")
    return place_to_write(chosen.out, expected, check)


def _extract(chosen: Any) -> int:
    from regard.layers.embed import Embed
    from regard.models.model import Model
    from regard.train import Run
    from regard.vectors.files import format_of, save
    from regard.vectors.words import WordVectors

    out = _output(chosen, "a file of word vectors to write", format_of)
    run = Run.open(chosen.operands[0])
    embed, words = run.model.front.embed if isinstance(run.model, Model) else None, run.encoding.words
    if not isinstance(embed, Embed) or not words:
        raise InputError(f"{run.folder} reads no words, expected a run on data read as words")
    matrix = embed.tables[0].weight.detach().float().numpy()  # type: ignore[operator]
    # The first row stands for all unknown words.
    save(WordVectors(words[1:], matrix[1:]), out)
    print(out)
    return 0


def _nearest(chosen: Any) -> int:
    file, *words = chosen.operands
    vectors = _loaded(file)
    found = [vectors.nearest(word, chosen.count) for word in words]
    for word, near in zip(words, found, strict=True):
        print_table(["word", "cosine"], [(name, f"{cosine:.3f}") for name, cosine in near], f"nearest to {word}")
    return 0


def _analogy(chosen: Any) -> int:
    file, a, b, c = chosen.operands
    found = _loaded(file).analogy(a, b, c, chosen.count)
    print_table(["word", "cosine"], [(name, f"{cosine:.3f}") for name, cosine in found], f"{a} : {b} = {c} : ?")
    return 0


def _evaluate(chosen: Any) -> int:
    from regard.data.registry import locate
    from regard.vectors.scoring import ANALOGIES, SIMILARITIES, analogies, read_analogies, similarity, total

    named = {Path(chosen.pairs).name: Path(chosen.pairs)} if chosen.pairs else {}
    folder = locate("word-vectors")
    pairs = {name: folder / file for name, file in SIMILARITIES.items()} | named
    questions = read_analogies(folder / ANALOGIES)
    for file in chosen.operands:
        vectors = _loaded(file)
        rows = [_row(name, "Spearman", similarity(vectors, path)) for name, path in pairs.items()]
        kinds = analogies(vectors, questions)
        rows.append(_row("analogies", "accuracy", total(kinds)))
        rows += [_row(f"  {kind}", "accuracy", score) for kind, score in kinds.items() if score.used]
        print_table(
            ["set", "measure", "value", "covered", "of"],
            rows,
            f"{file}: {len(vectors):,} words, {vectors.width} numbers each",
        )
    return 0


def _row(name: str, measure: str, score: Score) -> tuple[str, ...]:
    value = "-" if math.isnan(score.value) else f"{score.value:.3f}"
    return name, measure, value, f"{score.coverage:.1%}", f"{score.total:,}"


def _draw(chosen: Any) -> int:
    from regard.data.registry import locate
    from regard.vectors.drawing import chosen as rows_of
    from regard.vectors.drawing import plot, read_kinds
    from regard.vectors.lettering import lettering
    from regard.vectors.scoring import ANALOGIES

    out = _output(chosen, "a picture to write, such as words.png", picture_format)
    kinds = read_kinds(Path(chosen.kinds) if chosen.kinds else locate("word-vectors") / ANALOGIES)
    vectors = _loaded(chosen.operands[0])
    rows = rows_of(vectors, kinds, chosen.most, [name for name in chosen.only.split(",") if name])
    words = [vectors.words[row] for each in rows.values() for row in each]
    letters = lettering([*words, *rows])
    if note := letters.note([*words, *rows]):
        print(note, file=sys.stderr)
    write_picture(plot(vectors, rows, chosen.by, chosen.seed, letters), out)
    print(out)
    return 0


_MANY = 1 << 20


def _embed(chosen: Any) -> int:
    from regard.cli.text_vectors import embed_texts

    embed_texts(chosen.operands[0], chosen.operands[1:], chosen.text, chosen.out)
    return 0


_ACTIONS: dict[str, tuple[Callable[[Any], int], int, int, str]] = {
    "train": (_train, 1, _MANY, "files or folders of text, novels, or - for standard input"),
    "walk": (_walk, 1, 1, "a folder or file of one graph, or a published data set of one"),
    "nearest": (_nearest, 2, _MANY, "a file of vectors and at least one word"),
    "analogy": (_analogy, 4, 4, "a file of vectors and three words"),
    "evaluate": (_evaluate, 1, _MANY, "at least one file of vectors"),
    "extract": (_extract, 1, 1, "a folder of a trained run"),
    "embed": (_embed, 1, _MANY, "a folder in Hugging Face's format, then files of texts or - for standard input"),
    "draw": (_draw, 1, 1, "a file of vectors"),
}
