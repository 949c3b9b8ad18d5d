"""Word vectors: every method on the novels, next to gensim, and how many words a second each learns.

python -m benchmarks.vectors METHOD SEED...     learn and score; notes lie in runs/bench/vectors
python -m benchmarks.vectors speed              words per second beside gensim, in turns, on a quiet machine
python -m benchmarks.vectors collect            write results/vectors.json from the notes
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, write
from benchmarks.peers import load
from regard.data.examples import Array
from regard.data.registry import locate
from regard.vectors.corpus import BREAK, Corpus, read_corpus
from regard.vectors.counts import cooccurrence, ppmi, svd_vectors
from regard.vectors.drawing import chosen, plot, read_kinds
from regard.vectors.files import load as read
from regard.vectors.files import save
from regard.vectors.methods import Options, learn
from regard.vectors.predict import Prediction, train
from regard.vectors.scoring import ANALOGIES, SIMILARITIES, analogies, read_analogies, similarity, total
from regard.vectors.words import WordVectors

__all__ = ["METHODS", "main"]

NOTES = Path(__file__).parent.parent / "runs" / "bench" / "vectors"
_PICTURE = Path(__file__).parent.parent / "docs" / "images" / "word-vectors.png"
_DRAWN = NOTES / "skip-gram.bin"
# Words of the text that speed is measured on, and how often each takes its turn.
_MEASURED, _TURNS = 1_500_000, 3


def _sentences(corpus: Corpus) -> list[list[str]]:
    """The same text for gensim, which takes at most 10,000 words at a time."""
    words = np.array(corpus.words, object)
    texts = (text[text != BREAK] for text in np.split(corpus.ids, np.flatnonzero(corpus.ids == BREAK)))
    return [list(words[text[n : n + 10_000]]) for text in texts for n in range(0, len(text), 10_000)]


def _gensim(sentences: list[list[str]], model: str, seed: int, threads: int) -> Any:
    """gensim's model with our settings, its vocabulary built and nothing learned yet."""
    return load("gensim.models").Word2Vec(
        vector_size=100,
        window=5,
        negative=5,
        min_count=1,
        sample=1e-3,
        epochs=5,
        sg=int(model == "skip-gram"),
        workers=threads,
        seed=seed + 1,
    )


def _peer(model: str) -> Callable[[Corpus, int], WordVectors]:
    def make(corpus: Corpus, seed: int) -> WordVectors:
        sentences = _sentences(corpus)
        peer = _gensim(sentences, model, seed, 1)
        peer.build_vocab(sentences)
        peer.train(sentences, total_examples=len(sentences), epochs=5)
        return WordVectors(peer.wv.index_to_key, peer.wv.vectors)

    return make


def _ours(method: str) -> Callable[[Corpus, int], WordVectors]:
    return lambda corpus, seed: learn(corpus, Options(method, seed=seed))


