"""Detectors that are stored as a SavedModel."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.evaluate_detector import evaluate_boxed, false_alarms
from core.face import Pixels
from core.faceless import cut
from core.faceless.drawing import drawn
from core.framing import Framing, crop
from core.models import SHIPPED, ModelError, load_detector
from core.models.detector import SavedModelDetector, faces_of, letterboxed
from core.models.first_look import look_first
from core.models.tensorflow_runtime import Module, saved_model_pb2, tf
from core.train.parts import split
from core.voc import read_folder
from tests import shared_data

RED = (255, 0, 0)


def save_red_finder(folder: Path) -> None:
    """A SavedModel with the signature of the Object Detection API that boxes what is red."""

    def look(input_tensor):
        red = (input_tensor[..., 0] > 128) & (input_tensor[..., 1] < 128)
        rows = tf.cast(tf.reduce_any(red, axis=2), tf.float32)
        columns = tf.cast(tf.reduce_any(red, axis=1), tf.float32)
        boxes = []
        for line in (rows, columns):
            count = tf.shape(line)[1]
            low = tf.argmax(line, axis=1, output_type=tf.int32)
            high = count - tf.argmax(tf.reverse(line, [1]), axis=1, output_type=tf.int32)
            boxes.append([low / count, high / count])
        (top, bottom), (left, right) = boxes
        box = tf.cast(tf.stack([top, left, bottom, right], -1)[:, None], tf.float32)
        n = tf.shape(input_tensor)[0]
        # The second row lies beyond num_detections and must never be read.
        beyond = tf.repeat(tf.constant([[[0.0, 0.0, 0.5, 0.5]]]), n, 0)
        return {
            "detection_boxes": tf.concat([box, beyond], 1),
            "detection_scores": tf.fill([n, 2], 0.75),
            "detection_classes": tf.ones([n, 2]),
            "num_detections": tf.ones([n]),
        }

    entering = tf.TensorSpec([None, None, None, 3], tf.uint8, name="input_tensor")
    signature = tf.function(look, input_signature=[entering])
    tf.saved_model.save(
        Module(), str(folder / "saved_model"), signatures={"serving_default": signature}
    )
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "saved_model").rglob("*")
        if path.is_file()
    }
    (folder / "detector.json").write_text(
        json.dumps({"threshold": 0.5, "longest": 128, "files": files})
    )


@pytest.fixture(scope="module")
def red_finder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("red-finder")
    save_red_finder(folder)
    return folder


@pytest.fixture(scope="module")
def red_finder(red_finder_folder: Path) -> SavedModelDetector:
    return SavedModelDetector.load(red_finder_folder)


def picture(height: int, width: int, box: tuple[int, int, int, int]) -> Pixels:
    pixels = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = RED
    return pixels


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (100, 300, (200, 20, 260, 50)),  # wide, right half: swapped axes would leave the picture
        (300, 100, (20, 200, 50, 260)),  # tall
        (64, 128, (8, 8, 24, 40)),  # exactly what the network wants to see
        (1000, 1500, (900, 100, 1200, 700)),  # to be shrunk
        (1403, 1027, (600, 300, 1000, 1380)),  # no multiple of what it is shrunk by
        (40, 30, (3, 10, 21, 31)),  # to be enlarged
    ],
)
def test_boxes_are_in_pixels_of_the_picture_x_before_y(red_finder, height, width, box) -> None:
    (faces,) = red_finder.detect([picture(height, width, box)])

    assert len(faces) == 1
    np.testing.assert_allclose(faces[0].box, box, atol=1.5 * max(height, width) / 128)
    assert faces[0].score == pytest.approx(0.75)


def test_the_crop_of_a_found_face_shows_the_face(red_finder) -> None:
    # The fault this guards against: crops cut with x and y swapped show the background.
    pixels = picture(200, 400, (300, 40, 360, 100))
    (faces,) = red_finder.detect([pixels])

    face = crop(pixels, Framing(0.0).square(faces[0].box))

    assert (face == RED).all(axis=-1).mean() > 0.85


def test_pictures_of_different_sizes_in_one_call_keep_their_order(red_finder) -> None:
    boxes = [(200, 20, 260, 50), (20, 200, 50, 260), (10, 20, 30, 60), (220, 10, 290, 90)]
    sizes = [(100, 300), (300, 100), (90, 90), (100, 300)]
    images = [picture(*size, box) for size, box in zip(sizes, boxes, strict=True)]

    together = red_finder.detect(images)

    assert together == [red_finder.detect([image])[0] for image in images]
    for faces, box in zip(together, boxes, strict=True):
        np.testing.assert_allclose(faces[0].box, box, atol=4)


def test_nothing_to_look_at_gives_nothing(red_finder) -> None:
    assert red_finder.detect([]) == []


def test_many_threads_get_the_same_answers_as_one(red_finder) -> None:
    images = [picture(100, 150, (5 * i, 10, 5 * i + 30, 60)) for i in range(20)]
    alone = [red_finder.detect([image])[0] for image in images]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: red_finder.detect([image])[0], images))

    assert together == alone


def test_a_folder_of_ones_own_is_loaded_by_its_path(red_finder, red_finder_folder) -> None:
    detector = load_detector(str(red_finder_folder))

    assert detector.sha256 == red_finder.sha256


def test_a_detector_that_there_is_not_is_named() -> None:
    with pytest.raises(ModelError, match="no detector named 'nobody'"):
        load_detector("nobody")


def test_faces_are_sorted_cut_at_the_edge_and_worth_passing_on() -> None:
    boxes = np.array(
        [
            [10, 10, 20, 20],
            [-5, 30, 20, 60],  # reaches over the left and the lower edge
            [0, 0, 9, 9],  # below the least score
            [120, 10, 140, 30],  # outside
        ],
        np.float32,
    )
    faces = faces_of(boxes, np.array([0.3, 0.8, 0.009, 0.9], np.float32), height=50, width=100)

    assert [face.box for face in faces] == [(0, 30, 20, 50), (10, 10, 20, 20)]
    assert [face.score for face in faces] == [pytest.approx(0.8), pytest.approx(0.3)]


def test_a_face_of_which_a_landmark_is_missing_has_none_and_no_score_is_above_one() -> None:
    """Some detectors write not a number for a point, and 1.0000001 for what they are sure of."""
    boxes = np.array([[10, 10, 20, 20], [30, 10, 40, 20]], np.float32)
    points = np.array([[(x, 12), (x + 4, 12), (x, 15), (x, 18), (x, 19)] for x in (12, 32)])
    points = points.astype(np.float32)
    points[0, 2, 1] = np.nan
    scores = np.array([1.2, 0.7], np.float32)
    sure, other = faces_of(boxes, scores, height=50, width=100, points=points)
    assert (sure.score, sure.points) == (1.0, None)
    assert other.points == tuple(map(tuple, points[1].tolist()))


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (720, 480), (31, 33)])
def test_letterboxed_sides_are_multiples_of_32(size) -> None:
    pixels, scale = letterboxed(np.zeros((*size, 3), np.uint8), 128)

    assert pixels.shape[0] % 32 == pixels.shape[1] % 32 == 0
    assert max(pixels.shape[:2]) == 128
    assert scale[0] == pytest.approx(max(1, round(size[1] * 128 / max(size))) / size[1])


def test_what_lies_beyond_a_picture_is_the_grey_that_networks_are_trained_with() -> None:
    pixels, _ = letterboxed(np.zeros((40, 128, 3), np.uint8), 128)
    assert (pixels[:40] == 0).all()
    assert (pixels[40:] == 114).all()


@pytest.mark.parametrize("size", [(720, 720), (1403, 1027), (959, 640), (2000, 3), (200, 150)])
def test_letterboxed_pictures_show_what_they_showed(size) -> None:
    """An edge between black and white far down lies where the scale says."""
    pixels = np.zeros((*size, 3), np.uint8)
    edge = size[0] * 9 // 10
    pixels[edge:] = 255
    small, scale = letterboxed(pixels, 320)
    shown = small[: int(size[0] * scale[1]), 0, 0].astype(float)
    assert (255 - shown).sum() / 255 == pytest.approx(edge * scale[1], abs=0.3)


def test_a_detector_that_answers_for_its_first_picture_alone_is_named(tmp_path: Path) -> None:
    def look(pixels):
        return {
            "detection_boxes": tf.constant([[[0.0, 0.0, 0.5, 0.5]]]),
            "detection_scores": tf.constant([[0.9]]),
            "num_detections": tf.constant([1.0]),
        }

    entering = tf.TensorSpec([None, None, None, 3], tf.uint8)
    signature = tf.function(look, input_signature=[entering])
    tf.saved_model.save(Module(), str(tmp_path), signatures={"serving_default": signature})
    detector = load_detector(str(tmp_path))
    with pytest.raises(ModelError, match="does not answer for each of 2 pictures; export it"):
        look_first(detector)


class TestDamage:
    """What does not belong together is refused with a sentence, not loaded."""

    @pytest.fixture
    def folder(self, red_finder_folder: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(red_finder_folder, tmp_path / "detector"))

    def test_changed_weights(self, folder: Path) -> None:
        path = folder / "saved_model" / "saved_model.pb"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        with pytest.raises(ModelError, match="damaged or was replaced"):
            SavedModelDetector.load(folder)

    def test_missing_weights(self, folder: Path) -> None:
        (folder / "saved_model" / "saved_model.pb").unlink()
        with pytest.raises(ModelError, match="is missing"):
            SavedModelDetector.load(folder)

    @pytest.mark.parametrize(
        "name",
        ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
    )
    def test_weights_that_are_not_listed(self, folder: Path, name: str) -> None:
        description = json.loads((folder / "detector.json").read_text())
        del description["files"][f"saved_model/{name}"]
        (folder / "detector.json").write_text(json.dumps(description))
        with pytest.raises(ModelError, match=f"not saved_model/{name}, which .*; list them all"):
            SavedModelDetector.load(folder)

    def test_missing_description(self, folder: Path) -> None:
        (folder / "detector.json").unlink()
        with pytest.raises(ModelError, match=r"no readable detector\.json"):
            SavedModelDetector.load(folder)

    @pytest.mark.parametrize("text", ["", "{}", '{"threshold": 2, "longest": 128, "files": {}}'])
    def test_description_that_describes_nothing(self, folder: Path, text: str) -> None:
        (folder / "detector.json").write_text(text)
        with pytest.raises(ModelError, match="does not describe a detector"):
            SavedModelDetector.load(folder)

    def test_another_models_weights_have_another_identity(
        self, folder: Path, red_finder: SavedModelDetector
    ) -> None:
        description = json.loads((folder / "detector.json").read_text())
        path = folder / "saved_model" / "fingerprint.pb"
        path.write_bytes(b"\0")
        description["files"]["saved_model/fingerprint.pb"] = hashlib.sha256(b"\0").hexdigest()
        (folder / "detector.json").write_text(json.dumps(description))

        other = SavedModelDetector.load(folder)

        assert len(other.sha256) == 64
        assert other.sha256 != red_finder.sha256


def save_exported(folder: Path, frame: list[int | None], **further: object) -> None:
    """A SavedModel as the Object Detection API exports it: no description, one picture at a time.

    It boxes the upper left quarter as class 3 and the lower right one as class 1, whatever it
    sees, with five points each in the middle of its box and a step from it.
    """

    def look(pixels):
        count = tf.shape(pixels)[0]
        boxes = tf.constant([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]])
        middles = tf.constant([[[0.25, 0.25], [0.75, 0.75]]])
        steps = tf.constant([[0.0, 0.0], [0.0, 0.1], [0.1, 0.0], [0.1, 0.1], [0.2, 0.0]])
        found = {
            "detection_boxes": tf.repeat(boxes, count, 0),
            "detection_scores": tf.repeat(tf.constant([[0.9, 0.6]]), count, 0),
            "detection_classes": tf.repeat(tf.constant([[3.0, 1.0]]), count, 0),
            "num_detections": tf.fill([count], 2.0),
            "detection_keypoints": tf.repeat(middles[:, :, None] + steps, count, 0),
        }
        found |= further.get("given", {})
        return {key: value for key, value in found.items() if key not in further.get("without", ())}

    kind = further.get("kind", tf.uint8)
    entering = tf.TensorSpec([1, *frame, 3], kind, name="inputs")
    signature = tf.function(look, input_signature=[entering])
    module = further.get("module", Module())
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": signature}
    )


def written(path: Path) -> tf.Operation:
    """An operation that writes a file, as every SavedModel has one."""
    return tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)]
    )


class TestExported:
    """Detectors of other people, as the Object Detection API exports them."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("exported")
        save_exported(folder, [None, None])
        return folder

    @pytest.mark.parametrize("where", ["", "saved_model"])
    @pytest.mark.parametrize("kind", ["", "saved-model:"])
    def test_the_folder_is_all_that_is_needed(self, folder: Path, where: str, kind: str) -> None:
        detector = load_detector(f"{kind}{folder / where}")
        assert detector.threshold == 0.5
        found = detector.detect([np.zeros((100, 200, 3), np.uint8)] * 3)
        assert len(found) == 3
        first, second = found[0]
        np.testing.assert_allclose(first.box, (0, 0, 100, 50), atol=1)
        np.testing.assert_allclose(second.box, (100, 50, 200, 100), atol=1)

    def test_five_keypoints_are_landmarks_x_before_y(self, folder: Path) -> None:
        (faces,) = load_detector(str(folder)).detect([np.zeros((100, 200, 3), np.uint8)])
        assert faces[0].points is not None
        expected = [(50, 25), (70, 25), (50, 35), (70, 35), (50, 45)]
        np.testing.assert_allclose(faces[0].points, expected, atol=1)

    def test_one_size_alone_is_given_that_size(self, tmp_path: Path) -> None:
        save_exported(tmp_path, [96, 160])
        (faces,) = load_detector(str(tmp_path)).detect([np.zeros((300, 200, 3), np.uint8)])
        # 300 pixels of height become 96: the frame of 160 reaches 300 pixels beyond the right.
        np.testing.assert_allclose(faces[0].box, (0, 0, 200, 150), atol=1)
        assert len(faces) == 1

    @pytest.mark.parametrize(
        ("frame", "told"),
        [([None, 320], "one width and any height"), ([320, None], "one height and any width")],
    )
    def test_one_side_alone_that_is_fixed_is_refused(
        self, tmp_path: Path, frame: list[int | None], told: str
    ) -> None:
        save_exported(tmp_path, frame)
        with pytest.raises(ModelError, match=f"takes pictures of {told}, .*: export it with both"):
            load_detector(str(tmp_path))

    def test_what_it_does_not_say_stands_beside_it(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        described = {"threshold": 0.3, "longest": 320, "classes": [1]}
        (copy / "detector.json").write_text(json.dumps(described))
        detector = load_detector(str(copy))
        (faces,) = detector.detect([np.zeros((100, 200, 3), np.uint8)])
        assert detector.threshold == 0.3
        assert [face.score for face in faces] == [pytest.approx(0.6)]

    @pytest.mark.parametrize(
        ("change", "same"), [({"threshold": 0.7}, True), ({"longest": 640}, False),
                             ({"classes": [3]}, False), ({"classes": None}, False)],
    )  # fmt: skip
    def test_whatever_changes_what_is_found_changes_its_identity(
        self, folder: Path, tmp_path: Path, change: dict, same: bool
    ) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        described = {"threshold": 0.3, "longest": 320, "classes": [1]}
        identities = set()
        for description in (described, described | change):
            (copy / "detector.json").write_text(json.dumps(description))
            identities.add(load_detector(str(copy)).sha256)
        assert len(identities) == (1 if same else 2)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ('{"classes": [1]}', r"threshold: Field required\."),
            ('{"threshold": 0.4, "longest": 600}', r"longest: .*multiple of 32\."),
            ("no JSON", "it: Invalid JSON"),
        ],
    )
    def test_what_is_wrong_in_its_description_is_said(
        self, folder: Path, tmp_path: Path, text: str, told: str
    ) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        (copy / "detector.json").write_text(text)
        with pytest.raises(ModelError, match=rf"does not describe a detector: {told}"):
            load_detector(str(copy))

    def test_its_identity_is_that_of_its_files(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        assert load_detector(str(copy)).sha256 == load_detector(str(folder)).sha256
        (copy / "saved_model" / "assets").mkdir(exist_ok=True)
        (copy / "saved_model" / "assets" / "labels.txt").write_text("face")
        assert load_detector(str(copy)).sha256 != load_detector(str(folder)).sha256

    def test_what_is_no_detector_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"holds a file saved_model\.pb"):
            load_detector(str(tmp_path))
        with pytest.raises(ModelError, match=r"holds a file saved_model\.pb"):
            load_detector(f"saved-model:{tmp_path / 'nowhere'}")
        save_exported(tmp_path / "lacking", [None, None], without=("detection_scores",))
        with pytest.raises(ModelError, match="does not give detection_scores"):
            load_detector(str(tmp_path / "lacking"))
        save_exported(tmp_path / "counted", [None, None], given={"num_detections": tf.ones(())})
        with pytest.raises(ModelError, match=r"gives num_detections of the shape \(\) instead"):
            load_detector(str(tmp_path / "counted"))
        save_exported(tmp_path / "floats", [None, None], kind=tf.float32)
        with pytest.raises(ModelError, match="instead of pictures, uint8"):
            load_detector(str(tmp_path / "floats"))

    def test_ctrl_c_is_no_fault_of_a_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(_: str) -> None:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise RuntimeError("MISMATCH of original and normalized active exception types")

        save_exported(tmp_path, [None, None])
        monkeypatch.setattr(tf.saved_model, "load", load)
        with pytest.raises(KeyboardInterrupt):
            load_detector(str(tmp_path))

    def test_a_broken_download_is_said_to_be_one(self, tmp_path: Path) -> None:
        module = Module()
        module.numbers = tf.Variable(tf.ones((300, 300)))
        save_exported(tmp_path, [None, None], module=module)
        path = tmp_path / "saved_model" / "variables" / "variables.data-00000-of-00001"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ModelError, match="cannot be loaded as a SavedModel; fetch it again"):
            load_detector(str(tmp_path))

    @pytest.mark.parametrize(
        ("operation", "write"),
        [
            ("WriteFile", lambda path: tf.io.write_file(path, "")),
            ("PrintV2", lambda path: tf.print("here", output_stream=f"file://{path}")),
            ("ReadFile", tf.io.read_file),
            ("ImmutableConst", lambda path: tf.raw_ops.ImmutableConst(
                dtype=tf.float32, shape=[1], memory_region_name=path
            )),
            ("InitializeTableFromTextFile", lambda path: tf.raw_ops.InitializeTableFromTextFile(
                table_handle=tf.raw_ops.HashTable(key_dtype=tf.string, value_dtype=tf.int64),
                filename=path, key_index=-2, value_index=-1,
            )),
            ("DecodeProtoV2", lambda path: tf.raw_ops.DecodeProtoV2(
                bytes=[""], message_type="a", field_names=["b"], output_types=[tf.string],
                descriptor_source=path,
            ).sizes),
            ("EncodeProto", lambda path: tf.raw_ops.EncodeProto(
                sizes=[[1]], values=[[["b"]]], message_type="a", field_names=["b"],
                descriptor_source=path,
            )),
            *((name, lambda path, name=name: getattr(tf.raw_ops, name)(
                input=tf.ones(1), tensor_name="a:0", debug_urls=[f"file://{path}"]
            )) for name in ("DebugIdentity", "DebugNanCount", "DebugNumericSummary")),
            ("SaveV2", written),
        ],
    )  # fmt: skip
    def test_a_graph_that_would_touch_a_file_is_not_loaded(
        self, tmp_path: Path, operation: str, write: Callable[[str], tf.Operation]
    ) -> None:
        sprung = tmp_path / "sprung"

        def look(pixels):
            with tf.control_dependencies([write(str(sprung))]):
                return {"detection_boxes": tf.identity(tf.cast(pixels, tf.float32))}

        entering = tf.TensorSpec([1, None, None, 3], tf.uint8)
        signature = tf.function(look, input_signature=[entering])
        tf.saved_model.save(
            Module(), str(tmp_path / "saved_model"), signatures={"serving_default": signature}
        )
        with pytest.raises(ModelError, match=rf"would run code or touch files \({operation}"):
            load_detector(str(tmp_path))
        assert list(tmp_path.iterdir()) == [tmp_path / "saved_model"]

    def test_a_resource_that_would_write_when_it_is_made_is_not_loaded(
        self, tmp_path: Path
    ) -> None:
        sprung = tmp_path / "sprung"

        class Sprung(tf.saved_model.experimental.TrackableResource):
            def _create_resource(self):
                with tf.control_dependencies([written(sprung)]):
                    return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

            def _initialize(self):
                tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=1.0)

        module = Module()
        module.resource = Sprung()
        shape = tf.TensorSpec([1, None, None, 3], tf.uint8)
        look = tf.function(lambda seen: {"detection_boxes": tf.cast(seen, tf.float32)})
        signatures = {"serving_default": look.get_concrete_function(shape)}
        tf.saved_model.save(module, str(tmp_path / "saved_model"), signatures=signatures)
        for left in tmp_path.glob("sprung*"):
            left.unlink()
        with pytest.raises(ModelError, match=r"would run code or touch files \(SaveV2"):
            load_detector(str(tmp_path))
        assert list(tmp_path.iterdir()) == [tmp_path / "saved_model"]

    @pytest.mark.parametrize("called", [False, True])
    def test_an_older_model_that_would_write_at_first_is_not_loaded(
        self, tmp_path: Path, called: bool
    ) -> None:
        sprung = tmp_path / "sprung"
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            seen = tf.compat.v1.placeholder(tf.uint8, [1, None, None, 3])
            signature = tf.compat.v1.saved_model.predict_signature_def(
                {"input_tensor": seen}, {"detection_boxes": tf.cast(seen, tf.float32)}
            )

            def writing():
                with tf.control_dependencies([written(sprung)]):
                    return tf.constant(1.0)

            first = (tf.function(writing) if called else writing)().op
            builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "saved_model"))
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": signature}, main_op=first
            )
            builder.save()
        with pytest.raises(ModelError, match=r"would run code or touch files \(SaveV2"):
            load_detector(str(tmp_path))
        assert list(tmp_path.iterdir()) == [tmp_path / "saved_model"]

    def test_no_operation_that_names_what_is_outside_is_loaded(self, tmp_path: Path) -> None:
        """Of all that TensorFlow knows, by what their inputs and attributes are called."""
        from tensorflow.core.framework import op_def_pb2
        from tensorflow.python.client.pywrap_tf_session import TF_GetAllOpList, TF_GetBuffer

        listed = op_def_pb2.OpList.FromString(TF_GetBuffer(TF_GetAllOpList()))
        outside = re.compile("file|url|uri|path|dir$|address|target|region|descriptor|debug_ops"
                             "|module|endpoint|server")  # fmt: skip
        naming = {
            operation.name
            for operation in listed.op
            if any(outside.search(each.name) for each in (*operation.attr, *operation.input_arg))
        }
        further = {"Abort", "MatchingFiles", "PyFuncStateless", "ReaderRead", "ReaderReadUpTo"}
        assert further <= {operation.name for operation in listed.op}
        (tmp_path / "saved_model").mkdir()
        let_in = set()
        for name in sorted(naming | further):
            saved = saved_model_pb2.SavedModel()
            saved.meta_graphs.add().graph_def.node.add(name="sprung", op=name)
            (tmp_path / "saved_model" / "saved_model.pb").write_bytes(saved.SerializeToString())
            try:
                load_detector(str(tmp_path))
            except ModelError as error:
                if f"would run code or touch files ({name})" not in str(error):
                    let_in.add(name)
        # Classes and numbers of results; and what every SavedModel has for its own files.
        numbers = {"ApproxTopK", "CTCBeamSearchDecoder", "InTopK", "InTopKV2"}
        assert let_in == numbers | {"MergeV2Checkpoints"}

    @pytest.mark.parametrize("operation", ["InitializeTableFromTextFileV2", "RestoreV2"])
    def test_a_model_that_would_read_a_file_while_it_is_loaded_is_not_loaded(
        self, tmp_path: Path, operation: str
    ) -> None:
        """Where it names one of its own, a changed one may name any."""
        named = tmp_path / "words.txt"
        named.write_text("yes\n")

        class Read(tf.saved_model.experimental.TrackableResource):
            def _create_resource(self):
                return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

            def _initialize(self):
                (value,) = tf.raw_ops.RestoreV2(
                    prefix=str(named),
                    tensor_names=["a"],
                    shape_and_slices=[""],
                    dtypes=[tf.float32],
                )
                tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)

        module = Module()
        if operation == "RestoreV2":
            with tf.init_scope():
                written(named)
            module.resource = Read()
        else:
            lines = tf.lookup.TextFileIndex
            module.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    str(named), tf.string, lines.WHOLE_LINE, tf.int64, lines.LINE_NUMBER
                ),
                -1,
            )
        save_exported(tmp_path / "model", [None, None], module=module)
        with pytest.raises(ModelError, match=rf"would run code or touch files \({operation}\)"):
            load_detector(str(tmp_path / "model"))

    def test_a_graph_with_variables_loops_and_tables_is_loaded(self, tmp_path: Path) -> None:
        """What exporters write, and keeps all of its state in memory."""

        class Exported(Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = tf.Variable(1.0)
                keys, values = tf.constant(["a"]), tf.constant([0.75])
                self.table = tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(keys, values), 0.0
                )

            @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
            def look(self, pixels):
                count = tf.shape(pixels)[0]
                scores = tf.TensorArray(tf.float32, size=1)
                for place in tf.range(1):
                    scores = scores.write(place, self.scale * self.table.lookup(tf.constant("a")))
                scores = tf.tile(scores.stack()[None], [count, 1])
                tf.debugging.assert_greater(count, 0)
                return {
                    "detection_boxes": tf.tile([[[0.25, 0.25, 0.75, 0.75]]], [count, 1, 1]),
                    "detection_scores": scores,
                    "num_detections": tf.ones([count]),
                }

        exported = Exported()
        tf.saved_model.save(
            exported, str(tmp_path / "saved_model"), signatures={"serving_default": exported.look}
        )
        (faces,) = load_detector(str(tmp_path)).detect([np.zeros((64, 64, 3), np.uint8)])
        assert [face.score for face in faces] == [pytest.approx(0.75)]


