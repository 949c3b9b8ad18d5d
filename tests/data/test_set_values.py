"""Numbers of whole sets: from the molecule to the readout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.data.batch import Batch, collate
from regard.data.chemistry import atom_features, descriptors, molecule
from regard.data.encoding import Encoding, Numbers, Standard
from regard.data.examples import Example
from regard.data.molecules import Molecules
from regard.errors import InputError
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.sets import VectorSets
from regard.tasks.configs import PerSetNumber
from regard.tasks.number import SetNumberTask
from regard.train import Experiment, Run, Training, fit

pytest.importorskip("rdkit.Chem")
ROWS = "".join(f"m{n},{'C' * (n + 1)}O,{n / 2}\n" for n in range(20))


@pytest.fixture
def reader(tmp_path: Path) -> Molecules:
    (tmp_path / "own.csv").write_text(f"name,smiles,label\n{ROWS}")
    return Molecules(str(tmp_path / "own.csv"), division="hash", descriptors=True)


def test_descriptors_are_what_the_library_says_of_the_molecule() -> None:
    from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

    found = molecule("CC(=O)Oc1ccccc1C(=O)O", "it")
    names = list(rdMolDescriptors.Properties.GetAvailableProperties())
    values = dict(zip(names, descriptors(found), strict=False))
    assert values["exactmw"] == pytest.approx(Descriptors.ExactMolWt(found))
    assert values["tpsa"] == pytest.approx(Descriptors.TPSA(found))
    assert values["CrippenClogP"] == pytest.approx(Crippen.MolLogP(found))
    sums = atom_features(found, "contributions").sum(0)
    np.testing.assert_allclose(descriptors(found)[len(names) :], sums, rtol=1e-6)


def test_they_are_standardized_by_the_training_part(reader: Molecules) -> None:
    encoding = reader.fit()
    train = [reader.part("train", encoding)[i].set_values for i in range(len(reader.part("train", encoding)))]
    rows = np.stack([row for row in train if row is not None])
    assert rows.shape == (len(train), encoding.set_width)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    assert set(np.round(rows.std(0), 4)) == {0.0, 1.0}
    far = reader.example("C" * 300, encoding).set_values
    assert far is not None
    assert np.abs(far).max() == 5


def test_an_encoding_keeps_how_numbers_of_sets_are_standardized(tmp_path: Path) -> None:
    encoding = Encoding(Numbers(1.0, 2.0), width=3, standard=Standard((0.1, 1.0), (2.0, 1 / 3)))
    encoding.save(tmp_path)
    assert Encoding.load(tmp_path) == encoding
    plain = replace(encoding, standard=Standard())
    plain.save(tmp_path)
    assert Encoding.load(tmp_path).set_width == 0


def test_a_readout_joins_them_to_the_pooled_vector() -> None:
    torch.manual_seed(0)
    task = SetNumberTask(
        PerSetNumber(pool="sum"), 4, Encoding(Numbers(0.0, 1.0), standard=Standard((0.0,) * 2, (1.0,) * 2))
    )
    sets, values = VectorSets.pack([torch.randn(3, 4), torch.randn(1, 4)]), torch.randn(2, 2)
    pooled = torch.stack([sets.values[:3].sum(0), sets.values[3]])
    assert task.join is not None
    joined = (torch.cat([pooled, values], 1) @ task.join.linear.weight.T + task.join.linear.bias).relu()
    expected = (joined @ task.head.weight.T + task.head.bias)[:, 0]
    torch.testing.assert_close(task(sets, Batch(sets, set_values=values)), expected)
    with pytest.raises(InputError, match=r"^the sets have 0 numbers each, expected 2 for each set, as in training"):
        task(sets, Batch(sets))


def test_batches_have_a_row_for_each_set_or_none() -> None:
    examples = [
        Example(np.zeros((n, 2), np.float32), None, str(n), set_values=np.full(3, n, np.float32)) for n in (1, 2)
    ]
    batch = collate(examples)
    assert batch.set_values is not None
    assert batch.set_values.tolist() == [[1.0] * 3, [2.0] * 3]
    emptied = batch.emptied().set_values
    assert emptied is not None
    assert emptied.shape == (0, 3)
    assert collate([replace(examples[0], set_values=None)]).set_values is None
    with pytest.raises(InputError, match=r"^the example '2' has set_values None, expected them like '1'"):
        collate([examples[0], replace(examples[1], set_values=None)])


def test_a_trained_run_reads_them_of_new_molecules(reader: Molecules, tmp_path: Path) -> None:
    model = Encoder(width=8, layers=1, heads=2, feed_forward=8, positions=Positions("none"))
    training = Training(epochs=1, progress=False, checkpoint_every=0)
    fit(Experiment("mine", reader, model, PerSetNumber(), training=training), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    alone, other = run.predict_texts(["CCCO", "CCCCCCN"])
    assert np.isfinite(alone["number"])
    assert alone["number"] != other["number"]