def _spelling(corpus: Corpus, seed: int) -> WordVectors:
    """What can be said of words without having read a text: the runs of 2 to 4 characters in them."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=512, dtype=np.float32)
    return WordVectors(corpus.words, hashing.transform(corpus.words).toarray())


def _frequent_contexts(corpus: Corpus, seed: int) -> tuple[Array, Array]:
    return svd_vectors(ppmi(cooccurrence(corpus, 5, Options().contexts)), 100, seed)


def _half(corpus: Corpus, seed: int) -> WordVectors:
    return WordVectors(corpus.words, _frequent_contexts(corpus, seed)[0])


def _whole(corpus: Corpus, seed: int) -> WordVectors:
    vectors, values = _frequent_contexts(corpus, seed)
    return WordVectors(corpus.words, vectors * np.sqrt(values))


METHODS: dict[str, tuple[str, Callable[[Corpus, int], WordVectors]]] = {
    "spelling": ("trivial: characters in common, no text read", _spelling),
    "skip-gram": ("skip-gram", _ours("skip-gram")),
    "gensim-skip-gram": ("skip-gram of gensim", _peer("skip-gram")),
    "cbow": ("CBOW", _ours("cbow")),
    "gensim-cbow": ("CBOW of gensim", _peer("cbow")),
    "counts": ("counts, SVD", _ours("counts")),
    "ppmi": ("PPMI, SVD", _ours("ppmi")),
    "next-word": ("network of the next word", _ours("next-word")),
    "ppmi-5000": ("PPMI of 5,000 contexts, SVD: U Sigma^(1/2)", _half),
    "ppmi-5000-whole": ("PPMI of 5,000 contexts, SVD: U Sigma", _whole),
    "auto-encoder": ("PPMI of 5,000 contexts, auto-encoder", _ours("auto-encoder")),
    "variational": ("PPMI of 5,000 contexts, variational auto-encoder", _ours("variational")),
}
"""By name: how it stands in the table, and how its vectors are made."""


def _score(vectors: WordVectors) -> dict[str, tuple[float, int, int]]:
    folder = locate("word-vectors")
    scores = {name: similarity(vectors, folder / file) for name, file in SIMILARITIES.items()}
    scores["analogies"] = total(analogies(vectors, read_analogies(folder / ANALOGIES)))
    return {name: (score.value, score.used, score.total) for name, score in scores.items()}


def measure(method: str, seed: int) -> None:
    """Learns once on one thread, and notes scores and processor seconds."""
    corpus = read_corpus([locate("novels")])
    _, make = METHODS[method]
    begin = time.process_time()
    vectors = make(corpus, seed)
    note = {"method": method, "seed": seed, "seconds": time.process_time() - begin, "scores": _score(vectors)}
    NOTES.mkdir(parents=True, exist_ok=True)
    if (method, seed) == ("skip-gram", 0):
        save(vectors, _DRAWN)
    (NOTES / f"{method}-{seed}.json").write_text(json.dumps(note))
    print(json.dumps(note), flush=True)


def collect() -> None:
    """The table of all notes."""
    rows, covered = [], {}
    for method, (name, _) in METHODS.items():
        notes = [json.loads(path.read_text()) for path in sorted(NOTES.glob(f"{method}-[0-9]*.json"))]
        notes = [note for note in notes if note["method"] == method]
        if not notes:
            continue
        row: dict[str, Any] = {"model": name, "seeds": [note["seed"] for note in notes]}
        for each, (_, used, all_) in notes[0]["scores"].items():
            values = [note["scores"][each][0] for note in notes]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            row[each] = f"{statistics.mean(values):.3f}{spread}"
            covered[each] = f"{used:,} of {all_:,}"
        rows.append(
            row
            | {
                "number of seeds": len(notes),
                "processor seconds": round(statistics.mean(n["seconds"] for n in notes), 1),
            }
        )
    write(
        "vectors",
        {
            "case": "vectors",
            "data": "36 novels, 6,115,515 words of 26,778 kinds (each at least 5 times)",
            "split": "100 numbers, window 5, 5 negatives and 5 epochs where there are such, one thread; "
            "Spearman's rank correlation and, of analogies, accuracy over what is covered: "
            + ", ".join(f"{name} {share}" for name, share in covered.items()),
            "rows": rows,
            # Notes are taken at different times, so that no one rate of matrix products belongs to them.
            "machine": {name: value for name, value in machine().items() if "GFLOP" not in name},
        },
    )


def speed() -> None:
    """Words per second of one epoch, ours and gensim's in turns, with one and two threads."""
    corpus = read_corpus([locate("novels")])
    part = corpus.ids[:_MEASURED]
    corpus = dataclasses.replace(corpus, ids=part, counts=np.bincount(part[part != BREAK], minlength=len(corpus.words)))
    sentences = _sentences(corpus)
    rows = []
    for model in ("skip-gram", "cbow"):
        train(dataclasses.replace(corpus, ids=part[:1000]), Prediction(model, epochs=1))
        for threads in (1, 2):
            ours, theirs = [], []
            for turn in range(_TURNS):
                progress = train(corpus, Prediction(model, epochs=1, seed=turn), threads).epochs[0]
                ours.append((progress.words / progress.seconds, progress.kept / progress.seconds))
                peer = _gensim(sentences, model, turn, threads)
                peer.build_vocab(sentences)
                begin = time.perf_counter()
                kept, words = peer.train(sentences, total_examples=len(sentences), epochs=1)
                seconds = time.perf_counter() - begin
                theirs.append((words / seconds, kept / seconds))
            row: dict[str, Any] = {"model": model, "threads": threads}
            for n, of in enumerate(("words", "words after subsampling")):
                us, them = (statistics.median(each[n] for each in side) for side in (ours, theirs))
                row |= {f"{of} per second": round(us), f"gensim's {of} per second": round(them)}
                if n:
                    row["times gensim"] = us / them
            rows.append(row)
    about = f"the first {_MEASURED:,} words of the 36 novels, one epoch, 100 numbers, window 5, 5 negatives"
    split = f"the middle of {_TURNS} turns; gensim {load('gensim').__version__}"
    write("vectors-speed", {"case": "vectors-speed", "data": about, "split": split, "rows": rows, "machine": machine()})


