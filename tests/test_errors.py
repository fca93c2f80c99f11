import pytest

from deepbid_rt import errors
from deepbid_rt.errors import DeepbidError, FailedError, RefusedError, StreamError, WireError

REFUSED = {"WireError", "StreamError", "EngineError", "FileError", "EndpointError", "OptionError"}
FAILED = {"OverrunError", "StageError"}


def test_a_message_is_one_sentence_of_three_parts():
    error = StreamError("a frame of 3 lines", expected="4 lines", todo="check the sender")
    assert str(error) == "a frame of 3 lines; expected 4 lines; check the sender."
    assert (error.came, error.expected, error.todo) == ("a frame of 3 lines", "4 lines", "check the sender")


def test_a_wire_error_carries_its_kind_and_the_message():
    error = WireError("version", "version 9", expected="version 1", todo="update the bridge")
    assert error.kind == "version"
    assert str(error) == "version 9; expected version 1; update the bridge."


def test_the_parts_of_a_message_are_required():
    with pytest.raises(TypeError):
        StreamError("a frame of 3 lines")


def test_every_error_is_either_refused_or_failed():
    concrete = {
        name: thing
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, DeepbidError)
    }
    assert {n for n, t in concrete.items() if issubclass(t, RefusedError)} == REFUSED | {"RefusedError"}
    assert {n for n, t in concrete.items() if issubclass(t, FailedError)} == FAILED | {"FailedError"}
    assert not issubclass(RefusedError, FailedError)
