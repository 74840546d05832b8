"""ROOT files are read as uproot reads them branch by branch, and as what they were made of."""

from __future__ import annotations

from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot

from hepfm.errors import DataError
from hepfm.readers.sniff import open_reader
from hepfm.testing import reader_contract
from hepfm_structured.branches import Branch, find_layout
from hepfm_structured.root import RootReader, _branch
from hepfm_structured.schema import classes_of, fields_of

Config = RootReader.Config


def brute_mass(px, py, pz, e):
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0))


def test_flat_dimuons(real_data, events_of):
    path = real_data / "collider" / "uproot-Zmumu-zlib.root"
    reader = open_reader(path)
    assert type(reader) is RootReader
    with uproot.open(path) as file:
        raw = file["events"].arrays(filter_name=lambda n: n != "Type", library="np")
    assert len(reader) == len(raw["Run"]) == 2304
    columns = reader.read(range(2304)).parts["structured"]["particles"].columns
    for name, branch in {"pt": "pt", "eta": "eta", "phi": "phi", "charge": "Q"}.items():
        wanted = np.stack([raw[f"{branch}1"], raw[f"{branch}2"]], 1).reshape(-1)
        np.testing.assert_array_equal(columns[name], wanted)
    # Physics: muons have a muon's mass (E^2 - p^2 loses digits at high energy), and pairs a Z's.
    energies = np.stack([raw["E1"], raw["E2"]], 1).reshape(-1)
    slow = energies < 60
    assert np.abs(columns["mass"][slow] - 0.10566).max() < 0.01
    m = np.array([inputs["event"]["M"][0] for inputs, _ in events_of(reader)])
    p = [raw[f"p{a}1"] + raw[f"p{a}2"] for a in "xyz"]
    np.testing.assert_allclose(brute_mass(*p, raw["E1"] + raw["E2"]), m, rtol=1e-6)
    peak = m[(m > 80) & (m < 100)]
    assert abs(np.median(peak) - 91.0) < 0.7
    assert set(fields_of(reader.parts["structured"])["event"]) == {"M"}  # Run and Event are numbers of things
    assert "Type" in reader.provenance["left_out"]
    assert list(reader.check()) == []
    reader_contract(RootReader, path)


def test_collections_in_one_table(real_data):
    path = real_data / "collider" / "uproot-HZZ.root"
    config = Config(collections=("Muon", "Electron", "Jet"), fill={"charge": 0, "btag": -1})
    reader = RootReader(path, config)
    table = reader.parts["structured"].tables["particles"]
    assert list(table) == ["pt", "eta", "phi", "mass", "charge", "btag", "object"]
    with uproot.open(path) as file:
        raw = file["events"].arrays(library="ak")
    batch = reader.read(range(len(reader)))
    for k in (0, 1, 17, 600, 2420):
        rows = batch.event(k).parts["structured"]["particles"]
        at = 0
        for which, name in enumerate(("Muon", "Electron", "Jet")):
            px, py, pz, e = (ak.to_numpy(raw[f"{name}_{c}"][k]).astype("f8") for c in ("Px", "Py", "Pz", "E"))
            mine = slice(at, at := at + len(px))
            assert (rows["object"][mine] == which).all()
            np.testing.assert_allclose(rows["pt"][mine], np.sqrt(px**2 + py**2), rtol=1e-6)
            np.testing.assert_allclose(
                rows["eta"][mine], np.arctanh(pz / np.sqrt(px**2 + py**2 + pz**2)), rtol=1e-5
            )
            np.testing.assert_allclose(rows["phi"][mine], np.arctan2(py, px), rtol=1e-5)
            np.testing.assert_allclose(
                rows["mass"][mine], brute_mass(px, py, pz, e), rtol=1e-3, atol=2e-3 * e.max(initial=1)
            )
            wanted = raw[f"{name}_Charge"][k] if name != "Jet" else np.zeros(len(px))
            np.testing.assert_array_equal(rows["charge"][mine], wanted)
            btag = raw["Jet_btag"][k] if name == "Jet" else np.full(len(px), -1)
            np.testing.assert_array_equal(rows["btag"][mine], btag)
        assert at == len(rows["pt"])
    counts = sum(ak.to_numpy(raw[f"N{name}"]) for name in ("Muon", "Electron", "Jet"))
    np.testing.assert_array_equal(reader.lengths("structured"), counts)
    labels = batch.labels["structured"]["event"].columns
    assert {"MClepton_px", "EventWeight"} <= set(labels)
    reader_contract(RootReader, path, config)