class TestShipped:
    """The detector in the repository."""

    @pytest.fixture(scope="class")
    def detector(self):
        return load_detector()

    def test_it_has_the_signature_of_the_object_detection_api(self) -> None:
        model = tf.saved_model.load(str(SHIPPED / "familiar-face" / "saved_model"))
        signature = model.signatures["serving_default"]

        pictures = np.full((2, 90, 200, 3), 127, np.uint8)
        result = signature(input_tensor=tf.constant(pictures))

        assert set(result) == {
            "detection_boxes",
            "detection_scores",
            "detection_classes",
            "num_detections",
        }
        assert result["detection_boxes"].shape == (2, 100, 4)
        assert result["detection_scores"].shape == (2, 100)
        assert result["num_detections"].shape == (2,)

    def test_the_graph_scales_pictures_as_the_loader_does(self, detector) -> None:
        pixels = drawn_face(600, 900)
        model = tf.saved_model.load(str(SHIPPED / "familiar-face" / "saved_model"))
        result = model.signatures["serving_default"](input_tensor=tf.constant(pixels[None]))
        y0, x0, y1, x1 = result["detection_boxes"].numpy()[0, 0]

        (faces,) = detector.detect([pixels])

        np.testing.assert_allclose([x0 * 900, y0 * 600, x1 * 900, y1 * 600], faces[0].box, atol=12)

    def test_it_finds_a_drawn_face(self, detector) -> None:
        (faces,) = detector.detect([drawn_face(400, 700)])

        assert faces[0].score >= detector.threshold
        x0, y0, x1, y1 = faces[0].box
        assert x0 < 500 < x1
        assert y0 < 180 < y1

    def test_an_empty_picture_holds_no_face(self, detector) -> None:
        (faces,) = detector.detect([np.full((300, 300, 3), 200, np.uint8)])

        assert not [face for face in faces if face.score >= detector.threshold]


