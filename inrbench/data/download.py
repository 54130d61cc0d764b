"""Downloads that resume, fall back over mirrors and are checked before they count.

A file grows as ``NAME.part`` beside its place and is renamed when its size and its published checksum agree. What a
cut-off leaves is taken up again by the next try, at the same mirror or at another one; bytes that turn out wrong are
thrown away.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inrbench.data.official import Checksum, OfficialFile
from inrbench.data.progress import Progress, progress
from inrbench.errors import BadData

if TYPE_CHECKING:
    import httpx

__all__ = ["download", "prepare_folder"]

#: Seconds without an answer or a byte after which a mirror counts as silent.
TIMEOUT_S = 30.0
#: Tries at one mirror; the second and third only while the last one brought something.
TRIES = 3
#: Free space that is left alone.
RESERVE_BYTES = 32 << 20


class _Failed(Exception):
    """One try failed; ``again`` says whether the same mirror deserves another."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def prepare_folder(folder: Path) -> None:
    """Create ``folder`` and make sure that it can be written. Raises BadData that says what to do where it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadData(
            f"cannot write the data folder {folder} ({error.strerror or error}); "
            f"name another one with --data-root DIR or the environment variable INRBENCH_DATA"
        ) from None


def download(file: OfficialFile, target: Path, *, unpacked_bytes: int = 0) -> None:
    """Download ``file`` to ``target``, from the first of its mirrors that delivers the published bytes.

    ``unpacked_bytes`` of disk space are wanted on top of the download's own. Raises BadData where the folder cannot
    be written, the disk is too full, or no mirror delivers; then the message says what each of them did.
    """
    if not file.urls:
        raise BadData(f"{file.path} has no mirror to be downloaded from; put it at {target}")
    prepare_folder(target.parent)
    part = target.with_name(target.name + ".part")
    with _alone(target):
        if target.exists():  # another process was faster
            return
        _check_space(file, part, unpacked_bytes)
        answers = []
        with progress(target.name, file.size_bytes) as shown, _client() as client:
            for url in file.urls:
                try:
                    _from_mirror(client, url, file, part, shown)
                except _Failed as failed:
                    answers.append(f"{url}: {failed}")
                    shown.note(f"{url}: {failed}")
                else:
                    part.replace(target)
                    return
    kept = f" ({part.stat().st_size:,} bytes are kept and will be resumed)" if part.exists() else ""
    raise BadData(f"cannot download {file.path}{kept}: " + "; ".join(answers))


def _from_mirror(client: httpx.Client, url: str, file: OfficialFile, part: Path, shown: Progress) -> None:
    for attempt in range(1, TRIES + 1):
        start = part.stat().st_size if part.exists() else 0
        try:
            _transfer(client, url, file, part, shown)
            _verify(part, file.size_bytes, file.checksums, resumed=start > 0)
        except _Failed as failed:
            if not failed.again or attempt == TRIES:
                raise
            shown.note(f"{url}: {failed}; trying again")
        else:
            return


def _transfer(client: httpx.Client, url: str, file: OfficialFile, part: Path, shown: Progress) -> None:
    import httpx

    have = part.stat().st_size if part.exists() else 0
    if file.size_bytes is not None and have == file.size_bytes:
        return
    if file.size_bytes is not None and have > file.size_bytes:
        part.unlink()
        have = 0
    # an encoding would be undone or not depending on the server; a range is one of the stored bytes
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    received = have
    try:
        with client.stream("GET", url, headers=headers) as response:
            received = have = _resume_point(response, have, part)
            shown.at(received)
            with part.open("ab") as stream:
                for chunk in response.iter_raw():
                    stream.write(chunk)
                    received += len(chunk)
                    shown.at(received)
                    if file.size_bytes is not None and received > file.size_bytes:
                        break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise _Failed(
            f"cut off after {received:,} bytes ({reason})" if received else reason, again=received > have
        ) from None
    except OSError as error:
        raise BadData(f"cannot write {part} ({error.strerror or error}); what is there will be resumed") from None
    if file.size_bytes is not None and received > file.size_bytes:
        part.unlink()
        raise _Failed(f"more than the published {file.size_bytes:,} bytes")


def _resume_point(response: httpx.Response, have: int, part: Path) -> int:
    """From which byte on the response continues ``part``; 0, with the part emptied, where it starts anew."""
    if response.status_code == 206 and have:
        unit, _, span = response.headers.get("Content-Range", "").partition(" ")
        if unit == "bytes" and span.partition("-")[0] == str(have):
            return have
        part.unlink()
        raise _Failed("another range than the one asked for", again=True)
    if response.status_code == 416:
        part.unlink()
        raise _Failed("nothing at the place where the last download stopped", again=True)
    if response.status_code != 200:
        raise _Failed(f"HTTP {response.status_code} {response.reason_phrase}".rstrip())
    part.unlink(missing_ok=True)  # the server ignored the range, or none was asked for
    return 0


def _verify(part: Path, size_bytes: int | None, checksums: Sequence[Checksum], *, resumed: bool) -> None:
    """Raise _Failed and delete ``part`` unless it is what was published; a resumed one deserves a fresh start."""
    size = part.stat().st_size
    reason = ""
    if size_bytes is not None and size != size_bytes:
        reason = f"{size:,} bytes instead of the published {size_bytes:,}"
    for checksum in checksums:
        with part.open("rb") as stream:
            new = hashlib.md5(usedforsecurity=False) if checksum.algorithm == "md5" else hashlib.sha256()
            while chunk := stream.read(1 << 20):
                new.update(chunk)
        if new.hexdigest() != checksum.digest and not reason:
            reason = f"wrong bytes, {checksum.algorithm} published {checksum.digest}, received {new.hexdigest()}"
    if reason:
        part.unlink()
        raise _Failed(reason, again=resumed)


def _check_space(file: OfficialFile, part: Path, unpacked_bytes: int) -> None:
    if file.size_bytes is None:
        return
    have = part.stat().st_size if part.exists() else 0
    needed = file.size_bytes - have + unpacked_bytes
    free = shutil.disk_usage(part.parent).free
    if free < needed + RESERVE_BYTES:
        raise BadData(
            f"{file.path} needs {needed / 1e6:,.0f} MB and {part.parent} has {free / 1e6:,.0f} MB free; "
            f"make room or name another folder with --data-root DIR or the environment variable INRBENCH_DATA"
        )


def _client() -> httpx.Client:
    import httpx

    return httpx.Client(
        follow_redirects=True,
        timeout=httpx.Timeout(TIMEOUT_S),
        headers={"User-Agent": "inrbench"},
        limits=httpx.Limits(max_keepalive_connections=0),  # a server may close what is kept open without a word
    )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Wait until no other process downloads ``target``."""
    try:
        import fcntl
    except ImportError:  # not POSIX: two processes at once would fail at the checksum, not pass it
        yield
        return
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)
