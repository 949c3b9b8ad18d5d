"""Molecules from tables of SMILES; RDKit is the oracle of what an atom is."""

import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.chemistry import ELEMENTS, atom_features, bonds, drawing, molecule, scaffold, scaffold_split
from regard.data.examples import IGNORE
from regard.data.molecules import Molecules
from regard.data.readers import reader_of
from regard.data.structure import NodePositions
from regard.errors import InputError

Chem = pytest.importorskip("rdkit.Chem")
published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
PARTS: Any = ("train", "validation", "test")
ROWS = "".join(f"m{n},{'C' * (n + 1)}O,{n / 2}\n" for n in range(20))


def table(tmp_path: Path, rows: str, header: str = "name,SMILES,label") -> str:
    (tmp_path / "own.csv").write_text(f"{header}\n{rows}")
    return str(tmp_path / "own.csv")


def test_a_molecule_is_a_set_of_atoms_joined_by_bonds_that_carry_their_kind(tmp_path: Path) -> None:
    reader = Molecules(table(tmp_path, ROWS), division="hash")
    encoding = reader.fit()
    example = reader.example("C=CC#N", encoding)
    assert example.tokens == ("C1", "C2", "C3", "N4")
    assert [ELEMENTS[k] for k in example.values.argmax(1)] == ["C", "C", "C", "N"]
    assert (encoding.width, encoding.edge_width, encoding.edges, encoding.ordered) == (14, 4, True, False)
    assert example.edges is not None
    assert example.edge_values is not None
    carried = {(int(q), int(k)): v.tolist() for (q, k), v in zip(example.edges.T, example.edge_values, strict=True)}
    kinds = {(0, 1): [0, 1, 0, 0], (1, 2): [1, 0, 0, 0], (2, 3): [0, 0, 1, 0]}
    expected = kinds | {(k, q): v for (q, k), v in kinds.items()} | {(n, n): [0] * 4 for n in range(4)}
    assert carried == expected


def test_full_features_are_what_the_library_says_of_each_atom() -> None:
    found = molecule("C[N+](C)(C)C[C@H](O)c1ccc2[nH]ccc2c1", "it")
    values = atom_features(found, "full")
    names = [14, 6, 5, 5, 6, 2, 3]
    assert values.shape == (found.GetNumAtoms(), sum(names))
    blocks = np.split(values, np.cumsum(names)[:-1], axis=1)
    atoms = list(found.GetAtoms())
    assert [list(block).index(1) for block in blocks[1]] == [atom.GetDegree() for atom in atoms]
    assert [list(block).index(1) for block in blocks[2]] == [atom.GetTotalNumHs() for atom in atoms]
    assert [list(block).index(1) - 2 for block in blocks[3]] == [atom.GetFormalCharge() for atom in atoms]
    assert blocks[5].sum() == 1
    np.testing.assert_allclose(blocks[6][:, 0], [atom.GetIsAromatic() for atom in atoms])
    from rdkit.Chem import Crippen, rdMolDescriptors

    added = atom_features(found, "contributions")[:, sum(names) :]
    np.testing.assert_allclose(added[:, 0].sum(), Crippen.MolLogP(found), rtol=1e-4)
    np.testing.assert_allclose(added[:, 2].sum() * 20, rdMolDescriptors.CalcTPSA(found), rtol=1e-4)
    ends, carried = bonds(molecule(r"C/C=C\C", "it"), "full")
    assert ends.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert carried[1].tolist() == [0, 1, 0, 0, 0, 0, 1, 0]


def test_other_elements_share_a_place_and_salts_are_one_set(tmp_path: Path) -> None:
    values = atom_features(molecule("[Fe].[U]", "it"), "atoms")
    np.testing.assert_array_equal(values[:, -1], [1, 1])
    reader = Molecules(
        table(tmp_path, ROWS), division="hash", positions=NodePositions(laplacian=2, walks=3, degree=True)
    )
    encoding = reader.fit()
    assert encoding.width == 14 + 6
    salt, atom = reader.example("[Na+].[Cl-]", encoding), reader.example("[Na+]", encoding)
    assert salt.edges is not None
    assert salt.edges.tolist() == [[0, 1], [0, 1]]
    np.testing.assert_array_equal(salt.values[:, 14:], np.zeros((2, 6)))
    assert (
        len(atom.values),
        len(reader.example("C" * 5000, Molecules(reader.path, division="hash").fit()).values),
    ) == (1, 5000)


