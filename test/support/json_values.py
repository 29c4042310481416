# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Values of JSON and YAML for fuzz tests, and valid documents in which some are replaced."""

import copy
from typing import Any

import yaml
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0, 1, -1, 0.5, 2**31, 2**40, 10**9])
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def in_yaml(values: Any) -> bytes:
    """The file of a document, surrogates included."""
    return yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")


@st.composite
def changed_documents(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three values replaced, removed or added anywhere."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _containers(changed) if place]
        if not places:
            break
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[key] = draw(VALUES)
            case "remove":
                del place[key]
            case _ if isinstance(place, dict):
                place[draw(st.text(max_size=5))] = draw(VALUES)
            case _:
                place.insert(key, draw(VALUES))
    return changed


def _containers(value: Any) -> list[Any]:
    """All mappings and lists of a document, the whole included."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(each for part in inner for each in _containers(part))]
