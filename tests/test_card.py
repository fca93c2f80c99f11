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


HUGE = 10**9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normalization": {"frames": HUGE}},
            "says 1000000000 calibration frames; expected a whole number, at most 1024",
        ),
        ({"normalization": {"frames": 8.5}}, "says 8.5 calibration frames; expected a whole number"),
        ({"window": 8 * HUGE}, "says window 8000000000 and look-ahead 8; expected at most 1024 frames"),
        ({"window": 3000, "look_ahead": 2000}, "says window 3000 and look-ahead 2000; expected at most 1024 frames"),
        ({"grid": HUGE, "window": HUGE, "hop": HUGE}, "says grid 1000000000; expected at most 256"),
        ({"normalization": {"offset": 1e300}}, "says offset 1e+300 and scale 1.0; expected an offset and a scale of"),
        ({"normalization": {"offset": float("nan")}}, "says offset nan and scale 1.0"),
        ({"normalization": {"scale": 1e-300}}, "says offset 0.0 and scale 1e-300"),
        ({"normalization": {"scale": 10**400}}, "says offset 0.0 and scale 1000"),
        ({"name": "x" * 101}, "says a name that is too long or no text; expected up to 100 printable characters"),
        ({"name": "\x1b[2J"}, "says a name that is too long or no text"),
        ({"name": 5}, "says a name that is too long or no text"),
        ({"training": [1]}, "says facts about its training that are no table, or nested deep"),
        ({"kind": "k" * 10_000}, "says kind 'kkkk"),
    ],
)
def test_a_card_that_asks_for_too_much_is_refused(change, message):
    with pytest.raises(EngineError) as refused:
        ModelCard.from_dict(WINDOW_CARD.to_dict() | change)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"look_ahead": 65}, "says look-ahead 65 for kind 'stream'; expected at most 64 frames"),
        ({"memories": [0.1] * 17}, "says 17 memories, the least of them 0.1; expected up to 16 memories"),
        ({"memories": [1e-300]}, "says 1 memories, the least of them 1e-300; expected up to 16 memories of at least"),
    ],
)
def test_a_stream_engine_that_asks_for_too_much_is_refused(change, message):
    with pytest.raises(EngineError) as refused:
        ModelCard.from_dict(ModelCard(name="x", kind="stream", memories=(0.1,)).to_dict() | change)
    assert message in str(refused.value)


@pytest.mark.parametrize("depth", [10_000, 1_000_000 // 20])
def test_a_card_that_is_nested_deep_is_refused_as_one(depth):
    with pytest.raises(EngineError, match="nested too deep to be read; expected up to 8 levels"):
        ModelCard.from_json("[" * depth)
    with pytest.raises(EngineError, match="nested too deep to be read; expected up to 8 levels"):
        ModelCard.from_json('{"a":' * depth)


def test_facts_about_training_may_have_some_levels():
    for levels, accepted in ((7, True), (9, False), (900, False)):
        training = {}
        for _ in range(levels - 1):
            training = {"more": training, "list": [1, "two"]}
        text = json.dumps(WINDOW_CARD.to_dict() | {"training": training})
        if accepted:
            assert ModelCard.from_json(text).training == training
        else:
            with pytest.raises(EngineError, match="nested deep; expected a table of up to 8 levels"):
                ModelCard.from_json(text)


def test_a_huge_card_is_not_read():
    text = json.dumps(WINDOW_CARD.to_dict() | {"training": {"x": "y" * 300_000}})
    with pytest.raises(EngineError, match=r"a model card of 300\d{3} characters; expected at most 262144"):
        ModelCard.from_json(text)
