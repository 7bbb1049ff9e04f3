"""The coach: what a photo is worth beside the others. Templates are drawn by hand, so that every likeness is chosen.

In these tests evidence rises in straight lines with the cosine: -5 nats at 0, 0 at 0.4, 12 at 0.8 and above.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.enrolment.coach import Coach, CoachReason, CoachRules, CoachWarning, UsablePhoto
from streamd.recognition.calibration import Calibration
from streamd.values import Quality

DIMENSION = 96
CALIBRATION = Calibration(scores=(0.0, 0.4, 0.8), eye_distances=(40.0,), ratios=((-5.0, 0.0, 12.0),), correlation=0.8)
RULES = CoachRules(duplicate=0.97, genuine=(0.4, 0.8, 1.0))
AXES = {"anna": 0, "ben": 1, "carl": 2, "dora": 3}
USED, DUPLICATE, LOOKS_LIKE = (), (CoachReason.DUPLICATE,), (CoachReason.LOOKS_LIKE,)


def face(own: int, **people: float) -> np.ndarray:
    """A template with these shares of people's axes, the rest on an axis of its own (`own`, any number)."""
    vector = np.zeros(DIMENSION, np.float32)
    for person, share in people.items():
        vector[AXES[person]] = share
    vector[len(AXES) + own % (DIMENSION - len(AXES))] = np.sqrt(1 - (vector**2).sum())
    return vector


QUALITY = Quality(0.2, 120.0, 50.0, 0.0, 0.0, 0.0, 60.0)


class Album:
    """Writes photos with rising sequence numbers: `album("anna/1", anna=0.9)` is a photo in Anna's folder that shows Anna."""

    def __init__(self) -> None:
        self._next = itertools.count(1)

    def __call__(self, photo: str, digest: str | None = None, **people: float) -> UsablePhoto:
        number = next(self._next)
        digest = digest or hashlib.sha256(f"{number}".encode()).hexdigest()
        return UsablePhoto(photo.split("/")[0], photo, digest, face(number, **people), QUALITY, None, number)


@pytest.fixture
def album() -> Album:
    return Album()


def coach(*photos: UsablePhoto) -> Coach:
    made = Coach(CALIBRATION, RULES, DIMENSION)
    made.change(new=photos)
    return made


def reasons(made: Coach) -> Mapping[str, tuple[CoachReason, ...]]:
    return {name: verdict.reasons for name, verdict in made.verdicts.items()}


# Gain, duplicates, the odd one.


def test_a_first_photo_is_all_gain_and_has_nothing_to_be_held_against(album: Album) -> None:
    verdict = coach(album("anna/1", anna=0.9)).verdicts["anna/1"]

    assert (verdict.accepted, verdict.gain, verdict.leave_one_out) == (True, 1.0, None)


def test_gain_is_the_share_of_genuine_pairs_that_are_more_alike_than_this_one(album: Album) -> None:
    """Cosine 0.9 x 0.9 = 0.81: the genuine quantiles say 0.5 at 0.8 and 1 at 1.0, so 0.525 are less alike: 0.475 remain."""
    made = coach(album("anna/1", anna=0.9), album("anna/2", anna=0.9))

    assert made.verdicts["anna/1"].gain == 1.0
    assert made.verdicts["anna/2"].gain == pytest.approx(0.475, abs=1e-4)
    assert made.verdicts["anna/2"].leave_one_out == pytest.approx(12.0, abs=1e-3)


def test_the_very_same_file_twice_is_a_duplicate_but_not_in_another_persons_folder(album: Album) -> None:
    made = coach(album("anna/1", digest="a", anna=0.9), album("anna/copy", digest="a", anna=0.9))

    assert reasons(made) == {"anna/1": USED, "anna/copy": DUPLICATE}
    assert made.verdicts["anna/copy"].duplicate_of == "anna/1"
    assert made.verdicts["anna/copy"].gain == 0


def test_a_photo_so_near_to_a_senior_that_it_adds_nothing_is_a_duplicate(album: Album) -> None:
    made = coach(album("anna/1", anna=0.99), album("anna/2", anna=0.99), album("anna/3", anna=0.9))

    assert reasons(made) == {"anna/1": USED, "anna/2": DUPLICATE, "anna/3": USED}


def test_a_duplicate_comes_into_use_when_the_photo_that_it_repeats_goes(album: Album) -> None:
    made = coach(album("anna/1", anna=0.99), album("anna/2", anna=0.99))

    changed = made.change(gone=["anna/1"])

    assert reasons(made) == {"anna/2": USED}
    assert changed == {"anna/1", "anna/2"}
    assert made.verdicts["anna/2"].gain == 1.0


