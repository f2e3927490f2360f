"""Records on their way home: whole, in a few files of limited size, and never in place of others."""

import json
import tarfile

import pytest

from gbmlib.__main__ import main
from gbmlib.study import run, scales
from gbmlib.study.pack import shards
from gbmlib.study.records import FILES, RecordError, Store


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three records of phantoms."""
    store = Store(tmp_path_factory.mktemp("runs"))
    changes = {"cohort": "phantom:cases=4,spacing=6,seed=0", "epochs": 1}
    return run([scales.vnet("test", **changes, seed=seed)[0] for seed in range(3)], store, progress=False)


@pytest.fixture
def home(finished, tmp_path):
    """A folder with the shard of one record."""
    shards.Shards(tmp_path / "home").add(finished[0])
    return tmp_path / "home"


def test_files_are_few_and_small_and_say_what_had_no_room(finished, tmp_path):
    one = shards.lzma.compress(shards._tar(finished[0].path, FILES))
    limit = shards._END + shards._size(one) + 512  # records differ in size by a little
    ours = shards.Shards(tmp_path / "out", limit=limit, number=2)
    for record in finished:
        ours.add(record)
        ours.add_beside(record)
    assert sorted(file.name for file in ours.folder.iterdir()) == ["records-1.tar", "records-2.tar"]
    assert all(file.stat().st_size <= limit for file in ours.folder.iterdir())
    weights = [f"{record.id}.beside.tar" for record in finished]
    assert ours.left_out == [*weights[:2], f"{finished[2].id}.record.tar.xz", weights[2]]
    assert list(shards.take(ours.folder, tmp_path / "records")) == [record.id for record in finished[:2]]


def test_a_record_comes_home_byte_for_byte_and_once(finished, home, tmp_path):
    to = tmp_path / "records"
    name = finished[0].id
    assert shards.take(home, to) == {name: "taken"}
    assert sorted(path.name for path in (to / name).iterdir()) == sorted(FILES)
    assert all((to / name / of).read_bytes() == (finished[0].path / of).read_bytes() for of in FILES)
    assert shards.take(home, to) == {name: "there already"}
    assert [path.name for path in to.iterdir()] == [name]


def test_what_lies_beside_a_record_can_come_later(finished, home, tmp_path):
    to = tmp_path / "records"
    shards.take(home, to)
    ours = shards.Shards(home)
    ours.add(finished[0])
    ours.add_beside(finished[0])
    assert shards.take(home, to, beside=True) == {finished[0].id: "there already"}
    assert (to / finished[0].id / "weights.safetensors").read_bytes() == finished[0].weights.read_bytes()


def test_another_record_of_the_same_name_is_not_overwritten(finished, home, tmp_path, capsys):
    to, name = tmp_path / "records", finished[0].id
    shards.take(home, to)
    (to / name / "history.csv").write_text("epoch\n0\n")
    assert main(["pack", "take", str(home), "--to", str(to)]) == 1
    told = capsys.readouterr()
    assert f"{name}  refused: {to / name} is there with another history.csv; move it away" in told.out
    assert told.err == "error: 1 of 1 records were refused; see above\n"
    assert (to / name / "history.csv").read_text() == "epoch\n0\n"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda folder: (folder / "cases.csv").unlink(), "lacks cases.csv"),
        (lambda folder: (folder / "cases.csv").write_text("case,split,region,dice\n"), "nothing in cases.csv"),
        (lambda folder: (folder / "history.csv").write_text(""), "cannot be read"),
        (lambda folder: _edit(folder / "config.json", seed=7), "holds the configuration of vnet-"),
        (lambda folder: _edit(folder / "config.json", epochs=-1), "cannot be read"),
        (lambda folder: (folder / "provenance.json").write_text("{}"), "does not say its fingerprint"),
    ],
)
def test_what_is_not_what_it_says_is_refused(finished, tmp_path, change, why):
    copy = Store(tmp_path / "copies").publish(finished[0], tmp_path / "copies")
    whole = {name: (copy.path / name).read_bytes() for name in FILES}
    change(copy.path)
    there = [name for name in FILES if (copy.path / name).exists()]
    content = shards.lzma.compress(shards._tar(copy.path, there))
    ours = shards.Shards(tmp_path / "home")
    ours._add(copy.id + ".record.tar.xz", content)
    ours.add(finished[1])
    became = shards.take(tmp_path / "home", tmp_path / "records")
    assert became[copy.id].startswith("refused: ")
    assert why in became[copy.id]
    assert became[finished[1].id] == "taken", "the others come home"
    assert [path.name for path in (tmp_path / "records").iterdir()] == [finished[1].id]
    assert whole


def _edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_shard_and_a_damaged_one_are_told(home, tmp_path):
    with pytest.raises(RecordError, match=r"holds no records-1\.tar"):
        shards.take(tmp_path / "none", tmp_path / "records")
    shard = home / "records-1.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(RecordError, match=r"records-1\.tar is damaged.*copy it again"):
        shards.take(home, tmp_path / "records")
    with tarfile.open(shard, "w") as archive:
        archive.add(tmp_path, "folder", recursive=False)
    with pytest.raises(RecordError, match="damaged"):
        shards.take(home, tmp_path / "records")