def test_what_is_said_of_labels_adds_to_what_is_known(real_data):
    """One option must not turn truth into inputs, and what is left out of a merged table is listed."""
    path = real_data / "collider" / "uproot-HZZ.root"
    config = Config(collections=("Muon",), labels=("Muon_Iso", "NPrim*"), inputs=("EventWeight",))
    tables = RootReader(path, config).parts["structured"].tables
    labels = {n for columns in tables.values() for n, column in columns.items() if column.label}
    assert {"Iso", "NPrimaryVertices", "MCneutrino_px"} <= labels
    assert not labels & {"EventWeight", "MET_px", "charge"}
    told = RootReader(path).provenance
    assert {"Muon_Charge", "Jet_btag", "Photon_Iso", "NElectron"} <= set(told["left_out"])
    assert "charge: read with option fill=" in told["not_in_all_collections"]


def test_gibuu(real_data):
    path = real_data / "gibuu" / "EventOutput.Pert.00000001.root"
    reader = RootReader(path, Config(momentum="cartesian"))
    with uproot.open(path) as file:
        raw = file["RootTuple"].arrays(library="ak")
    batch = reader.read(range(len(reader)))
    columns = batch.parts["structured"]["particles"].columns
    for name, branch in {"px": "Px", "pz": "Pz", "energy": "E", "pdg": "barcode", "x": "x"}.items():
        np.testing.assert_array_equal(columns[name], ak.to_numpy(ak.flatten(raw[branch])))
    np.testing.assert_array_equal(batch.labels["structured"]["event"].columns["weight"], raw["weight"])
    assert "lepIn_E" in batch.parts["structured"]["event"].columns
    polar = RootReader(path).read([0, 1, 2]).parts["structured"]["particles"].columns
    nucleons = np.isin(polar["pdg"], (2212, 2112))
    assert nucleons.any()
    assert ((polar["mass"][nucleons] > 0.85) & (polar["mass"][nucleons] < 0.95)).all()
    assert list(reader.check()) == []
    reader_contract(RootReader, path, Config(momentum="cartesian"))


