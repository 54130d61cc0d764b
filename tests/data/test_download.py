"""The downloader, against real servers on the loopback interface."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from inrbench.data.download import download
from inrbench.data.official import OfficialFile, md5, sha256
from inrbench.errors import BadData

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Mirrors that misbehave in turn: request number i is answered by ``answers[min(i, last)]``."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                number = len(outer.ranges)
                outer.ranges.append(self.headers.get("Range"))
                outer.answers[min(number, len(outer.answers) - 1)](self)
                self.close_connection = True

            def end_headers(self) -> None:
                self.send_header("Connection", "close")  # as it does: a client must not ask again on this connection
                super().end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def whole(handler: BaseHTTPRequestHandler, content: bytes = CONTENT) -> None:
    """Answers ranges as asked."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:])


def cut_off_at(size: int, content: bytes = CONTENT) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:size])

    return answer


def ignoring_ranges(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(CONTENT)


def other_range(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(CONTENT)


def status(code: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def wrong_bytes(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, bytes(len(CONTENT)))


def official(*urls: str) -> OfficialFile:
    return OfficialFile(
        path="file.bin",
        source="this test",
        urls=urls,
        checksums=(md5(hashlib.md5(CONTENT).hexdigest()), sha256(hashlib.sha256(CONTENT).hexdigest())),
        size_bytes=len(CONTENT),
    )


def test_a_download_appears_whole_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    server.answers = [whole]
    download(official(f"{server.url}/a"), tmp_path / "new" / "file.bin")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT


def test_a_download_that_is_cut_off_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.answers = [cut_off_at(100_000), whole]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_what_a_killed_process_left_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:250_000])
    server.answers = [whole]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == ["bytes=250000-"]


def test_a_complete_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    server.answers = [status(500)]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert server.ranges == []


@pytest.mark.parametrize("answer", [ignoring_ranges, other_range, status(416)])
def test_a_server_that_does_not_honour_the_range_is_read_from_the_start(
    server: Server, tmp_path: Path, answer: Answer
) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    server.answers = [answer, whole]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_with_wrong_bytes_is_thrown_away_and_the_same_mirror_tried_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(bytes(1000))
    server.answers = [whole]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("answer", [status(404), wrong_bytes, cut_off_at(0)])
def test_the_second_mirror_is_tried_where_the_first_fails(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [answer, whole]
    download(official(f"{server.url}/first", f"{server.url}/second"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_the_error_says_what_every_mirror_did(server: Server, tmp_path: Path) -> None:
    server.answers = [status(404), wrong_bytes]
    with pytest.raises(BadData) as caught:
        download(official(f"{server.url}/first", f"{server.url}/second", "http://127.0.0.1:1/x"), tmp_path / "file.bin")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{server.url}/first: HTTP 404 Not Found" in message
    wrong = hashlib.md5(bytes(len(CONTENT))).hexdigest()
    assert f"wrong bytes, md5 published {hashlib.md5(CONTENT).hexdigest()}, received {wrong}" in message
    assert "http://127.0.0.1:1/x: " in message
    assert not (tmp_path / "file.bin").exists()
    assert not (tmp_path / "file.bin.part").exists()


def test_what_can_be_resumed_is_kept_when_all_mirrors_fail(server: Server, tmp_path: Path) -> None:
    server.answers = [cut_off_at(70_000), status(503)]
    with pytest.raises(BadData, match=r"70,000 bytes are kept and will be resumed.*HTTP 503"):
        download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:70_000]


def test_a_page_in_place_of_the_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: whole(handler, b"<html>log in first</html>")]
    with pytest.raises(BadData, match="25 bytes instead of the published 300,000"):
        download(official(f"{server.url}/a"), tmp_path / "file.bin")


def test_a_server_that_never_ends_is_stopped_at_the_published_size(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: whole(handler, CONTENT + bytes(5_000_000))]
    with pytest.raises(BadData, match="more than the published 300,000 bytes"):
        download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert not (tmp_path / "file.bin.part").exists()


def test_a_folder_that_cannot_be_written_is_named_before_the_first_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(BadData, match=r"cannot write the data folder .*file/below.*--data-root DIR.*INRBENCH_DATA"):
        download(official(f"{server.url}/a"), tmp_path / "file" / "below" / "file.bin")
    assert server.ranges == []


def test_too_little_disk_space_is_found_before_the_first_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(BadData, match=r"file.bin needs 0 MB and .* has 0 MB free; make room or name another folder"):
        download(official(f"{server.url}/a"), tmp_path / "file.bin")
    assert server.ranges == []


def test_progress_is_plain_lines_where_there_is_no_terminal(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [whole]
    download(official(f"{server.url}/a"), tmp_path / "file.bin")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "downloading file.bin (0.3 MB)"
    assert lines[-1] == "file.bin: 100 %"
    assert len(lines) <= 5


def test_a_file_without_mirrors_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"file.bin has no mirror to be downloaded from; put it at .*file.bin"):
        download(official(), tmp_path / "file.bin")


def test_a_checksum_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="'abc' is no md5: allowed are 32 lower-case hex digits"):
        md5("abc")
