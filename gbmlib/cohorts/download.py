"""A task of the Medical Segmentation Decathlon, fetched from its public address: whole and verified, or not at all.

On the command line: ``python -m gbmlib download msd Task04_Hippocampus --to data``. A download that was interrupted
continues when it is asked for again. A task that is there is left alone.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

from filelock import FileLock
from tqdm import tqdm

#: Open data, hosted for everybody by Amazon Web Services.
ADDRESS = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
LICENCE = "CC-BY-SA 4.0, Medical Segmentation Decathlon (arXiv 1902.09063)"

#: Seconds without a byte until a server counts as stalled; attempts without a byte until it is given up, and seconds
#: between them.
TIMEOUT = 30
ATTEMPTS = 3
PAUSE = 2

#: Bytes written at a time; a connection that breaks loses less than that.
CHUNK = 2**16


@dataclass(frozen=True)
class Archive:
    """The facts on a task's archive: its MD5, about how large it is (bytes), and what it holds."""

    md5: str
    size: float
    holds: str


#: The seven tasks of the Decathlon's first phase. MD5s as in MONAI's DecathlonDataset; the server says the exact size.
TASKS = {
    "Task01_BrainTumour": Archive("240a19d752f0d9e9101544901065d872", 7.61e9, "gliomas, MR in four modalities"),
    "Task02_Heart": Archive("06ee59366e1e5124267b774dbd654057", 456e6, "left atrium, MR"),
    "Task03_Liver": Archive("a90ec6c4aa7f6a3d087205e23d4e6397", 28.9e9, "liver and tumours, CT"),
    "Task04_Hippocampus": Archive("9d24dba78a72977dbd1d2e110310f31b", 28.4e6, "hippocampus in two parts, MR"),
    "Task05_Prostate": Archive(
        "35138f08b1efaef89d7424d2bcc928db", 240e6, "prostate in two zones, MR in two modalities"
    ),
    "Task06_Lung": Archive("8afd997733c7fc0432f71255ba4e52dc", 9.16e9, "lung tumours, CT"),
    "Task07_Pancreas": Archive("4f7080cfca169fa8066d17ce6eb061e4", 12.3e9, "pancreas and tumours, CT"),
}


class DownloadError(RuntimeError):
    """A data set could not be fetched; the message says why and what to do."""


def decathlon(task: str, to: str | Path, address: str = ADDRESS, progress: bool = True) -> Path:
    """The folder of a task, ``to/TASK``; downloaded and unpacked into it unless it is there.

    An archive ``TASK.tar`` that lies in ``to`` already is verified and unpacked, and kept.

    Args:
        task: a name in :data:`TASKS`.
        to: the folder of data sets; made where it is missing.
        address: where the archive lies, without its name: the public address, or that of a mirror.
        progress: show progress bars, where the output is a terminal.

    Raises:
        DownloadError: no such task; too little room on the disk; no connection, no archive at the address; a checksum
            that differs; an archive that would write outside its folder, or holds something else.
    """
    if task not in TASKS:
        raise DownloadError(f"there is no task {task!r}; there are {', '.join(TASKS)}")
    if not hasattr(tarfile, "data_filter"):
        raise DownloadError("this Python cannot unpack archives safely yet; update it to 3.11.4 or later")
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{task}.lock"):  # of two processes that ask at once, one waits
        if is_there(task, folder):
            return folder / task
        by_hand, fetched = folder / f"{task}.tar", folder / f".{task}.tar.part"
        if by_hand.exists():
            _expect_room(by_hand.stat().st_size, folder, f"to unpack {by_hand}")
            _verify(by_hand, task, f"move it away, and it is downloaded from {address}")
            _unpack(by_hand, task, folder, progress)
        else:
            _download(f"{address.rstrip('/')}/{task}.tar", fetched, progress)
            try:
                _verify(fetched, task, "it was deleted; call again, or choose another --address if it happens again")
            except DownloadError:
                fetched.unlink()
                raise
            _unpack(fetched, task, folder, progress)
            fetched.unlink()
    return folder / task


def is_there(task: str, folder: str | Path) -> bool:
    """Whether a task lies in a folder of data sets.

    Raises:
        DownloadError: something else lies under its name.
    """
    place = Path(folder) / task
    if place.exists() and not (place / "dataset.json").is_file():
        raise DownloadError(f"{place} is there but holds no dataset.json; move it away, or choose another folder")
    return place.exists()