def test_jetclass(jetclass, events_of):
    path, lists, classes = jetclass()
    reader = open_reader(path)
    schema = reader.parts["structured"]
    assert [c.name for c in schema.vocabularies["label"]] == ["QCD", "Hbb", "Tbqq"]
    assert "aux_truth_match" not in {n for t in fields_of(schema).values() for n in t}
    assert schema.tables["event"]["aux_truth_match"].label
    names = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
    for k, (inputs, labels) in enumerate(events_of(reader)):
        rows = inputs["particles"]
        px, py, pz = (lists[c][k].astype("f8") for c in ("px", "py", "pz"))
        np.testing.assert_allclose(rows["pt"], np.sqrt(px**2 + py**2), rtol=1e-6)
        np.testing.assert_allclose(np.sinh(rows["eta"]) * rows["pt"], pz, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(rows["charge"], lists["charge"][k])
        np.testing.assert_array_equal(rows["deta"], lists["deta"][k])
        np.testing.assert_array_equal(rows["species"], np.argmax([lists[n][k] for n in names], 0))
        assert labels["event"]["label"] == classes[k]
    assert reader.lengths("structured")[3] == 0  # an empty jet is an event without rows
    assert list(reader.check()) == []
    reader_contract(RootReader, path)


def test_order_is_descending_and_ties_stay(jetclass, events_of):
    path, lists, _ = jetclass()
    reader = RootReader(path, Config(order="pt", momentum="polar"))
    assert reader.parts["structured"].attributes["order"] == "pt"
    for k, (inputs, _) in enumerate(events_of(reader)):
        pt = np.hypot(lists["px"][k].astype("f8"), lists["py"][k].astype("f8"))
        order = np.argsort(-pt, kind="stable")
        np.testing.assert_array_equal(inputs["particles"]["deta"], lists["deta"][k][order])
    assert RootReader(path).digest() != reader.digest()


@pytest.mark.parametrize("kind", ["TTree", "RNTuple"])
def test_nanoaod_names_and_numbers(tmp_path, kind):
    rng = np.random.default_rng(2)
    counts = {
        "Jet": rng.integers(0, 5, 20),
        "Muon": rng.integers(0, 3, 20),
        "GenPart": rng.integers(1, 9, 20),
    }
    branches = {
        "run": np.ones(20, "u4"),
        "event": np.arange(20, dtype="u8"),
        "HLT_IsoMu24": np.ones(20, bool),
    }
    branches["MET_pt"] = rng.exponential(30, 20).astype("f4")
    made = {}
    for name, n in counts.items():
        columns = {c: rng.uniform(-2, 2, n.sum()).astype("f4") for c in ("pt", "eta", "phi", "mass")}
        if name == "Jet":
            columns["hadronFlavour"] = rng.integers(0, 6, n.sum()).astype("i4")
        if name == "Muon":
            columns["charge"] = rng.choice([-1, 1], n.sum()).astype("i4")
            columns["tightId"] = rng.integers(0, 2, n.sum()).astype(bool)
        made[name] = columns
        branches[name] = ak.zip({c: ak.unflatten(v, n) for c, v in columns.items()})
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        if kind == "TTree":
            file.mktree("Events", branches)
        else:
            file.mkrntuple("Events", branches)
    reader = open_reader(path)
    assert reader.provenance["collections"] == ["Jet", "Muon"]  # truth is not a collection
    separator = "_" if kind == "TTree" else "."
    assert {"HLT_IsoMu24", f"GenPart{separator}pt"} <= set(reader.provenance["left_out"])
    assert set(fields_of(reader.parts["structured"])["event"]) == {"MET_pt"}
    muons = RootReader(path, Config(collections=("Muon",)))
    columns = muons.read(range(20)).parts["structured"]["particles"].columns
    np.testing.assert_array_equal(columns["charge"], made["Muon"]["charge"])
    np.testing.assert_array_equal(columns["tightId"], made["Muon"]["tightId"])
    jets = RootReader(path, Config(collections=("Jet",)))
    assert jets.parts["structured"].tables["particles"]["hadronFlavour"].label
    np.testing.assert_array_equal(
        jets.read(range(20)).labels["structured"]["particles"].columns["hadronFlavour"],
        made["Jet"]["hadronFlavour"],
    )
    cartesian = RootReader(path, Config(collections=("Muon",), momentum="cartesian"))
    rows = cartesian.read(range(20)).parts["structured"]["particles"].columns
    m = {c: v.astype("f8") for c, v in made["Muon"].items()}
    np.testing.assert_allclose(rows["px"], m["pt"] * np.cos(m["phi"]), rtol=1e-5, atol=1e-6)
    energy = np.sqrt((m["pt"] * np.cosh(m["eta"])) ** 2 + m["mass"] ** 2)
    np.testing.assert_allclose(rows["energy"], energy, rtol=1e-5)
    reader_contract(RootReader, path)


def test_branches_named_by_hand(tmp_path):
    path = tmp_path / "mine.root"
    lists = ak.Array([[1.0, 2.0], [], [3.0]])
    with uproot.recreate(path) as file:
        file.mktree("ntuple", {"mu_ptcone": lists, "mu_e_loss": lists * 2, "pileup": np.arange(3)})
        file.mktree("other", {"x": np.arange(3)})
    with pytest.raises(DataError, match=r"the file has 2 trees(.|\n)*ntuple, other"):
        RootReader(path)
    config = Config(
        tree="ntuple",
        particles={"pt": "mu_ptcone", "loss": "mu_e_loss"},
        event=("pile*",),
        kinds={"loss": "positive"},
        energy_unit="MeV",
    )
    reader = RootReader(path, config)
    rows = reader.read([0, 1, 2]).parts["structured"]
    assert rows["particles"].columns["loss"].tolist() == [2, 4, 6]
    assert rows["event"].columns["pileup"].tolist() == [0, 1, 2]
    fields = fields_of(reader.parts["structured"])
    assert fields["particles"] == {"pt": {"kind": "positive"}, "loss": {"kind": "positive"}}
    assert reader.parts["structured"].tables["particles"]["pt"].unit == "MeV"


def test_integers_can_be_classes(real_data):
    path = real_data / "gibuu" / "EventOutput.Pert.00000001.root"
    classes = {"evType": {"QE": 1, "Delta": 2}, "nucleus_Z": {"O": 8}}
    schema = RootReader(path, Config(classes=classes)).parts["structured"]
    assert fields_of(schema)["event"]["nucleus_Z"] == {"kind": "categorical", "vocabulary": "nucleus_Z"}
    assert [(c.value, c.name) for c in schema.vocabularies["evType"]] == [(1, "QE"), (2, "Delta")]
    assert schema.tables["event"]["evType"].label  # a class of truth stays truth
    with pytest.raises(DataError, match=r"'weight' is float64, not integers"):
        RootReader(path, Config(classes={"weight": {"one": 1}}))
    for words, what in (({}, "has no classes"), ({"p": 1, "n": 1}, "one number for two classes")):
        with pytest.raises(DataError, match=what):
            RootReader(path, Config(classes={"nucleus_Z": words}))
    schema = RootReader(path, Config(classes={"pdg": {"p": 2212, "n": 2112}})).parts["structured"]
    assert [c.name for c in classes_of(schema, "pdg")] == ["p", "n"]  # and not those that are known by name


def test_collections_of_several_types_keep_their_numbers(tmp_path):
    """The type of a column holds what each collection has, and what stands where one has none."""
    path = tmp_path / "types.root"
    kinematics = {f"{c}_{x}": ak.Array([[1.0], [2.0]]) for c in "AB" for x in ("pt", "eta", "phi")}
    own = {
        "A_n": np.array([[1], [255]], "u1"),
        "B_n": np.array([[70000], [-1]], "i4"),
        "A_id": np.array([[3], [4]], "u1"),
        "A_flag": np.array([[True], [False]]),
        "B_flag": np.array([[2], [3]], "i4"),
    }
    branches = {**kinematics, **{name: ak.from_regular(ak.Array(values)) for name, values in own.items()}}
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: v.type.content for name, v in branches.items()})
        file["Events"].extend(branches)
    reader = RootReader(path, Config(fill={"id": -1}))
    columns = reader.read([0, 1]).parts["structured"]["particles"].columns
    assert columns["n"].tolist() == [1, 70000, 255, -1]
    assert columns["id"].tolist() == [3, -1, 4, -1]
    assert columns["flag"].tolist() == [1, 2, 0, 3]
    assert fields_of(reader.parts["structured"])["particles"]["flag"] == {"kind": "continuous"}