def test_unparsable_rows_are_named_and_counted_and_rows_without_label_too(tmp_path: Path) -> None:
    rows = ROWS + "a,C(C)(C)(C)(C)C,1\nb,hello,1\nc,CC,\nd,,1\n"
    reader = Molecules(table(tmp_path, rows), division="hash")
    encoding = reader.fit()
    assert sum(len(reader.part(part, encoding)) for part in PARTS) == 20
    assert reader.survey().skipped.lines() == [
        "2 molecules that cannot be read: own.csv, line 22 (C(C)(C)(C)(C)C), own.csv, line 23 (hello)",
        "1 rows without a label: own.csv, line 24",
        "1 rows without a SMILES: own.csv, line 25",
    ]


def test_several_labels_may_have_gaps(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * (n + 1)},{n % 2},{'' if n % 3 else 1}\n" for n in range(20)) + "CCO,,\n"
    reader = Molecules(
        table(tmp_path, rows, "smiles,toxic,blue"), target="labels", label_column="toxic,blue", division="hash"
    )
    encoding = reader.fit()
    assert encoding.labels == ("blue", "toxic")
    targets = np.stack([target for part in PARTS for target in reader.part(part, encoding).targets])
    assert targets.shape == (20, 2)
    assert (np.isnan(targets[:, 0]).sum(), targets[:, 1].sum()) == (13, 10)
    assert "1 rows without a label" in reader.survey().full()


def test_labels_are_classes(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'C' * (n + 1)},{['no', 'yes'][n % 2]}\n" for n in range(40))
    reader = Molecules(table(tmp_path, rows), target="label", division="hash")
    encoding = reader.fit()
    assert encoding.labels == ("no", "yes")
    assert [len(reader.part(part, encoding)) for part in PARTS] == [32, 4, 4]
    assert IGNORE not in np.stack(reader.part("test", encoding).targets)


def test_a_column_or_files_may_say_the_parts(tmp_path: Path) -> None:
    rows = "CO,1,train\nCCO,2,train\nCN,3,dev\nCCN,4,test\n"
    reader = Molecules(table(tmp_path, rows, "smiles,label,split"))
    assert reader.names_parts()
    assert [len(reader.labels(part)) for part in PARTS] == [2, 1, 1]
    (tmp_path / "parts").mkdir()
    for name, row in (("train", "CO,1\nCCO,2\n"), ("valid", "CN,3\n"), ("test", "CCN,4\n")):
        (tmp_path / "parts" / f"{name}.csv").write_text(f"smiles,label\n{row}")
    reader = Molecules(str(tmp_path / "parts"))
    assert [len(reader.labels(part)) for part in PARTS] == [2, 1, 1]
    assert reader_of(tmp_path / "parts") is reader_of(tmp_path / "own.csv") is Molecules


def test_what_is_predicted_for_is_read_from_tables_lines_streams_and_memory(tmp_path: Path) -> None:
    reader = Molecules(table(tmp_path, ROWS), division="hash")
    encoding = reader.fit()
    expected = reader.example("CO", encoding)
    (tmp_path / "plain.smi").write_text("CO methanol\n\nCCO\n")
    lines = reader.inputs([str(tmp_path / "plain.smi")], encoding)
    assert [example.name for example in lines.examples] == ["methanol", f"{tmp_path / 'plain.smi'}:3"]
    (tmp_path / "plain.csv").write_text("id,smiles\nx,CO\n")
    (row,) = reader.inputs([str(tmp_path / "plain.csv")], encoding).examples
    assert row.name == "x"
    (group,) = reader.stream(io.BytesIO(b"CO\n"), encoding)
    for example in (lines[0], row, group[0], reader.example(Chem.MolFromSmiles("CO"), encoding)):
        np.testing.assert_array_equal(example.values, expected.values)
        np.testing.assert_array_equal(example.edges, expected.edges)
    (tmp_path / "bad.smi").write_text("CO\nhello\n")
    with pytest.raises(InputError, match=r"bad.smi, line 2, holds 'hello', expected the SMILES of a molecule"):
        reader.inputs([str(tmp_path / "bad.smi")], encoding)
    assert [reader.recognizes(text) for text in ("CCO", "hello", "C1CC", "")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        ("a,CO,\nb,CC,\n", {}, "has no molecule with a label, expected at least one: 2 rows without a label"),
        ("a,hello,1\n", {}, "has no molecule with a label, expected at least one: 1 molecules that cannot be read"),
        (ROWS, {}, "no molecule in the train part: 20 of 20 have no ring, and a scaffold is in one part"),
        (ROWS + "x,CO,many\n", {"division": "hash"}, "line 22, holds 'many', expected a finite number"),
        (ROWS, {"label_column": "lable"}, "has no column 'lable' in its first line: did you mean 'label'"),
        (ROWS, {"smiles_column": "formula"}, "has no column 'formula' in its first line"),
        (ROWS, {"positions": NodePositions(laplacian=1), "division": "hash"}, ""),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, rows: str, options: Any, sentence: str) -> None:
    reader = Molecules(table(tmp_path, rows), **options)
    if not sentence:
        assert reader.fit().width == 15
        return
    with pytest.raises(InputError, match=sentence):
        [reader.part(part, reader.fit()) for part in PARTS]


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C(C)(C)(C)(C)C", r": atom 1 \(C\) has 5 bonds, too many"),
        ("c1cccc1", ": its aromatic atoms have no alternating bonds"),
        ("C1CC", "$"),
        ("", " of at least one atom"),
        ("C" * 100 + "!", "$"),
        ("\udcff", ", which is ASCII$"),
        ("Cé", ", which is ASCII$"),
    ],
)
def test_what_is_no_molecule_says_why(smiles: str, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=f"line 3, holds .*, expected the SMILES of a molecule{reason}"):
        molecule(smiles, "line 3,")
    assert capfd.readouterr() == ("", "")


