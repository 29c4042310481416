#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
# Make the installed package use the Python modules of this source tree, so that edits take effect
# without a new installation; thfm_ros.msg and thfm_ros.srv remain the built ones.
#   pip install --no-deps . && scripts/develop.sh
#   PYTHON=.venv/bin/python scripts/develop.sh       another interpreter than python3 of the PATH
# To undo it: pip install --no-deps --force-reinstall .
set -euo pipefail
source_tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
# The interpreter is started from another folder below, so a relative path is made absolute first.
# Links are kept: the interpreter of a virtual environment is a link.
[[ $python != */* ]] || python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
# Started from /, since a source tree in the current folder would hide the installed package.
installed=$(cd / && "$python" -c 'import pathlib, importlib.util as u
print(pathlib.Path(u.find_spec("thfm_ros.msg").origin).parents[1])' 2>/dev/null) || {
  echo "thfm_ros.msg is not installed for $python ($("$python" --version))." >&2
  echo "Install it first: $python -m pip install --no-deps $source_tree" >&2
  exit 1
}
# Only the built files remain. No links: pip would write through them into the source tree.
find "$installed" -mindepth 1 -maxdepth 1 ! -name msg ! -name srv ! -name '*.so' -exec rm -rf {} +
cat > "$installed/__init__.py" <<PYTHON_MODULE
"""Written by scripts/develop.sh: modules come from the source tree, messages from this folder."""

__file__ = __loader__.path = "$source_tree/thfm_ros/__init__.py"
__path__.insert(0, "$source_tree/thfm_ros")
with open(__file__) as _source:
    exec(compile(_source.read(), __file__, "exec"))
PYTHON_MODULE
echo "$installed uses the modules in $source_tree/thfm_ros"