def test_names_that_mean_two_things(tmp_path):
    """Barcodes are PDG codes in GiBUU alone; a jet's charge is no whole number; NanoAOD's truth is truth."""
    path = tmp_path / "names.root"
    lists = {c: ak.Array([[1.0], [2.0]]) for c in ("px", "py", "pz", "charge", "barcode", "pdgId")}
    lists |= {"charge": lists["charge"] * 0.3, "pdgId": ak.values_astype(lists["pdgId"] * 11, "int32")}
    numbers = ("Pileup_nTrueInt", "HTXS_Higgs_pt", "mcChannelNumber", "weight_mc", "puWeight", "orbitNumber")
    branches = {**lists, **{name: np.ones(2) for name in (*numbers, "ptWeighted")}}
    with uproot.recreate(path) as file:
        kinds = {n: v.type.content if isinstance(v, ak.Array) else v.dtype for n, v in branches.items()}
        file.mktree("tree", kinds)
        file["tree"].extend(branches)
    with pytest.raises(DataError, match=r"not a whole number: 0.3(.|\n)*kinds={charge: continuous}"):
        RootReader(path).read([0])
    reader = RootReader(path, Config(kinds={"charge": "continuous"}))
    columns = reader.read([0, 1]).parts["structured"]["particles"].columns
    assert columns["charge"].tolist() == [0.3, 0.6]
    assert columns["pdg"].tolist() == [11, 22]
    assert set(fields_of(reader.parts["structured"])["event"]) == {"ptWeighted"}


def test_particles_with_mothers_and_daughters_are_truth():
    columns = [f"Jet/Jet.{c}" for c in ("PT", "Eta", "Phi")]
    columns += [f"Particle/Particle.{c}" for c in ("PT", "Eta", "Phi", "M1", "M2", "D1", "D2")]
    branches = dict.fromkeys(columns, Branch("float32", -1))
    assert list(find_layout(branches, Config(), where="Delphes").collections) == ["Jet"]
    asked = Config(collections=("Particle",))
    assert list(find_layout(branches, asked, where="Delphes").collections) == ["Particle"]


