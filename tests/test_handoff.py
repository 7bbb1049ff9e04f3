"""Hand-over between threads: bounded, never blocking the side that puts, every loss counted, nobody left waiting at the end.

Where a test waits, it is for another thread to act, never for time to pass; the deadlines only end a test that has failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from streamd.handoff import Batcher, Latest

Result = TypeVar("Result")

DEADLINE = 5.0


def meanwhile(work: Callable[[], Result], then: Callable[[], object]) -> Result:
    """What `work` returns on a thread of its own, when `then` is called after it has begun."""
    began = threading.Event()

    def body() -> Result:
        began.set()
        return work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(body)
        assert began.wait(DEADLINE)
        then()
        return running.result(DEADLINE)


class TestLatest:
    def test_a_newer_value_takes_the_place_of_one_that_nobody_took_and_is_counted(self) -> None:
        slots = Latest[str, int]()
        for frame in range(5):
            slots.put("door", frame)

        assert slots.take(0) == 4
        assert slots.take(0) is None
        assert slots.replaced == 4

    def test_a_value_that_was_taken_is_not_counted_as_replaced(self) -> None:
        slots = Latest[str, int]()
        for frame in range(3):
            slots.put("door", frame)
            slots.take(0)

        assert slots.replaced == 0

    def test_every_camera_has_its_turn_however_often_another_puts(self) -> None:
        """The fast camera keeps its first place in the turn and comes again only after the others."""
        slots = Latest[str, str]()
        for _ in range(10):
            slots.put("fast", "fast")
        slots.put("slow", "slow")
        slots.put("fast", "fast")

        served = []
        for _ in range(4):
            served.append(slots.take(0))
            slots.put("fast", "fast")
            slots.put("slow", "slow")

        assert served == ["fast", "slow", "fast", "slow"]

    def test_whoever_waits_gets_what_comes(self) -> None:
        slots = Latest[str, int]()

        assert meanwhile(lambda: slots.take(DEADLINE), lambda: slots.put("door", 1)) == 1

    def test_closing_lets_everyone_go_on_with_nothing(self) -> None:
        slots = Latest[str, int]()

        assert meanwhile(lambda: slots.take(DEADLINE), slots.close) is None
        slots.put("door", 1)
        assert slots.take(0) is None


class TestBatcher:
    def test_a_batch_is_at_most_the_largest_size_and_oldest_first(self) -> None:
        batcher = Batcher[int]((1, 2, 4), 0.0)
        for crop in range(6):
            batcher.put(crop)

        assert [batcher.take(0), batcher.take(0), batcher.take(0)] == [[0, 1, 2, 3], [4, 5], []]

    def test_a_full_batch_leaves_at_once(self) -> None:
        """With a wait of an hour for more, only a batch that waits for no more comes in time."""
        batcher = Batcher[int]((1, 2), 3600.0)
        batcher.put(1)

        assert meanwhile(lambda: batcher.take(DEADLINE), lambda: batcher.put(2)) == [1, 2]

    def test_a_batch_that_is_not_full_waits_a_few_milliseconds_and_no_longer(self) -> None:
        batcher = Batcher[int]((1, 8), 0.02)
        batcher.put(1)
        started = time.monotonic()

        assert batcher.take(DEADLINE) == [1]
        assert 0.02 <= time.monotonic() - started < 1.0

    def test_beyond_its_capacity_the_oldest_is_handed_back_and_counted(self) -> None:
        batcher = Batcher[int]((8,), 0.0, capacity=3)

        assert [batcher.put(crop) for crop in range(5)] == [None, None, None, 0, 1]
        assert batcher.take(0) == [2, 3, 4]
        assert batcher.dropped == 2

    def test_closing_lets_the_other_side_go_on_with_nothing(self) -> None:
        batcher = Batcher[int]((8,), 0.0)

        assert meanwhile(lambda: batcher.take(DEADLINE), batcher.close) == []
        batcher.put(1)
        assert batcher.take(0) == []

    def test_closing_ends_the_wait_for_a_fuller_batch(self) -> None:
        batcher = Batcher[int]((8,), 3600.0)
        batcher.put(1)

        meanwhile(lambda: batcher.take(DEADLINE), batcher.close)  # returns before the deadline, whatever it returns

    @pytest.mark.parametrize("producers", [1, 4])
    def test_below_its_capacity_nothing_is_lost_doubled_or_put_out_of_order(self, producers: int) -> None:
        """Each producer puts 500 numbered values while another thread takes them; their order is kept for each."""
        each = 500
        batcher = Batcher[tuple[int, int]]((1, 4, 8), 0.001, capacity=producers * each)
        taken: list[tuple[int, int]] = []

        def consume() -> None:
            while len(taken) < producers * each and (batch := batcher.take(DEADLINE)):
                assert len(batch) <= 8
                taken.extend(batch)

        with ThreadPoolExecutor(producers + 1) as pool:
            consumer = pool.submit(consume)
            for who in range(producers):
                pool.submit(lambda who=who: [batcher.put((who, i)) for i in range(each)])
            consumer.result(4 * DEADLINE)

        assert batcher.dropped == 0
        for who in range(producers):
            assert [i for name, i in taken if name == who] == list(range(each))


def test_a_newer_value_takes_the_place_of_one_with_its_key_and_everybody_keeps_their_turn() -> None:
    """One side that puts much makes nobody wait: b and its own place in the line stay as they were."""
    batcher = Batcher[str]([1], 0.0)
    batcher.put("a1", "a")
    batcher.put("b1", "b")

    assert batcher.put("a2", "a") == "a1"

    assert batcher.dropped == 1
    assert [batcher.take(0.1), batcher.take(0.1)] == [["a2"], ["b1"]]