def race() -> None:
    """Five epochs of the whole text on two threads, ours and gensim's: how fast, and how good."""
    corpus = read_corpus([locate("novels")])
    sentences = _sentences(corpus)
    rows: list[dict[str, Any]] = []
    for model in ("skip-gram", "cbow"):
        train(dataclasses.replace(corpus, ids=corpus.ids[:1000]), Prediction(model, epochs=1))
        for program in ("regard", "gensim"):
            peer = _gensim(sentences, model, 0, 2) if program == "gensim" else None
            if peer is not None:
                peer.build_vocab(sentences)
            begin = time.perf_counter()
            if peer is not None:
                peer.train(sentences, total_examples=len(sentences), epochs=5)
                seconds = time.perf_counter() - begin
                vectors = WordVectors(peer.wv.index_to_key, peer.wv.vectors)
            else:
                inputs = train(corpus, Prediction(model), 2).inputs
                seconds = time.perf_counter() - begin
                vectors = WordVectors(corpus.words, inputs)
            scores = {name: round(value, 4) for name, (value, _, _) in _score(vectors).items()}
            rows.append(
                {"model": model, "program": program, "words per second": round(5 * corpus.length / seconds)} | scores
            )
            about = f"36 novels, {corpus.length:,} words of {len(corpus.words):,} kinds"
            split = (
                "5 epochs on two threads, 100 numbers, window 5, 5 negatives, threshold 0.001; one seed, each run once"
            )
            write(
                "vectors-race",
                {"case": "vectors-race", "data": about, "split": split, "rows": rows, "machine": machine()},
                False,
            )


def picture() -> None:
    """Words of some kinds, as skip-gram learned them, in a plane."""
    vectors = read(_DRAWN)
    kinds = read_kinds(Path(__file__).parent / "words.txt")
    plot(vectors, chosen(vectors, kinds), "tsne").savefig(_PICTURE, dpi=150, facecolor="white")


def main() -> int:
    """Measures what the command line asks for."""
    name, *seeds = sys.argv[1:] or ["collect"]
    if name == "speed":
        speed()
    elif name == "collect":
        collect()
    elif name == "race":
        race()
    elif name == "picture":
        picture()
    elif name in METHODS:
        for seed in map(int, seeds or ["0"]):
            measure(name, seed)
    else:
        sys.exit(f"there is no method {name}: {', '.join(METHODS)}, speed, race, collect or picture")
    return 0


if __name__ == "__main__":
    sys.exit(main())