@pytest.mark.parametrize(
    ("typename", "branch"),
    [
        ("RVec<float>", Branch("float32", -1)),  # as RDataFrame's snapshots have it
        ("std::vector<double>", Branch("float64", -1)),
        ("uint8_t[3]", Branch("uint8", 3)),
        ("bool", Branch("bool")),
        ("std::vector<std::vector<float>>", None),
        ("std::string", None),
    ],
)
def test_types_of_branches(typename, branch):
    assert _branch(SimpleNamespace(typename=typename), of_tree=True) == branch


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tree": "tre"}, "no tree 'tre'(.|\n)*did you mean 'tree'"),
        ({"particles": {"pt": "part_ptt"}}, "no branch 'part_ptt'(.|\n)*did you mean 'part_p"),
        ({"collections": ("parts",)}, "no collection 'parts'(.|\n)*did you mean 'part'"),
        ({"event": ("jet_ptt",)}, "'jet_ptt'(.|\n)*did you mean 'jet_pt'"),
        ({"order": "ptt"}, "option order: there is no column 'ptt'(.|\n)*did you mean 'pt'"),
        ({"collections": ("part", "part")}, "'part' is named twice"),
        ({"fill": {"chrge": 0}}, "option fill: there is no column 'chrge'(.|\n)*did you mean 'charge'"),
        ({"labels": ("jet_ptt",)}, "option labels: nothing that is read fits(.|\n)*did you mean 'jet_pt'"),
        ({"kinds": {"ma": "positive"}}, "option kinds: there is no column 'ma'"),
        ({"particles": {"a": "part_px", "b": "jet_pt"}}, "part_px is a list and jet_pt is not"),
    ],
)
def test_options_that_fit_nothing_are_named(jetclass, options, sentence):
    path, _, _ = jetclass()
    with pytest.raises(DataError, match=sentence):
        RootReader(path, Config(**options))


def test_bad_events_are_named(jetclass):
    path, lists, _ = jetclass("good.root")
    event = next(k for k, row in enumerate(lists["px"]) if len(row) > 1)

    def with_infinite(px):
        rows = ak.to_list(px)
        rows[event][0] = np.inf
        return ak.values_astype(ak.Array(rows), "float32")

    path, _, _ = jetclass("infinite.root", part_px=with_infinite)
    sentences = list(RootReader(path).check())
    assert any(f"event {event}, field structured/particles/pt: 1 rows are infinite" in s for s in sentences)


def test_angles_in_degrees_are_doubted(jetclass):
    path, lists, _ = jetclass("degrees.root")
    phi = {"pt": "part_px", "phi": "part_pz", "eta": "part_py"}  # a column called phi, with other numbers
    rows = sum(int((np.abs(row) > 2 * np.pi * (1 + 1e-6)).sum()) for row in lists["pz"])
    reader = RootReader(path, Config(particles=phi, momentum="as-is"))
    assert [s for s in reader.check() if f"particles/phi: {rows} rows are angles beyond one turn" in s]

    path, _, _ = jetclass("two.root", label_QCD=np.ones_like)
    with pytest.raises(DataError, match=r"of the labels QCD, Hbb, Tbqq are set, not one"):
        RootReader(path).read(range(40))
    path, _, _ = jetclass("charge.root", part_charge=lambda q: q + np.float32(0.5))
    with pytest.raises(DataError, match=r"a charge is not a whole number: ") as error:
        RootReader(path).read([1])
    assert "event 0" in error.value.where or "event 1" in error.value.where
    path, _, _ = jetclass("no-momenta.root", part_pz=lambda _: None)
    with pytest.raises(DataError, match=r"no objects with momenta(.|\n)*option particles"):
        RootReader(path)


def test_lists_that_do_not_fit_each_other_are_named(tmp_path):
    a, b = ak.Array([[1.0], [2.0, 3.0]]), ak.Array([[1.0], [2.0]])
    path = tmp_path / "uneven.root"
    with uproot.recreate(path) as file:
        file.mktree("tree", dict.fromkeys(("pt", "eta", "phi"), "var * float64"))
        file["tree"].extend({"pt": a, "eta": a, "phi": b})
    reader = RootReader(path)
    with pytest.raises(DataError, match=r"another length than the others") as error:
        reader.read([0])
    assert error.value.where.endswith("event 1, branch phi")
    [sentence] = reader.check()
    assert "event 1, branch phi" in sentence


def test_truncated_and_foreign_files(jetclass, tmp_path, real_data):
    path, _, _ = jetclass()
    cut = tmp_path / "cut.root"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"truncated: it has \d+ of \d+ bytes"):
        RootReader(cut)
    with uproot.recreate(tmp_path / "hist.root") as file:
        file["h"] = np.histogram(np.arange(4))
    assert not RootReader.sniff(tmp_path / "hist.root")
    with pytest.raises(DataError, match=r"no tree"):
        RootReader(tmp_path / "hist.root")
    empty, _, _ = jetclass("empty.root", n=4)
    assert len(RootReader(empty)) == 4


def test_a_truncated_file_says_so_to_who_names_no_reader(jetclass):
    path, _, _ = jetclass()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="no reader recognises this; reader root: "):
        open_reader(path)