def test_a_photo_unlike_all_others_of_the_folder_and_like_nobody_is_used_with_a_warning(album: Album) -> None:
    made = coach(album("anna/1", anna=0.9), album("anna/2", anna=0.9), album("anna/odd", anna=0.1))

    assert made.verdicts["anna/odd"].warnings == (CoachWarning.ODD_ONE,)
    assert made.verdicts["anna/odd"].accepted
    assert made.verdicts["anna/1"].warnings == ()


# Who looks like whom.


def test_a_photo_of_anna_in_bens_folder_is_quarantined_and_says_like_whom(album: Album) -> None:
    """Cosine 0.9 x 0.9 = 0.81 to Anna's photo (12 nats), none to Ben's (-5)."""
    made = coach(album("anna/1", anna=0.9), album("ben/1", ben=0.9), album("ben/wrong", anna=0.9))

    like = made.verdicts["ben/wrong"].looks_like

    assert reasons(made) == {"anna/1": USED, "ben/1": USED, "ben/wrong": LOOKS_LIKE}
    assert like is not None
    assert (like.subject, like.photo) == ("anna", "anna/1")
    assert (like.evidence, like.own) == (pytest.approx(12, abs=1e-3), pytest.approx(-5, abs=1e-3))


@pytest.mark.parametrize("names", [["ben/wrong", "ben/1", "ben/2"], ["ben/1", "ben/wrong", "ben/2"]])
def test_a_photo_that_its_own_folder_speaks_against_goes_whichever_of_the_two_is_new(album: Album, names: list[str]) -> None:
    """Ben's folder has held the wrong photo for a year when Anna's first photo comes: most of the folder tell."""
    made = coach(*(album(name, **({"anna": 0.9} if "wrong" in name else {"ben": 0.9})) for name in names))
    assert set(reasons(made).values()) == {USED}

    made.change(new=[album("anna/1", anna=0.9)])

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong"}


@pytest.mark.parametrize("names", [["ben/1"], ["ben/1", "ben/2"], ["ben/2", "ben/1"]])
def test_where_the_folder_cannot_tell_the_photo_stays_that_was_there_before(album: Album, names: list[str]) -> None:
    """Ben's one photo, or one of two that are unlike each other, and a newcomer that shows him in Anna's folder."""
    made = coach(*(album(name, **({"ben": 0.9} if name == "ben/1" else {"carl": 0.9})) for name in names))

    for number in range(3):
        made.change(new=[album(f"anna/{number}", ben=0.9)])

    assert {name for name, said in reasons(made).items() if said} == {"anna/0", "anna/1", "anna/2"}


def test_a_newcomer_in_a_senior_folder_takes_no_photo_from_a_junior_one(album: Album) -> None:
    """Ben was there before Anna, but her photo before his third, which is 0.5 like his others and 0.74 like hers."""
    made = coach(
        album("ben/1", ben=0.85, carl=0.3), album("ben/2", ben=0.85, carl=0.3), album("anna/1", anna=0.9),
        album("ben/wrong", anna=0.82, ben=0.56),
    )  # fmt: skip
    like = made.verdicts["ben/wrong"].looks_like

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong"}
    assert like is not None
    assert (like.subject, like.misplaced) == ("anna", False)


def test_photos_of_anna_wait_for_one_of_her_that_was_alone_in_bens_folder_until_that_shows_whose_it_is(album: Album) -> None:
    made = coach(album("ben/wrong", anna=0.9), *(album(f"anna/{number}", anna=0.9) for number in range(3)))
    assert {name for name, said in reasons(made).items() if said} == {"anna/0", "anna/1", "anna/2"}

    made.change(new=[album("ben/1", ben=0.9), album("ben/2", ben=0.9)])

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong"}
    like = made.verdicts["ben/wrong"].looks_like
    assert like is not None
    assert like.misplaced


def test_several_wrong_photos_do_not_vouch_for_each_other_against_the_rest_of_the_folder(album: Album) -> None:
    made = coach(
        *(album(f"ben/wrong{number}", anna=0.9) for number in range(2)),
        *(album(f"ben/{number}", ben=0.9) for number in range(3)),
        album("anna/1", anna=0.9),
    )

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong0", "ben/wrong1"}


def test_most_of_a_folder_is_whom_it_stands_for(album: Album) -> None:
    """Two photos of Anna and one of Ben: it is the folder of somebody who looks like Anna, and she waits."""
    made = coach(album("ben/1", ben=0.9), album("ben/w1", anna=0.9), album("ben/w2", anna=0.9), album("anna/1", anna=0.9))

    assert {name for name, said in reasons(made).items() if said} == {"anna/1"}


