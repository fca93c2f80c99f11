import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.card import CARD_VERSION, ModelCard, Normalization
from deepbid_rt.errors import EngineError
from tests.fakes import WINDOW_CARD, echo_card

EXPORT_AGAIN = "export the engine again with this version of deepbid-rt."


@given(
    hop=st.integers(1, 20),
    look_ahead=st.integers(0, 20),
    earlier=st.integers(0, 20),
    scan=st.sampled_from([("collinear",), ("ordinary",), ("collinear", "ordinary")]),
    rule=st.sampled_from(["calibrate", "fixed"]),
    scale=st.floats(1e-6, 1e6),
    training=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())),
)
def test_a_card_survives_json(hop, look_ahead, earlier, scan, rule, scale, training):
    card = echo_card(
        hop + look_ahead + earlier,
        hop,
        look_ahead,
        scan=scan,
        normalization=Normalization(rule=rule, scale=scale),
        training=training,
    )
    assert ModelCard.from_json(card.to_json()) == card
    assert ModelCard.from_dict(card.to_dict()) == card


def test_the_delay_follows_from_hop_and_look_ahead():
    assert WINDOW_CARD.delay == 15
    assert echo_card().delay == 0


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_look_ahead_adds_to_the_input_and_to_the_delay_of_a_stream_engine(look_ahead):
    card = ModelCard(name="x", kind="stream", look_ahead=look_ahead, memories=(0.4, 0.1))
    assert (card.delay, card.depth) == (look_ahead, 5 + look_ahead)


@pytest.mark.parametrize(
    ("change", "came", "expected"),
    [
        ({"version": 2}, "version 2", f"version {CARD_VERSION}"),
        ({"kind": "stripe"}, "kind 'stripe'", "one of window, stream, average, echo"),
        (
            {"kind": "stream", "memories": [0.1]},
            "window 40, hop 8, look-ahead 8 for kind 'stream'",
            "window 1 and hop 1, and for an average look-ahead 0",
        ),
        (
            {"kind": "average", "window": 1, "hop": 1, "look_ahead": 1, "memories": [0.1]},
            "window 1, hop 1, look-ahead 1 for kind 'average'",
            "window 1 and hop 1, and for an average look-ahead 0",
        ),
        (
            {"kind": "stream", "window": 1, "hop": 1, "look_ahead": -1, "memories": [0.1]},
            "window 1, hop 1, look-ahead -1",
            "1 <= hop <= window - look-ahead",
        ),
        (
            {"memories": [0.1]},
            "memories (0.1,) for kind 'window'",
            "weights between 0 and 1 for kinds stream and average, and none for the other kinds",
        ),
        (
            {"kind": "stream", "window": 1, "hop": 1, "look_ahead": 0, "memories": [0.1, 1.0]},
            "memories (0.1, 1.0) for kind 'stream'",
            "weights between 0 and 1 for kinds stream and average, and none for the other kinds",
        ),
        (
            {"kind": "stream", "window": 1, "hop": 1, "look_ahead": 0},
            "memories () for kind 'stream'",
            "weights between 0 and 1 for kinds stream and average, and none for the other kinds",
        ),
        ({"name": ""}, "no name", "a name"),
        ({"scan": ("spiral",)}, "scan ('spiral',)", "some of collinear, ordinary"),
        ({"scan": ()}, "scan ()", "some of collinear, ordinary"),
        ({"scan": "ordinary"}, f"scan {tuple('ordinary')}", "some of collinear, ordinary"),
        ({"grid": 0}, "grid 0", "at least 1"),
        ({"window": 40.0}, "window 40.0, hop 8, look-ahead 8, grid 8", "whole numbers"),
        ({"hop": 0}, "window 40, hop 0, look-ahead 8", "1 <= hop <= window - look-ahead"),
        ({"hop": 40}, "window 40, hop 40, look-ahead 8", "1 <= hop <= window - look-ahead"),
        ({"kind": "echo", "look_ahead": -1}, "window 40, hop 8, look-ahead -1", "1 <= hop <= window - look-ahead"),
        (
            {"look_ahead": 7},
            "window 40, hop 8, look-ahead 7 on grid 8",
            "window and hop to be multiples of the grid and a look-ahead of at least 8 frames",
        ),
        (
            {"window": 41},
            "window 41, hop 8, look-ahead 8 on grid 8",
            "window and hop to be multiples of the grid and a look-ahead of at least 8 frames",
        ),
        (
            {"hop": 4},
            "window 40, hop 4, look-ahead 8 on grid 8",
            "window and hop to be multiples of the grid and a look-ahead of at least 8 frames",
        ),
        ({"normalization": {"rule": "guess"}}, "offset rule 'guess'", "one of calibrate, mean, minimum, fixed"),
        (
            {"normalization": {"scale": 0.0}},
            "scale 0.0 and 16 calibration frames",
            "a positive scale and at least 1 frame",
        ),
        (
            {"normalization": {"frames": 0}},
            "scale 1.0 and 0 calibration frames",
            "a positive scale and at least 1 frame",
        ),
        (
            {"normalization": {"scale": float("nan")}},
            "scale nan and 16 calibration frames",
            "a positive scale and at least 1 frame",
        ),
    ],
)
def test_a_wrong_card_is_refused_with_its_name_and_the_wrong_value(change, came, expected):
    with pytest.raises(EngineError) as refused:
        ModelCard.from_dict({**WINDOW_CARD.to_dict(), **change})
    name = change.get("name", "window")
    assert str(refused.value) == f"the model card of {name!r} says {came}; expected {expected}; {EXPORT_AGAIN}"


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 1},
        {"normalization": {"mean": 1}},
        {"normalization": 3},
        {"scan": 3},
        {"window": "40"},
        {"hop": None},
        {"grid": "8"},
    ],
)
def test_a_card_with_other_fields_or_types_is_refused(change):
    with pytest.raises(EngineError, match=r"^a model card that cannot be read \(.*\); expected the fields of card"):
        ModelCard.from_dict({**WINDOW_CARD.to_dict(), **change})


def test_a_card_needs_name_and_kind():
    with pytest.raises(EngineError, match="a model card that cannot be read"):
        ModelCard.from_dict({"name": "x"})


@pytest.mark.parametrize("text", ["", "{", "card", "\x00"])
def test_text_that_is_not_json_is_refused(text):
    with pytest.raises(EngineError, match=r"^a model card that is not JSON"):
        ModelCard.from_json(text)


@pytest.mark.parametrize(("text", "kind"), [("[]", "list"), ("3", "int"), ("null", "NoneType")])
def test_json_that_is_not_an_object_is_refused(text, kind):
    with pytest.raises(EngineError) as refused:
        ModelCard.from_json(text)
    assert str(refused.value) == (
        f"a model card that is a JSON {kind}; expected the JSON object that deepbid-rt export writes; "
        "export the engine again."
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 50) | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from([field.name for field in dataclasses.fields(ModelCard)]),
)
def test_a_wrong_value_in_any_field_raises_an_engine_error_and_nothing_else(value, field):
    data = {**WINDOW_CARD.to_dict(), field: value}
    try:
        card = ModelCard.from_json(json.dumps(data))
    except EngineError:
        return
    assert card.window >= card.hop + card.look_ahead > 0
    assert isinstance(card.delay, int)
