# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether people who come back are known again, on rendered visits with known people.

The visits are made by `python -m thfm_ros.synth.visits`, and

    python -m thfm_ros.evaluation.reidentification DIR --first 14

prints the tables of all places from number 14 on; with --fit the standard deviations that
`perception/known_people.py` needs. A visit is one image of one person, in which the network detects
them; remembered people were seen in two images of their first visit.
"""

import argparse
import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.optimize import linear_sum_assignment

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Frame, Intrinsics, PerceptionError
from thfm_ros.engine.base import Engine
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.perception.appearance import REGIONS, VALUES, appearance_of
from thfm_ros.perception.confirmation import evidence_for, person_probability
from thfm_ros.perception.crop_stream import CropDetector, CropInputs
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.known_people import KnownPeople
from thfm_ros.perception.person_search import PersonDetector
from thfm_ros.perception.stage_timer import StageTimer

logger = logging.getLogger(__name__)

CORRECT, FALSE, REFUSED = "correct", "false", "refused"
_LATER_VISITS = {"in full view": 1, "cut by the edge": 2}
_SECOND_NS = 1_000_000_000
_FOREVER_S = 1e6


@dataclass(frozen=True)
class Site:
    """What is known of the people of one place; NaN where a person was not detected."""

    appearances: Float32[np.ndarray, "p v f d"]
    clothes: tuple[int, ...]  # equal numbers: identical clothes

    @property
    def plain(self) -> list[int]:
        """People of whom each wears something else."""
        return [p for p, clothes in enumerate(self.clothes) if clothes not in self.clothes[:p]]

    @property
    def doubles(self) -> list[tuple[int, int]]:
        """Pairs of people in identical clothes."""
        pairs = itertools.combinations(range(len(self.clothes)), 2)
        return [(p, q) for p, q in pairs if self.clothes[p] == self.clothes[q]]


class AppearanceReader:
    """The appearance of the likeliest person of single images."""

    def __init__(self, engine: Engine) -> None:
        self._config = config_from({"regions.tiles": False})
        self._engine, self._crops = engine, CropDetector(engine, self._config)

    def read(
        self, rgb: UInt8[np.ndarray, "h w 3"], focal_px: float
    ) -> Float32[np.ndarray, "d"] | None:
        """None if no one is detected."""
        height, width = rgb.shape[:2]
        k = Intrinsics(focal_px, focal_px, width / 2, height / 2, width, height)
        frame, timer = Frame(rgb, 1, "camera", k), StageTimer(("crop", "network", "decode"))
        detector = PersonDetector(self._engine, self._config, live=False)
        best: tuple[Detection | None, float] = None, self._config.decode.min_score
        for proposal in detector.detect(frame, timer, no_tracks=True, at_capacity=False) or []:
            inputs = CropInputs(Clip((frame,), 1), dense=True, timer=timer)
            if found := self._crops.detect_proposal(inputs, proposal):
                likely = person_probability(evidence_for(proposal, found.detection))
                best = max(best, (found.detection, likely), key=lambda each: each[1])
        return None if best[0] is None else appearance_of(frame, best[0])


def read_sites(folder: Path, first: int, last: int, reader: AppearanceReader) -> Iterator[Site]:
    """The places of a folder with the numbers from ``first`` to ``last``.

    Raises:
        PerceptionError: there is none.
    """
    files = sorted(folder.glob("site_*.npz"))
    files = [each for each in files if first <= int(each.stem[5:]) <= last]
    if not files:
        raise PerceptionError(
            f"There is no site_NN.npz from {first:02d} to {last:02d} in {folder}. Render some: "
            "python -m thfm_ros.synth.visits --pack PACK --out DIR"
        )
    for file in files:
        with np.load(file) as arrays:
            images, focal_px = arrays["images"], float(arrays["focal_px"])
            clothes = tuple(int(each) for each in arrays["clothes"])
        values = np.full((*images.shape[:3], len(REGIONS) * VALUES), np.nan, np.float32)
        for index in np.ndindex(*images.shape[:3]):
            appearance = reader.read(images[index], focal_px)
            if appearance is not None:
                values[index] = appearance
        yield Site(values, clothes)


def outcome(site: Site, remembered: Sequence[int], person: int, visit: int) -> str | None:
    """What happens when a person comes while others, or they, are remembered.

    Returns:
        CORRECT, FALSE or REFUSED (no one is known again); None if they are not detected.
    """
    known = KnownPeople(_FOREVER_S)
    for each in remembered:
        for appearance in site.appearances[each, 0]:
            if np.isfinite(appearance).any():
                known.add(str(each), appearance, 0)
    new = site.appearances[person, visit, 0]
    if not np.isfinite(new).any():
        return None
    found = known.recognise(new, frozenset())
    if found is None:
        return REFUSED
    return CORRECT if found == str(person) else FALSE


def trials(site: Site) -> Iterator[tuple[str, list[int], int]]:
    """Condition, remembered people, and who comes."""
    plain = site.plain
    for person in plain:
        yield "comes back, all wear different clothes", plain, person
        others = [each for each in plain if each != person]
        yield "comes for the first time", others, person
    everyone = list(range(len(site.clothes)))
    for pair in site.doubles:
        for person in pair:
            yield "comes back, another in identical clothes is known, too", everyone, person
            others = [each for each in everyone if each != person]
            yield "comes for the first time, in the clothes of someone known", others, person


def counted(sites: Sequence[Site]) -> Mapping[tuple[str, str], Counter[str]]:
    """Outcomes by condition and visibility."""
    outcomes: dict[tuple[str, str], Counter[str]] = {}
    for site in sites:
        for condition, remembered, person in trials(site):
            for view, visit in _LATER_VISITS.items():
                result = outcome(site, remembered, person, visit)
                if result is not None:
                    outcomes.setdefault((condition, view), Counter())[result] += 1
    return outcomes


def assigned_ids(site: Site, people: Sequence[int], *, knows_again: bool) -> list[tuple[int, str]]:
    """(person, id) of all visits of some people, one after the other."""
    known, visits = KnownPeople(_FOREVER_S), list[tuple[int, str]]()
    for visit in range(site.appearances.shape[1]):
        for person in people:
            first = site.appearances[person, visit, 0]
            if not np.isfinite(first).any():
                continue
            stamp_ns = (len(visits) + 1) * _SECOND_NS
            found = known.recognise(first, frozenset()) if knows_again else None
            track_id = found or str(len(visits))
            for appearance in site.appearances[person, visit]:
                if np.isfinite(appearance).any():
                    known.add(track_id, appearance, stamp_ns)
            visits.append((person, track_id))
    return visits


def idf1_and_switches(visits: Sequence[tuple[int, str]]) -> tuple[float, int]:
    """IDF1 with visits instead of frames, and how often a person has another id than before."""
    people = sorted({person for person, _ in visits})
    ids = sorted({track_id for _, track_id in visits})
    shared = np.zeros((len(people), len(ids)))
    switches, last = 0, dict[int, str]()
    for person, track_id in visits:
        shared[people.index(person), ids.index(track_id)] += 1
        switches += person in last and last[person] != track_id
        last[person] = track_id
    rows, columns = linear_sum_assignment(-shared)
    return float(shared[rows, columns].sum() / len(visits)), switches


def fitted_sigmas(sites: Sequence[Site]) -> tuple[np.ndarray, np.ndarray]:
    """SAME_SIGMA and DIFFERENT_SIGMA of `known_people`, of people in different clothes."""
    same, different = list[np.ndarray](), list[np.ndarray]()
    for site in sites:
        for p, q in itertools.product(site.plain, repeat=2):
            for visit in _LATER_VISITS.values():
                change = site.appearances[p, 0, 0] - site.appearances[q, visit, 0]
                (same if p == q else different).append(change.reshape(-1, VALUES))
    first, second = (np.sqrt(np.nanmean(np.array(x) ** 2, (0, 1))) for x in (same, different))
    return np.asarray(first), np.asarray(second)


def report(sites: Sequence[Site]) -> str:
    """The tables, as Markdown."""
    lines = ["| a person | seen | correct | false | refused |", "|---|---|---|---|---|"]
    for (condition, view), outcomes in counted(sites).items():
        total = outcomes.total()
        shares = (f"{outcomes[each] / total:.3f}" for each in (CORRECT, FALSE, REFUSED))
        lines.append(f"| {condition} ({total}) | {view} | " + " | ".join(shares) + " |")
    lines += ["", "| people | tracker | IDF1 of visits | id switches / visits |"]
    lines += ["|---|---|---|---|"]
    everyone = "two pairs in identical clothes"
    for name in ("in different clothes", everyone):
        for tracker, knows_again in (("remembers", True), ("never", False)):
            groups = [list(range(len(s.clothes))) if name == everyone else s.plain for s in sites]
            lists = [
                assigned_ids(site, people, knows_again=knows_again)
                for site, people in zip(sites, groups, strict=True)
            ]
            scores = [idf1_and_switches(each) for each in lists]
            idf1 = np.average([each[0] for each in scores], weights=[len(x) for x in lists])
            total = sum(len(each) for each in lists)
            switches = sum(each[1] for each in scores)
            lines.append(f"| {name} | {tracker} | {idf1:.3f} | {switches} / {total} |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the rendered visits")
    parser.add_argument("--first", type=int, default=0, help="number of the first place")
    parser.add_argument("--last", type=int, default=10**6, help="number of the last place")
    parser.add_argument("--fit", action="store_true", help="print standard deviations instead")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = config_from({})
    try:
        engine = load_engine(find_checkpoint(config.engine.checkpoint), config.engine)
        sites = list(read_sites(args.folder, args.first, args.last, AppearanceReader(engine)))
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    if args.fit:
        logger.info("%s", "\n".join(str(each.round(1).tolist()) for each in fitted_sigmas(sites)))
    else:
        people = sum(len(site.clothes) for site in sites)
        logger.info("%d places, %d people\n\n%s", len(sites), people, report(sites))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
