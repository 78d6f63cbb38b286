"""Streams: motion JPEG over HTTP, as network cameras send it, from a server of this machine."""
import base64
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from centernet.errors import UserError
from tests.video_runs import Detector, read, run

LOGIN = "open:sesame"


class Brightness(Detector):
    """It finds a box as wide as the image is bright."""

    def rows(self, image):
        return np.array([[0, 0, image.mean(), 50, 0.5, 0]], np.float32)


class Camera(BaseHTTPRequestHandler):
    """Sends 12 pictures, or all until the other side has enough; picture number n has the grey value 10 n + 20."""

    def do_GET(self):
        wanted = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        if self.path == "/locked" and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        try:
            for number in range(10 ** 6 if self.path == "/endless" else 12):
                picture = np.full((120, 160, 3), min(255, 20 + 10 * number), np.uint8)
                data = cv2.imencode(".jpg", picture)[1].tobytes()
                self.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                                 % (len(data), data))
        except OSError:
            pass  # the other side has enough

    def log_message(self, *arguments):
        """Write nothing."""


@pytest.fixture(scope="module")
def camera():
    """The address of a running camera."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_each_picture_of_a_stream_is_detected_until_its_end(camera, tmp_path):
    lines, summary, pictures = read(tmp_path, run(f"http://{camera}/street", tmp_path, detector=Brightness()))
    assert (summary["frames"], summary["boxes"], summary["ended"]) == (12, 12, "end of the stream")
    assert [line["frame"] for line in lines] == list(range(12))
    assert np.allclose([line["detections"][0]["box"][2] for line in lines], np.arange(20, 140, 10), atol=1)
    seconds = [line["time"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert len(pictures) == 12


def test_an_endless_stream_stops_at_max_frames(camera, tmp_path):
    lines, summary, pictures = read(tmp_path, run(f"http://{camera}/endless", tmp_path, max_frames=20))
    assert len(lines) == len(pictures) == summary["frames"] == 20 and summary["ended"] == "max_frames"


def test_the_password_of_a_stream_is_used_and_written_nowhere(camera, tmp_path, caplog):
    caplog.set_level("INFO")
    _, summary, _ = read(tmp_path, run(f"http://{LOGIN}@{camera}/locked", tmp_path))
    assert summary["frames"] == 12
    written = caplog.text + "".join(path.name + path.read_text(errors="replace") for path in tmp_path.iterdir())
    assert "sesame" not in written


@pytest.mark.fault("a stream that cannot be reached", "a wrong password, and a port without a server",
                   "the stream is named without its password, with advice; status 2")
def test_a_stream_that_cannot_be_opened_is_named_without_its_password(camera, tmp_path, capfd):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # it does not listen
        for place in (f"{camera}/locked", f"127.0.0.1:{silent.getsockname()[1]}/street"):
            with pytest.raises(UserError, match="OpenCV cannot open this stream. Is the address right") as error:
                run(f"http://open:wrong@{place}", tmp_path)
            assert "wrong" not in str(error.value) and place in str(error.value)
    assert "wrong" not in capfd.readouterr().err  # FFmpeg writes its own lines
