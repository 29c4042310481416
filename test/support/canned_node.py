"""The real node with a network that costs nothing: `python -m canned_node`.

What the fake engine says about a cut-out is remembered, so that what remains of the node's
processor time is everything but the network.
"""

import numpy as np
from fake_engine import FakeEngine, Person, camera

from thfm_ros.config import Config
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.malloc_tuning import keep_freed_memory
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node

CAMERA = camera(640, 480, focal=500.0)
PEOPLE = [Person(0.0, 0.0, 3.0)]


class CannedEngine(FakeEngine):
    """Looks at each cut-out once."""

    def __init__(self) -> None:
        super().__init__(CAMERA, lambda: PEOPLE)
        self._said: dict[tuple[object, ...], RawOutputs] = {}

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        key = (cut.shape, dense, *cut[0, 0].tolist(), *cut[-1, -1].tolist())
        if key not in self._said:
            self._said[key] = super().step(cut, state, dense=dense)[0]
        return self._said[key], 1


def load(config: Config, *, live: bool) -> PerceptionPipeline:
    """In the place of load_pipeline, which does the same to the allocator."""
    keep_freed_memory()
    return PerceptionPipeline(CannedEngine(), config, live=live)


if __name__ == "__main__":
    vars(node)["load_pipeline"] = load
    node.main()