def test_a_relatives_photo_in_the_wrong_folder_is_told_though_the_family_is_alike(album: Album) -> None:
    """To Ben's photos 0.9 x 0.56 = 0.504, 3.1 nats; to Anna's 0.81, 12 nats."""
    made = coach(
        *(album(f"ben/{number}", anna=0.56, ben=0.7) for number in range(2)),
        album("ben/wrong", anna=0.9),
        *(album(f"anna/{number}", anna=0.9) for number in range(2)),
    )
    like = made.verdicts["ben/wrong"].looks_like

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong"}
    assert like is not None
    assert (like.subject, like.own) == ("anna", pytest.approx(3.1, abs=0.05))


def test_a_lone_newcomer_takes_no_photo_away_that_its_own_folder_speaks_for(album: Album) -> None:
    """Anna's two photos are 0.55 alike, 4.5 nats; the new folder's one is 0.8 like the second: it is she on another day."""
    made = coach(album("anna/1", anna=0.6, carl=0.6), album("anna/2", anna=0.92), album("anja/1", anna=0.92))

    assert {name for name, said in reasons(made).items() if said} == {"anja/1"}


def test_two_photos_that_were_swapped_are_the_junior_ones(album: Album) -> None:
    made = coach(album("ben/1", ben=0.9), album("anna/1", anna=0.9), album("ben/wrong", anna=0.9), album("anna/wrong", ben=0.9))

    assert {name for name, said in reasons(made).items() if said} == {"ben/wrong", "anna/wrong"}


def test_the_first_photo_of_a_new_folder_that_looks_like_somebody_enrolled_waits(album: Album) -> None:
    made = coach(album("anna/1", anna=0.9), album("anja/1", anna=0.9))
    like = made.verdicts["anja/1"].looks_like

    assert reasons(made) == {"anna/1": USED, "anja/1": LOOKS_LIKE}
    assert like is not None
    assert (like.subject, like.own) == ("anna", None)


def test_more_photos_of_the_same_person_do_not_make_two_people_of_them(album: Album) -> None:
    made = coach(*(album(f"{name}/{number}", anna=0.9) for name in ("anna", "anja", "ann") for number in range(3)))

    assert {verdict.subject for verdict in made.verdicts.values() if verdict.accepted} == {"anna"}


def test_relatives_who_are_more_like_themselves_than_like_each_other_are_both_used(album: Album) -> None:
    """Cosine 0.6 to each other, 0.85 to themselves: 6 nats against 12."""
    made = coach(
        *(album(f"anna/{number}", anna=0.85, carl=0.35) for number in range(2)),
        *(album(f"ben/{number}", ben=0.53, anna=0.6, carl=0.35) for number in range(2)),
    )

    assert set(reasons(made).values()) == {USED}


def test_a_quarantined_photo_is_judged_again_when_those_that_it_resembles_go(album: Album) -> None:
    made = coach(album("anna/1", anna=0.9), album("anna/2", anna=0.9), album("anja/1", anna=0.9))

    assert made.change(gone=["anna/1"]) >= {"anna/1"}
    assert reasons(made)["anja/1"] == LOOKS_LIKE
    assert made.change(gone=["anna/2"]) == {"anna/2", "anja/1"}
    assert reasons(made) == {"anja/1": USED}


def test_nobody_waits_because_of_somebody_who_waits(album: Album) -> None:
    """Ben is like Anna, and Carl is like Ben but not like Anna: only Ben waits."""
    made = coach(album("anna/1", anna=0.95), album("ben/1", anna=0.7, ben=0.7), album("carl/1", ben=0.95))

    assert reasons(made) == {"anna/1": USED, "ben/1": LOOKS_LIKE, "carl/1": USED}


def test_a_photo_counts_as_support_only_while_it_is_no_copy(album: Album) -> None:
    """A wrong photo and its copy would otherwise vouch for each other."""
    made = coach(album("anna/1", anna=0.99), album("ben/1", ben=0.9), album("ben/w1", anna=0.985), album("ben/w2", anna=0.985))

    assert reasons(made) == {"anna/1": USED, "ben/1": USED, "ben/w1": LOOKS_LIKE, "ben/w2": DUPLICATE}


def test_more_folders_make_it_harder_to_be_called_like_somebody(album: Album) -> None:
    """With S subjects the bound is ln(S / 0.01): 5.3 nats for two, 9.2 for a hundred. At cosine 0.62 there are 6.6."""
    pair = (album("anna/1", anna=0.95), album("anja/1", anna=0.6526))
    made = coach(*pair)
    assert reasons(made)["anja/1"] == LOOKS_LIKE

    crowd = [album(f"stranger{number}/1", dora=0.1) for number in range(98)]
    made.change(new=crowd)

    assert reasons(made)["anja/1"] == USED


# Who is easily confused.


