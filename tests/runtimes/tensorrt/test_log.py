"""What TensorRT says: what is kept, what goes to the log, and which cause it points to."""

import logging

import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.tensorrt.log import KEPT, Messages, create_with_logger, make_logger
from tests.simulated_gpu import SimulatedTensorRt


@pytest.fixture
def heard():
    """Messages that have heard each severity through an ``ILogger``, and the logger."""
    trt, messages = SimulatedTensorRt(), Messages()
    return trt.ILogger.Severity, messages, make_logger(trt, messages)


def test_warnings_and_errors_are_kept_and_nothing_below(heard):
    severity, messages, logger = heard
    logger.log(severity.INFO, "loaded")
    logger.log(severity.VERBOSE, "tactic 7")
    assert messages.explain() == "TensorRT gave no reason"
    for level in (severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR):
        said = f"said as {level}"
        logger.log(level, said)
        assert messages.explain() == said
    messages.reset()
    assert messages.explain() == "TensorRT gave no reason"


def test_nothing_of_it_is_louder_than_info_in_the_log(heard, caplog):
    """A refusal quotes what matters; a warning of TensorRT's that led to nothing is no warning of ours."""
    severity, _, logger = heard
    with caplog.at_level(logging.DEBUG, logger="deepbid_rt"):
        for level in (severity.INTERNAL_ERROR, severity.WARNING, severity.INFO, severity.VERBOSE):
            logger.log(level, "two\n  lines")
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3 + [logging.DEBUG]
    assert {record.getMessage() for record in caplog.records} == {"TensorRT: two lines"}


def test_the_first_cause_that_fits_is_named_with_the_last_line():
    messages = Messages()
    messages.push(logging.ERROR, "Serialization assertion stdVersionRead failed")
    messages.push(logging.ERROR, "Cuda failure: 2 (out of memory)")
    assert messages.explain() == "another version of TensorRT wrote it: Cuda failure: 2 (out of memory)"


def test_old_lines_are_forgotten():
    messages = Messages()
    messages.push(logging.ERROR, "magicTag")
    for _ in range(KEPT):
        messages.push(logging.ERROR, "later")
    assert messages.explain() == "later"


def test_a_gpu_that_tensorrt_cannot_use_is_refused_with_its_reason():
    messages = Messages()

    def make(_logger):
        messages.push(logging.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(
        EngineError, match=r"cannot use this GPU with this driver .the GPU or its driver cannot be used"
    ):
        create_with_logger(make, None, messages)