def test_a_second_line_is_a_second_molecule() -> None:
    with pytest.raises(InputError, match=r"it holds 'CCO.*CCC', expected the SMILES of one molecule, on one line"):
        molecule("CCO\nCCC", "it")


def test_the_more_an_atom_is_attended_to_the_redder_it_is_drawn() -> None:
    picture = drawing(molecule("CCO", "it"), {0: 0.2, 1: 0.0, 2: 0.8}, query=1)
    fills = re.findall(r"<ellipse .*?fill:#(\w{6})", picture)
    assert sorted(fills) == sorted(["FFCCCC", "FFFFFF", "FF3333"])


def test_identities_of_atoms_mean_nothing() -> None:
    with pytest.raises(InputError, match=r"data\.positions\.identity is true, expected false"):
        Molecules(positions=NodePositions(identity=True))


def test_groups_fill_the_parts_from_the_largest_on() -> None:
    names = ["ring"] * 5 + ["pair"] * 2 + ["x", "y", "z"]
    # 8 are to be trained on: the ring, the pair, and of the single ones the last; then one is held out for validation.
    assert scaffold_split(names) == ["train"] * 7 + ["test", "validation", "train"]


@published
@pytest.mark.parametrize(
    ("name", "target", "sizes", "unread"),
    [
        ("esol", "number", [902, 113, 113], 0),
        ("freesolv", "number", [513, 64, 65], 0),
        ("bbbp", "label", [1631, 204, 204], 11),
    ],
)
def test_the_published_divisions(name: Any, target: Any, sizes: list[int], unread: int) -> None:
    reader = Molecules(dataset=name, target=target)
    survey = reader.survey()
    assert [survey.parts[part].examples for part in PARTS] == sizes
    assert len(survey.skipped) == unread


def test_without_rdkit_the_package_is_named_and_no_molecule_is_called_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Molecules(table(tmp_path, ROWS), division="hash")
    for name in [name for name in sys.modules if name.split(".")[0] == "rdkit"]:
        monkeypatch.setitem(sys.modules, name, None)
    for call in (reader.fit, lambda: reader.recognizes("CCO")):
        with pytest.raises(InputError, match=r"molecules need the package rdkit.*pip install 'regard\[molecules\]'"):
            call()


def test_a_molecule_of_many_atoms_has_a_scaffold_at_once_or_none_that_can_be_waited_for(tmp_path: Path) -> None:
    assert scaffold("C" * 5000) == ""
    with pytest.raises(
        InputError, match=r"line 2, has 5,006 atoms and rings, expected at most 1,000 .*data\.division hash"
    ):
        scaffold("C" * 5000 + "c1ccccc1", "line 2,")
    reader = Molecules(table(tmp_path, ROWS + "long," + "C" * 5000 + ",1\n"), division="hash")
    assert max(len(each.values) for each in reader.part("all", reader.fit()).examples) == 5000


def test_molecules_in_memory_are_made_whole_or_refused(tmp_path: Path) -> None:
    reader = Molecules(table(tmp_path, ROWS), division="hash")
    encoding = reader.fit()
    raw = Chem.MolFromSmiles("CCO", sanitize=False)
    np.testing.assert_array_equal(reader.example(raw, encoding).values, reader.example("CCO", encoding).values)
    with pytest.raises(InputError, match="the molecule has no atom, expected at least one"):
        reader.example(Chem.Mol(), encoding)
    with pytest.raises(InputError, match=r"the molecule is a molecule that cannot be: .*valence"):
        reader.example(Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False), encoding)
    assert len(reader.example(Chem.MolFromSmarts("[C,N]~[O]"), encoding).values) == 2


def test_several_columns_are_several_labels() -> None:
    with pytest.raises(
        InputError,
        match=r"data\.label_column is .a,b. and data\.target .number., expected one column",
    ):
        Molecules("own.csv", label_column="a,b").fit()
