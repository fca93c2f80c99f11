import pytest

from deepbid_rt.live.worker_thread import WorkerThread
from tests.fakes import raise_


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("report_raises", [False, True])
def test_work_that_raises_is_reported_and_runs_again(error, report_raises):
    calls, reported = [], []

    def work():
        calls.append(1)
        if len(calls) < 3:
            raise error

    def failed(raised):
        reported.append(raised)
        if report_raises:
            raise_(BrokenPipeError("stderr"))

    thread = WorkerThread("worker", work, failed)
    assert thread.daemon
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert (len(calls), reported) == (3, [error, error])