def _download(address: str, file: Path, progress: bool) -> None:
    """Fetch what a file still lacks, again and again while there is headway."""
    left, why = ATTEMPTS, None
    while left:
        had = _size(file)
        try:
            return _fetch_rest(address, file, progress)
        except HTTPError as error:
            if error.code == 416:  # nothing from here on: the file is whole, or foreign
                if error.headers.get("Content-Range", "").endswith(f"/{had}"):
                    return None
                file.unlink()
            elif 400 <= error.code < 500 and error.code not in (408, 429):
                raise DownloadError(
                    f"{address} answers {error.code} ({error.reason}): the archive is not there. Look for it "
                    f"at http://medicaldecathlon.com; give the address of a mirror by --address, or put the archive "
                    f"into {file.parent} yourself and call again"
                ) from error
            why = error
        except (OSError, http.client.HTTPException, ValueError) as error:  # of the connection, the address or the disk
            if getattr(error, "filename", None) or getattr(error, "errno", None) == errno.ENOSPC:
                raise DownloadError(f"{file} cannot be written ({error}); choose another folder") from error
            why = error
        left = ATTEMPTS if _size(file) > had else left - 1
        time.sleep(PAUSE if left else 0)
    raise DownloadError(
        f"{address} gave nothing in {ATTEMPTS} attempts ({why}). Check the connection (behind a proxy: the variable "
        f"HTTPS_PROXY) and call again: {amount(_size(file))} are here, and the download continues from there"
    )


def _fetch_rest(address: str, file: Path, progress: bool) -> None:
    """One request, for the bytes after those that are there; a server that cannot do that gives all anew."""
    had = _size(file)
    request = urllib.request.Request(address, headers={"Range": f"bytes={had}-"} if had else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {had}-")
        if answer.status == 206 and not resumed:
            raise DownloadError(f"{address} sends another part than it was asked for; choose another --address")
        start, rest = had if resumed else 0, int(answer.headers.get("Content-Length", 0))
        # The archive's files take no more room than the archive, and for a while both are there.
        _expect_room(rest + start + rest, file.parent, f"for the rest of {address} and its files")
        name, disable = address.rsplit("/", 1)[-1], None if progress else True
        bar = tqdm(desc=name, total=start + rest or None, initial=start, unit="B", unit_scale=True, disable=disable)
        with bar, file.open("r+b" if had else "wb") as out:
            out.truncate(start)
            out.seek(start)
            while piece := answer.read(CHUNK):
                out.write(piece)
                bar.update(len(piece))
    if _size(file) < start + rest:
        raise ConnectionError("the connection broke")


def _expect_room(needed: float, folder: Path, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{what}, {amount(needed)} are needed in {folder}, and {amount(free)} are free; make room, or choose "
            "another folder"
        )


def _verify(file: Path, task: str, advice: str) -> None:
    """Raises :class:`DownloadError`: the file is not the archive that was published."""
    with file.open("rb") as content:
        md5 = hashlib.file_digest(content, "md5").hexdigest()
    if md5 != TASKS[task].md5:
        raise DownloadError(
            f"{file} ({amount(_size(file))}) is not the published archive: its MD5 is {md5}, that of {task} "
            f"{TASKS[task].md5}; {advice}"
        )


def _unpack(file: Path, task: str, folder: Path, progress: bool) -> None:
    """Unpack aside, then give the task's folder its name in one step."""
    aside = folder / f".{task}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed
    try:
        with tarfile.open(file) as archive:
            members = tqdm(archive, "unpacking", unit=" files", leave=False, disable=None if progress else True)
            archive.extractall(aside, members, filter="data")
        if not (aside / task / "dataset.json").is_file():
            holds = sorted(child.name for child in aside.iterdir())
            raise DownloadError(f"{file} holds {holds[:8]}, not {task}/dataset.json; fetch it elsewhere (--address)")
        (aside / task).replace(folder / task)
    except tarfile.FilterError as error:
        raise DownloadError(
            f"{file} is not to be trusted: its member {error.tarinfo.name!r} points outside the folder or is no plain "
            "file. Nothing of it was kept; fetch it elsewhere (--address)"
        ) from error
    except tarfile.TarError as error:
        raise DownloadError(f"{file} is no archive that can be read ({error}); delete it and call again") from error
    except OSError as error:
        raise DownloadError(
            f"{file} cannot be unpacked into {folder} ({error}); make room, or choose another"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def amount(size: float) -> str:
    """Bytes as people say them (1 MB is 10^6 bytes)."""
    if size < 1e5:
        return f"{size:.0f} bytes"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
