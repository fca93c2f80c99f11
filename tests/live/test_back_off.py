from deepbid_rt.live.back_off import HEALTHY_S, LONGEST_S, BackOff


def test_each_failure_doubles_the_wait_up_to_a_limit_and_a_healthy_time_starts_anew():
    now_s = [1000.0]
    back_off = BackOff(clock=lambda: now_s[0])
    assert back_off.remaining_s == 0
    waits = []
    for _ in range(7):
        back_off.failed()
        waits.append(back_off.remaining_s)
        now_s[0] += back_off.remaining_s
        assert back_off.remaining_s == 0
    assert waits == [1, 2, 4, 8, 16, LONGEST_S, LONGEST_S]
    now_s[0] += HEALTHY_S + LONGEST_S
    back_off.failed()
    assert back_off.remaining_s == 1
