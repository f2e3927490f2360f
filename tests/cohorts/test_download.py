"""Downloads against a server of the standard library on this machine: what it sent is counted byte by byte."""

import hashlib
import http.server
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from gbmlib.__main__ import main
from gbmlib.cohorts import download, open_cohort
from gbmlib.cohorts.download import CHUNK, Archive, DownloadError, decathlon

TASK = "Task04_Hippocampus"


class Server(http.server.ThreadingHTTPServer):
    """Gives one archive; ``sent`` lists, for each request, the first byte and how many were sent.

    ``cuts``: after so many bytes the connection breaks, a number for each of the first requests. ``stalls``: there it
    is kept open in silence instead. ``ranges``: whether parts can be had. ``status``: the answer to any request.
    """

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.stalls, self.ranges, self.status = content, [], False, True, None
        self.sent, self.paths, self.released = [], [], threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.content
        server.paths.append(self.path)
        if server.status:
            return self.send_error(server.status)
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if asked and server.ranges else 200)
        if asked and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start : start + server.cuts.pop(0)] if server.cuts else content[start:]
        self.wfile.write(part)
        self.wfile.flush()
        server.sent.append((start, len(part)))
        if server.stalls and start + len(part) < len(content):
            server.released.wait(60)

    def log_message(self, *_):
        pass


def packed(members):
    """An archive of ``{name: bytes}``, or of ready :class:`tarfile.TarInfo` without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def linking(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


#: What a task's archive holds, macOS's litter and a large file included.
GOOD = {
    f"{TASK}/dataset.json": b"{}",
    f"{TASK}/._dataset.json": b"litter",
    f"{TASK}/imagesTr/a.nii.gz": os.urandom(300_000),
}


@pytest.fixture
def serve(monkeypatch):
    """``serve(content)`` starts a server and publishes the content's checksum as that of the task."""
    servers = []

    def serve(content, md5=None):
        server = Server(content)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        known = Archive(md5 or hashlib.md5(content).hexdigest(), len(content), "a test")
        monkeypatch.setitem(download.TASKS, TASK, known)
        return server

    monkeypatch.setattr(download, "PAUSE", 0)
    yield serve
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