def test_subjects_that_are_nearly_as_like_as_the_rule_demands_are_named(album: Album) -> None:
    """Four frames' worth and more: 8 crops with correlation 0.8 count as 1.21; bound ln(3 / 0.001) = 8.0, margin 3."""
    made = coach(
        album("anna/1", anna=0.9, ben=0.2),
        album("anna/2", anna=0.9, ben=0.2),
        album("ben/1", anna=0.6, ben=0.75),
        album("ben/2", anna=0.6, ben=0.75),
        album("carl/1", carl=0.9),
    )

    (found,) = made.confusable()

    assert found.subjects == ("anna", "ben")
    assert found.bound == pytest.approx(8.006, abs=1e-3)
    assert found.evidence == pytest.approx(8 / (1 + 7 * 0.8) * (0.69 - 0.4) * 30, abs=1e-2)
    assert found.could_be_taken_for


def test_those_who_are_not_alike_are_not_named(album: Album) -> None:
    assert coach(album("anna/1", anna=0.9), album("ben/1", ben=0.9)).confusable() == ()
    assert Coach(CALIBRATION, RULES, DIMENSION).confusable() == ()


# What the result depends on.


def gallery(draw: st.DrawFn) -> list[UsablePhoto]:
    """Up to 24 photos of four people in four folders, right and wrong, near copies among them; sequence numbers with gaps."""
    photos = []
    album = Album()
    for number in range(draw(st.integers(1, 24))):
        folder, person, second = (draw(st.sampled_from(sorted(AXES))) for _ in range(3))
        share = draw(st.sampled_from([0.1, 0.5, 0.65, 0.8, 0.9, 0.99]))
        people = {second: 0.3 if share < 0.95 else 0.0, person: share}
        photos.append(album(f"{folder}/{number}", digest=draw(st.sampled_from([None, None, "same"])), **people))
    return photos


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_all_at_once_is_one_by_one_is_any_batches(data: st.DataObject) -> None:
    photos = gallery(data.draw)
    at_once = coach(*reversed(photos))
    in_batches = Coach(CALIBRATION, RULES, DIMENSION)
    rest = list(photos)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        in_batches.change(new=rest[:size])
        rest = rest[size:]

    assert dict(in_batches.verdicts) == dict(at_once.verdicts)
    assert in_batches.confusable() == at_once.confusable()


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_photo_that_was_there_and_went_leaves_no_trace(data: st.DataObject) -> None:
    photos = gallery(data.draw)
    gone = data.draw(st.sets(st.sampled_from([photo.photo for photo in photos])))
    made = coach(*photos)
    before = dict(made.verdicts)

    changed = made.change(gone=gone)

    never = coach(*(photo for photo in photos if photo.photo not in gone))
    assert dict(made.verdicts) == dict(never.verdicts)
    assert made.confusable() == never.confusable()
    names = before.keys() | made.verdicts.keys()
    assert changed == {name for name in names if before.get(name) != made.verdicts.get(name)}


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_newcomer_pushes_out_no_photo_unless_two_others_of_its_folder_could_speak_against_it(data: st.DataObject) -> None:
    *before, newcomer = gallery(data.draw)
    made = coach(*before)
    used = {name for name, said in reasons(made).items() if said == USED}

    made.change(new=[newcomer])

    for name in used:
        if reasons(made)[name] != USED:
            folder = name.split("/")[0]
            assert sum(one.subject == folder and one.reasons != DUPLICATE for one in made.verdicts.values()) > 2


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_whoever_is_quarantined_is_like_a_photo_and_no_copy_is_used(data: st.DataObject) -> None:
    made = coach(*gallery(data.draw))

    for verdict in made.verdicts.values():
        assert 0 <= verdict.gain <= 1
        assert (verdict.looks_like is not None) == (verdict.reasons == LOOKS_LIKE)
        if verdict.looks_like is not None:
            assert verdict.looks_like.subject != verdict.subject
    for subject in made.subjects:
        used = [photo.vector for photo in made.used(subject)]
        assert all(float(a @ b) < RULES.duplicate for a, b in itertools.combinations(used, 2))


def test_one_person_in_a_hundred_folders_is_used_in_the_first_only(album: Album) -> None:
    """More folders than ties are kept for each photo."""
    made = coach(*(album(f"folder{number:03d}/{photo}", anna=0.94) for number in range(100) for photo in range(2)))

    assert {verdict.subject for verdict in made.verdicts.values() if verdict.accepted} == {"folder000"}


def test_what_cannot_be_judged_is_refused(album: Album) -> None:
    first, second = album("anna/1", anna=0.9), album("anna/2", anna=0.9)
    made = coach(second)

    with pytest.raises(ValueError, match="sequence numbers"):
        made.change(new=[first])
    with pytest.raises(ValueError, match="anna/2 is there already"):
        made.change(new=[album("anna/2", anna=0.9)])
    with pytest.raises(ValueError, match="expected a unit vector of 96"):
        made.change(new=[UsablePhoto("anna", "anna/3", "d", np.zeros(DIMENSION, np.float32), QUALITY, None, 9)])
    assert reasons(made) == {"anna/2": USED}
