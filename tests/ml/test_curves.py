"""The course of a training, in text and as a picture."""

import xml.etree.ElementTree

import pytest

from discompute_lite.ml.curves import curve_svg, curve_text

FALLING = [4.0, 2.0, None, 1.0]


def test_a_curve_in_text():
    lines = curve_text(("loss", FALLING), width=12, height=4)
    assert lines[:2] == ["loss", "4 |*"]
    assert lines[-1].startswith("1 |") and lines[-1].endswith("*")
    assert sum(line.count("*") for line in lines) == 3
    assert max(map(len, lines)) <= 12


@pytest.mark.parametrize("values", [[], [None], [float("nan")], [float("inf")]])
def test_nothing_measured_is_not_drawn(values):
    assert curve_text(("loss", values), 40) == []
    assert "polyline" not in curve_svg([("loss", values)], "nothing")


def test_a_level_curve_is_drawn_at_the_bottom():
    lines = curve_text(("loss", [1.0, 1.0]), 20, 3)
    assert lines[-1].count("*") == 2


def test_the_picture_is_xml_with_a_point_for_each_value():
    picture = xml.etree.ElementTree.fromstring(curve_svg([("loss <train>", FALLING), ("accuracy", [0.5])], "a & b"))
    lines = [each for each in picture if each.tag.endswith("polyline")]
    assert [len(line.get("points").split()) for line in lines] == [3, 1]
    words = [each.text for each in picture if each.tag.endswith("text")]
    assert words[0] == "a & b"
    assert "loss <train>: 1 to 4, at the end 1" in words


def test_no_curve_crosses_what_is_written_above_them():
    picture = xml.etree.ElementTree.fromstring(curve_svg([("loss", FALLING), ("accuracy", FALLING[::-1])], "both"))
    curves = [point.split(",") for each in picture if each.tag.endswith("polyline")
              for point in each.get("points").split()]
    names = [each for each in picture if each.tag.endswith("text") and ": " in each.text]
    assert len(names) == 2
    assert max(float(each.get("y")) for each in names) < min(float(y) for _, y in curves)
    assert max(float(y) for _, y in curves) < float(picture.get("height"))
