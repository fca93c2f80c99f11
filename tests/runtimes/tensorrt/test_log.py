"""Messages of TensorRT: which are kept, which are logged, and the causes found in them."""

import logging

import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.tensorrt.log import KEPT, Messages, create_with_logger, make_logger
from tests.simulated_gpu import SimulatedTensorRt


@pytest.fixture
def logged():
    """TensorRT's severities, a `Messages` and the ``ILogger`` that fills it."""
    trt, messages = SimulatedTensorRt(), Messages()
    return trt.ILogger.Severity, messages, make_logger(trt, messages)


def test_only_warnings_and_errors_are_kept(logged):
    severity, messages, logger = logged
    logger.log(severity.INFO, "loaded")
    logger.log(severity.VERBOSE, "tactic 7")
    assert messages.explain() == "TensorRT gave no reason"
    for level in (severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR):
        said = f"said as {level}"
        logger.log(level, said)
        assert messages.explain() == said
    messages.reset()
    assert messages.explain() == "TensorRT gave no reason"


def test_messages_are_logged_at_most_as_info(logged, caplog):
    """Errors quote the messages that matter; a warning of TensorRT without consequences is not shown as one."""
    severity, _, logger = logged
    with caplog.at_level(logging.DEBUG, logger="deepbid_rt"):
        for level in (severity.INTERNAL_ERROR, severity.WARNING, severity.INFO, severity.VERBOSE):
            logger.log(level, "two\n  lines")
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3 + [logging.DEBUG]
    assert {record.getMessage() for record in caplog.records} == {"TensorRT: two lines"}


def test_the_first_known_cause_is_named_with_the_last_line():
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


def test_a_gpu_that_tensorrt_cannot_use_raises_with_the_reason():
    messages = Messages()

    def make(_logger):
        messages.push(logging.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(
        EngineError, match=r"cannot use this GPU with this driver .the GPU or its driver cannot be used"
    ):
        create_with_logger(make, None, messages)
