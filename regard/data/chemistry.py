"""Molecules as sets of atoms, from SMILES, by RDKit: features of atoms and bonds, scaffolds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

from regard.data.examples import Array, Part
from regard.errors import InputError

__all__ = [
    "ELEMENTS",
    "Features",
    "atom_features",
    "bonds",
    "check_installed",
    "descriptors",
    "drawing",
    "molecule",
    "scaffold",
    "scaffold_split",
    "whole",
]

Features = Literal["atoms", "full", "contributions"]

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")
"""Those that have a place of their own; all others share one."""

_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_SHAPES = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_TURNS = ("CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW")
_MOST_SHOWN = 60  # characters of a SMILES in a sentence
_MOST_OF_SCAFFOLD = 1000  # atoms; RDKit takes 1.6 s for so many, and sixteen times as long for twice as many


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        needed = "pip install 'regard[molecules]'"
        raise InputError(f"molecules need the package rdkit, which cannot be imported here: {needed}") from None


def check_installed() -> None:
    """Refuse to begin without RDKit, which would otherwise be found missing molecule by molecule.

    Raises:
        InputError: it is not installed.
    """
    _library("rdkit.Chem")


def molecule(smiles: str, where: str) -> Any:
    """The molecule of RDKit that a SMILES stands for.

    Raises:
        InputError: what is no SMILES, or of a molecule that cannot be; `where` begins the sentence.

    >>> molecule("C(C)(C)(C)(C)C", "line 3")
    Traceback (most recent call last):
    regard.errors.InputError: line 3 holds 'C(C)(C)(C)(C)C', expected the SMILES of a molecule: atom 1 (C) has 5 bonds, too many
    """
    chem, base = _library("rdkit.Chem"), _library("rdkit.rdBase")
    shown = smiles if len(smiles) <= _MOST_SHOWN else f"{smiles[: _MOST_SHOWN - 3]}..."
    if not smiles.isascii():
        raise InputError(f"{where} holds {shown!r}, expected the SMILES of a molecule, which is ASCII")
    if len(smiles.splitlines()) > 1:
        raise InputError(f"{where} holds {shown!r}, expected the SMILES of one molecule, on one line")
    # RDKit writes what it dislikes to standard error.
    with base.BlockLogs():
        found = chem.MolFromSmiles(smiles)
        if found is None:
            reason = _reason(chem, smiles)
            raise InputError(f"{where} holds {shown!r}, expected the SMILES of a molecule{reason}")
    if not found.GetNumAtoms():
        raise InputError(f"{where} holds {shown!r}, expected the SMILES of a molecule of at least one atom")
    return found


def whole(found: Any, where: str) -> Any:
    """A molecule of RDKit in memory with its rings and hydrogens known, as one that was read has them.

    Raises:
        InputError: one without atoms, or that cannot be; `where` begins the sentence.
    """
    if not found.GetNumAtoms():
        raise InputError(f"{where} has no atom, expected at least one")
    chem, base = _library("rdkit.Chem"), _library("rdkit.rdBase")
    # What is a pattern has queries in the place of atoms.
    made = chem.RWMol(found)
    with base.BlockLogs():
        try:
            made.UpdatePropertyCache()
            chem.SanitizeMol(made)
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{where} is a molecule that cannot be: {reason:.200}") from None
    return made.GetMol()


def _reason(chem: Any, smiles: str) -> str:
    """What is wrong with a molecule whose SMILES can be read; empty for what cannot."""
    unchecked = chem.MolFromSmiles(smiles, sanitize=False)
    problems = [] if unchecked is None else chem.DetectChemistryProblems(unchecked)
    for problem in problems:
        if problem.GetType() == "AtomValenceException":
            atom = unchecked.GetAtomWithIdx(problem.GetAtomIdx())
            bonds = int(sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds())) + atom.GetNumExplicitHs()
            return f": atom {atom.GetIdx() + 1} ({atom.GetSymbol()}) has {bonds} bonds, too many"
        if "kekulize" in problem.Message().lower():
            return ": its aromatic atoms have no alternating bonds"
    return ""


def atom_features(found: Any, features: Features) -> Array:
    """`[atoms, ...]` float32 of a molecule of RDKit.

    Args:
        features: "atoms" is one-hot by `ELEMENTS`; "full" also has the number of bonds and of hydrogens, charge, hybridization,
            whether it is aromatic and in a ring, chirality, and mass; "contributions" also what each atom with its hydrogens adds
            to the logarithm of the octanol-water partition coefficient and to the refractivity (Wildman and Crippen 1999), and
            the atom to the polar and to the whole surface.

    >>> atom_features(molecule("CO", "it"), "atoms").argmax(1).tolist()
    [2, 4]
    """
    columns = [_one_hot([a.GetSymbol() for a in found.GetAtoms()], ELEMENTS, others=True)]
    if features != "atoms":
        atoms = list(found.GetAtoms())
        columns += [
            _one_hot([min(a.GetDegree(), 5) for a in atoms], range(6)),
            _one_hot([min(a.GetTotalNumHs(), 4) for a in atoms], range(5)),
            _one_hot([max(-2, min(a.GetFormalCharge(), 2)) for a in atoms], range(-2, 3)),
            _one_hot([str(a.GetHybridization()) for a in atoms], _SHAPES, others=True),
            _one_hot([str(a.GetChiralTag()) for a in atoms], _TURNS),
            np.array([[a.GetIsAromatic(), a.IsInRing(), a.GetMass() / 100] for a in atoms], np.float32),
        ]
    if features == "contributions":
        columns.append(_contributions(found))
    return np.concatenate(columns, axis=1)


def _contributions(found: Any) -> Array:
    """`[atoms, 4]`, scaled to numbers about 1."""
    descriptors = _library("rdkit.Chem.rdMolDescriptors")
    whole = _library("rdkit.Chem").AddHs(found)
    added = np.array(descriptors._CalcCrippenContribs(whole))
    crippen = added[: found.GetNumAtoms()].copy()
    for atom in list(whole.GetAtoms())[found.GetNumAtoms() :]:
        crippen[atom.GetNeighbors()[0].GetIdx()] += added[atom.GetIdx()]
    polar = np.array(descriptors._CalcTPSAContribs(found))[:, None] / 20
    surface = np.array(list(descriptors._CalcLabuteASAContribs(found)[0]))[:, None] / 10
    return np.concatenate([crippen * [1, 0.2], polar, surface], axis=1).astype(np.float32)


def descriptors(found: Any) -> Array:
    """`[k]` float64 of a whole molecule: RDKit's properties, such as weight, rings, rotatable bonds, polar surface and the octanol-
    water partition coefficient, and the sum of each number of `atom_features(found, "contributions")`.

    >>> bool(descriptors(molecule("CCO", "it"))[0] == 46.041864812)
    True
    """
    properties = _library("rdkit.Chem.rdMolDescriptors").Properties()
    sums = atom_features(found, "contributions").astype(np.float64).sum(0)
    return np.concatenate([np.nan_to_num(np.array(properties.ComputeProperties(found))), sums])


def bonds(found: Any, features: Features) -> tuple[Array, Array]:
    """`[2, bonds]` atoms and `[bonds, ...]` float32 what each bond carries: its kind, one-hot; with more than "atoms" also whether
    it is conjugated and in a ring, and whether it is Z or E.

    >>> edges, values = bonds(molecule("C=CO", "it"), "atoms")
    >>> edges.tolist(), values.argmax(1).tolist()
    ([[0, 1], [1, 2]], [1, 0])
    """
    listed = list(found.GetBonds())
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in listed], np.int64).reshape(-1, 2).T
    columns = [_one_hot([str(b.GetBondType()) for b in listed], _BONDS)]
    if features != "atoms":
        flags = [[b.GetIsConjugated(), b.IsInRing()] for b in listed]
        columns += [
            np.array(flags, np.float32).reshape(-1, 2),
            _one_hot([str(b.GetStereo()) for b in listed], ("STEREOZ", "STEREOE")),
        ]
    return ends, np.concatenate(columns, axis=1)


def drawing(found: Any, weights: Mapping[int, float], query: int) -> str:
    """A molecule of RDKit as a picture in SVG: what one atom attends to, the more the redder, with the weights beside the atoms.

    Args:
        weights: by the number of the atom, from 0. query: the atom that attends.
    """
    chem, draw = _library("rdkit.Chem"), _library("rdkit.Chem.Draw.rdMolDraw2D")
    noted, most = chem.Mol(found), max([0.0, *weights.values()]) or 1.0
    for n, weight in weights.items():
        noted.GetAtomWithIdx(n).SetProp("atomNote", f"{weight:.2f}")
    colors = {n: (1.0, 1 - 0.8 * weight / most, 1 - 0.8 * weight / most) for n, weight in weights.items()}
    canvas = draw.MolDraw2DSVG(600, 450)
    canvas.drawOptions().legendFontSize = 18
    symbol = noted.GetAtomWithIdx(query).GetSymbol()
    draw.PrepareAndDrawMolecule(
        canvas,
        noted,
        legend=f"what {symbol}{query + 1} attends to",
        highlightAtoms=list(colors),
        highlightAtomColors=colors,
        highlightBonds=[],
    )
    canvas.FinishDrawing()
    drawn: str = canvas.GetDrawingText()
    return drawn


def _one_hot(values: Sequence[Any], known: Sequence[Any], others: bool = False) -> Array:
    places = {value: n for n, value in enumerate(known)}
    rows = np.zeros((len(values), len(known) + 1), np.float32)
    rows[np.arange(len(values)), [places.get(value, len(known)) for value in values]] = 1
    return rows if others else rows[:, :-1]


@lru_cache(maxsize=1 << 16)
def scaffold(smiles: str, where: str = "the molecule") -> str:
    """The Murcko scaffold, rings and what joins them, without handedness; empty for a molecule without rings.

    Raises:
        InputError: a molecule with rings and so many atoms that RDKit would take minutes or hours; `where` begins the sentence.

    >>> scaffold("CC(=O)Oc1ccccc1C(=O)O")
    'c1ccccc1'
    >>> scaffold("C" * 5000)
    ''
    """
    found = molecule(smiles, where)
    if not found.GetRingInfo().NumRings():
        return ""
    if found.GetNumAtoms() > _MOST_OF_SCAFFOLD:
        raise InputError(
            f"{where} has {found.GetNumAtoms():,} atoms and rings, expected at most {_MOST_OF_SCAFFOLD:,} where scaffolds divide "
            "(data.division hash divides otherwise)"
        )
    murcko = _library("rdkit.Chem.Scaffolds.MurckoScaffold")
    with _library("rdkit.rdBase").BlockLogs():
        rings: str = murcko.MurckoScaffoldSmiles(smiles=smiles, includeChirality=False)
    return rings


def scaffold_split(scaffolds: Sequence[str], shares: tuple[float, float] = (0.8, 0.1)) -> list[Part]:
    """The part of each molecule by its scaffold, as DeepChem's `ScaffoldSplitter` has it: nothing is drawn.

    Groups of one scaffold, the largest first and of equals the one that comes last, go to the training part while they fit into its
    share, then to the validation part, else to the test part: so that what is tested has rare scaffolds.

    Args:
        scaffolds: of the molecules that can be read, in the order of the file. shares: of the training and the validation part.

    >>> scaffold_split(["a", "b", "a", "a", "a", "c", "a", "a", "a", "a"])
    ['train', 'test', 'train', 'train', 'train', 'validation', 'train', 'train', 'train', 'train']
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for n, name in enumerate(scaffolds):
        groups[name].append(n)
    parts: list[Part] = ["test"] * len(scaffolds)
    train, held = shares[0] * len(scaffolds), (shares[0] + shares[1]) * len(scaffolds)
    counts = {"train": 0, "validation": 0}
    for group in sorted(groups.values(), key=lambda group: (len(group), group[0]), reverse=True):
        part: Part = "test"
        if counts["train"] + len(group) <= train:
            part = "train"
        elif sum(counts.values()) + len(group) <= held:
            part = "validation"
        if part != "test":
            counts[part] += len(group)
        for n in group:
            parts[n] = part
    return parts