def test_shipped_leaves_drawings_without_a_face_alone() -> None:
    alarms = false_alarms(drawn(), load_detector())
    print(f"taken for a face in {alarms.total.with_box} of {alarms.total.pictures} drawings")
    assert alarms.total.pictures == 102
    assert alarms.total.share < 0.07


if shared_data.present("faces"):

    def test_shipped_average_precision_on_what_is_kept_for_validation() -> None:
        annotations = split(read_folder(shared_data.ROOT / "faces")).validation
        figures, found = evaluate_boxed(annotations, load_detector())
        reached = figures.average_precision
        print(f"average precision at IoU 0.5 on {found.pictures} pictures: {reached:.3f}")
        assert reached >= 0.74


if shared_data.present("series"):

    def test_shipped_leaves_windows_without_a_face_alone() -> None:
        table = Path(__file__).parents[2] / "faceless.csv"
        alarms = false_alarms(cut(table, shared_data.ROOT), load_detector())
        print(f"taken for a face in {alarms.total.with_box} of {alarms.total.pictures} windows")
        assert alarms.total.share < 0.05


def drawn_face(height: int, width: int) -> Pixels:
    """A simple drawn face around (500, 180) of a 700 x 400 picture, scaled to the size."""
    pixels = np.full((400, 700, 3), (150, 190, 220), np.uint8)
    cv2.rectangle(pixels, (430, 260), (570, 400), (60, 70, 160), -1)
    cv2.ellipse(pixels, (500, 165), (95, 115), 0, 0, 360, (90, 50, 30), -1)
    cv2.ellipse(pixels, (500, 190), (70, 82), 0, 0, 360, (250, 220, 195), -1)
    for x in (470, 530):
        cv2.ellipse(pixels, (x, 185), (17, 23), 0, 0, 360, (255, 255, 255), -1)
        cv2.ellipse(pixels, (x, 187), (12, 18), 0, 0, 360, (40, 90, 60), -1)
        cv2.circle(pixels, (x - 4, 180), 5, (255, 255, 255), -1)
        cv2.ellipse(pixels, (x, 183), (19, 24), 0, 200, 340, (40, 20, 10), 4)
    cv2.ellipse(pixels, (500, 240), (18, 9), 0, 0, 180, (190, 60, 60), -1)
    cv2.ellipse(pixels, (500, 120), (72, 40), 0, 180, 360, (90, 50, 30), -1)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