def left_in(folder):
    """What lies in a folder, the lock apart."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def assert_whole(folder, content=GOOD):
    assert left_in(folder) == [TASK]
    for name, wanted in content.items():
        assert (folder / name).read_bytes() == wanted


# ------------------------------------------------------------------------------------------------- what goes well


def test_a_task_is_there_whole_and_is_not_fetched_twice(serve, tmp_path):
    server = serve(packed(GOOD))
    folder = tmp_path / "new" / "data"
    assert decathlon(TASK, folder, server.address + "/") == folder / TASK
    assert_whole(folder)
    assert decathlon(TASK, folder, server.address) == folder / TASK
    assert server.sent == [(0, len(server.content))]
    assert server.paths == [f"/{TASK}.tar"]


def test_a_broken_connection_is_taken_up_where_it_broke(serve, tmp_path):
    server = serve(packed(GOOD))
    server.cuts = [2 * CHUNK, CHUNK + 5]
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    rest = len(server.content) - 3 * CHUNK - 5
    assert server.sent == [(0, 2 * CHUNK), (2 * CHUNK, CHUNK + 5), (3 * CHUNK + 5, rest)]


def test_headway_renews_the_attempts(serve, tmp_path):
    server = serve(packed(GOOD))
    server.cuts = [CHUNK] * (download.ATTEMPTS + 1)
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    assert sum(count for _, count in server.sent) == len(server.content)


def test_a_killed_download_continues_in_another_process(serve, tmp_path):
    """The first process is killed for good while the server is silent; the second gets the rest, and only that."""
    server = serve(packed(GOOD))
    server.cuts, server.stalls = [CHUNK], True
    part = tmp_path / f".{TASK}.tar.part"
    code = f"from gbmlib.cohorts import download; download.decathlon({TASK!r}, {str(tmp_path)!r}, {server.address!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            end = time.monotonic() + 60
            while (not part.exists() or part.stat().st_size < CHUNK) and time.monotonic() < end:
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
    assert left_in(tmp_path) == [part.name]
    server.released.set()
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    assert server.sent == [(0, CHUNK), (CHUNK, len(server.content) - CHUNK)]


def test_a_server_without_parts_gives_all_anew(serve, tmp_path):
    server = serve(packed(GOOD))
    server.ranges, server.cuts = False, [CHUNK]
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    assert server.sent == [(0, CHUNK), (0, len(server.content))]


def test_what_was_fetched_whole_is_not_fetched_again(serve, tmp_path):
    """As a process leaves it that was killed while unpacking."""
    server = serve(packed(GOOD))
    (tmp_path / f".{TASK}.tar.part").write_bytes(server.content)
    (tmp_path / f".{TASK}.unpacking" / TASK).mkdir(parents=True)
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    assert server.sent == []


def test_a_part_that_is_longer_than_the_archive_is_thrown_away(serve, tmp_path):
    server = serve(packed(GOOD))
    (tmp_path / f".{TASK}.tar.part").write_bytes(b"x" * (len(server.content) + 1))
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)
    assert server.sent == [(0, len(server.content))]


def test_an_archive_put_there_by_hand_needs_no_network_and_is_kept(serve, tmp_path):
    server = serve(packed(GOOD))
    (tmp_path / f"{TASK}.tar").write_bytes(server.content)
    decathlon(TASK, tmp_path, "http://127.0.0.1:9/nowhere")
    assert left_in(tmp_path) == [TASK, f"{TASK}.tar"]
    assert server.paths == []


def test_of_two_that_ask_at_once_one_downloads(serve, tmp_path):
    server = serve(packed(GOOD))
    threads = [threading.Thread(target=decathlon, args=(TASK, tmp_path, server.address)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_whole(tmp_path)
    assert len(server.sent) == 1


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_wrong_checksum_leaves_nothing_and_says_both(serve, tmp_path):
    server = serve(packed(GOOD), md5="0" * 32)
    with pytest.raises(DownloadError, match=r"MD5 is [0-9a-f]{32}, that of Task04_Hippocampus 0{32}; it was deleted"):
        decathlon(TASK, tmp_path, server.address)
    assert left_in(tmp_path) == []


def test_a_wrong_archive_put_there_by_hand_is_named_and_left(serve, tmp_path):
    serve(packed(GOOD), md5="0" * 32)
    (tmp_path / f"{TASK}.tar").write_bytes(b"something else")
    with pytest.raises(DownloadError, match=rf"{TASK}.tar \(14 bytes\) is not the published archive.*move it away"):
        decathlon(TASK, tmp_path)
    assert left_in(tmp_path) == [f"{TASK}.tar"]


@pytest.mark.parametrize(
    ("name", "hostile"),
    [
        ("../outside.txt", b"x"),
        (f"{TASK}/../../outside.txt", b"x"),
        (f"{TASK}/link", linking(f"{TASK}/link", "/etc/passwd", tarfile.SYMTYPE)),
        (f"{TASK}/link", linking(f"{TASK}/link", "../../outside.txt", tarfile.SYMTYPE)),
        (f"{TASK}/hard", linking(f"{TASK}/hard", "/etc/passwd", tarfile.LNKTYPE)),
        (f"{TASK}/device", linking(f"{TASK}/device", "", tarfile.CHRTYPE)),
    ],
    ids=["up", "up inside", "absolute link", "link up", "hard link", "device"],
)
def test_a_hostile_archive_is_refused_by_its_member(serve, tmp_path, name, hostile):
    server = serve(packed({**GOOD, name: hostile}))
    folder = tmp_path / "data"
    with pytest.raises(DownloadError, match="not to be trusted") as caught:
        decathlon(TASK, folder, server.address)
    assert repr(name) in str(caught.value)
    assert left_in(tmp_path) == ["data"]
    assert not (folder / TASK).exists()
    assert not list(tmp_path.rglob("outside.txt"))


def test_an_absolute_name_stays_inside(serve, tmp_path):
    """tarfile drops the leading slash, so that such a file lands in the temporary folder, and goes with it."""
    server = serve(packed({**GOOD, f"{tmp_path}/outside.txt": b"x"}))
    decathlon(TASK, tmp_path / "data", server.address)
    assert_whole(tmp_path / "data")
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (packed({"Other/a": b"x"}), r"holds \['Other'\], not Task04_Hippocampus/dataset.json"),
        (b"x" * 2000, "no archive"),
    ],
    ids=["another task", "no archive"],
)
def test_an_archive_of_something_else_is_refused(serve, tmp_path, content, wrong):
    server = serve(content)
    with pytest.raises(DownloadError, match=wrong):
        decathlon(TASK, tmp_path, server.address)
    assert not (tmp_path / TASK).exists()


def test_too_little_room_is_said_before_anything_is_written(serve, tmp_path, monkeypatch):
    server = serve(packed(GOOD))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 500_000))
    with pytest.raises(DownloadError, match=r"0\.\d+ MB are needed in .*, and 0\.5 MB are free; make room"):
        decathlon(TASK, tmp_path, server.address)
    assert download._size(tmp_path / f".{TASK}.tar.part") == 0
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(0, 0, 2 * len(server.content)))
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)


def test_a_stalled_server_times_out_and_what_came_is_kept(serve, tmp_path, monkeypatch):
    server = serve(packed(GOOD))
    server.cuts, server.stalls = [CHUNK, 0, 0, 0], True
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with pytest.raises(DownloadError, match=r"gave nothing in 3 attempts .*65536 bytes are here, and .* continues"):
        decathlon(TASK, tmp_path, server.address)
    assert server.sent == [(0, CHUNK), (CHUNK, 0), (CHUNK, 0), (CHUNK, 0)]
    decathlon(TASK, tmp_path, server.address)
    assert_whole(tmp_path)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_address_that_is_gone_is_not_asked_again(serve, tmp_path, status):
    server = serve(packed(GOOD))
    server.status = status
    with pytest.raises(DownloadError, match=rf"answers {status} .*medicaldecathlon.com.*--address"):
        decathlon(TASK, tmp_path, server.address)
    assert len(server.paths) == 1


def test_a_server_in_trouble_is_asked_again(serve, tmp_path):
    server = serve(packed(GOOD))
    server.status = 503
    with pytest.raises(DownloadError, match=r"gave nothing in 3 attempts .*503"):
        decathlon(TASK, tmp_path, server.address)
    assert len(server.paths) == download.ATTEMPTS


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid", "nonsense"])
def test_no_connection_says_what_to_do(serve, tmp_path, address):
    serve(packed(GOOD))
    with pytest.raises(DownloadError, match=r"Check the connection .* and call again"):
        decathlon(TASK, tmp_path, address)


def test_something_else_under_the_name_is_left_alone(serve, tmp_path):
    server = serve(packed(GOOD))
    (tmp_path / TASK).mkdir()
    with pytest.raises(DownloadError, match=r"holds no dataset\.json; move it away"):
        decathlon(TASK, tmp_path, server.address)
    assert server.paths == []


def test_an_unknown_task_names_those_there_are(tmp_path):
    with pytest.raises(
        DownloadError, match=r"no task 'Task11_Spleen'; there are Task01_BrainTumour, .*Task07_Pancreas"
    ):
        decathlon("Task11_Spleen", tmp_path)


# ---------------------------------------------------------------------------------------------------- command line


def test_the_command_downloads_and_says_how_to_check(serve, tmp_path, capsys):
    server = serve(packed(GOOD))
    asked = ["msd", TASK, "--to", str(tmp_path), "--address", server.address]
    assert main(["download", *asked]) == 0
    said = capsys.readouterr().out
    assert "CC-BY-SA 4.0" in said
    assert f"python -m gbmlib check msd:{tmp_path / TASK}" in said
    assert main(["download", *asked]) == 0
    assert "is there already; nothing to do" in capsys.readouterr().out


def test_the_command_lists_the_tasks(capsys):
    assert main(["download", "msd", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(download.TASKS) == 7
    assert lines[0].split()[:3] == ["Task01_BrainTumour", "7.6", "GB"]


def test_the_command_fails_in_one_line(tmp_path, capsys):
    assert main(["download", "msd", "Task99", "--to", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: there is no task 'Task99'")
    with pytest.raises(SystemExit):
        main(["download", "msd", TASK])
    assert "--list says what there is" in capsys.readouterr().err


def test_an_interrupted_command_says_that_it_continues(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "decathlon", interrupted)
    assert main(["download", "msd", TASK, "--to", str(tmp_path)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- what is published


def test_addresses_and_checksums_are_those_of_monai():
    """Read from its source, since importing MONAI takes as long as all the rest here."""
    monai = importlib.util.find_spec("monai") or pytest.skip("needs MONAI, of the extra test")
    source = (Path(monai.submodule_search_locations[0]) / "apps" / "datasets.py").read_text()
    for task, archive in download.TASKS.items():
        assert f'"{task}": "{archive.md5}"' in source
        assert f'"{task}": "{download.ADDRESS}/{task}.tar"' in source


def test_what_was_downloaded_opens_as_a_cohort(serve, tmp_path, hippocampus_folder):
    """A real archive in the Decathlon's layout, cut down to its first cases."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(hippocampus_folder, arcname=TASK)
    server = serve(out.getvalue())
    server.cuts = [1_000_000]
    assert open_cohort(f"msd:{decathlon(TASK, tmp_path, server.address)}").name == "msd-task04-hippocampus-260"
