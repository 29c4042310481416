#!/usr/bin/env bash
# Let the installed package use the Python modules of this source tree, so that an edit counts at
# once; thfm_ros.msg and thfm_ros.srv stay the built ones. In the environment's shell:
#   pip install --no-deps . && scripts/develop.sh
# To go back: pip install --no-deps --force-reinstall .
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
# From /, so that the source tree in the current folder does not hide the installed package.
built=$(cd / && "$python" -c 'import pathlib, importlib.util as u
print(pathlib.Path(u.find_spec("thfm_ros.msg").origin).parents[1])' 2>/dev/null) || {
  echo "thfm_ros.msg is not installed for $(command -v "$python") ($("$python" --version))." >&2
  echo "Install it once: pip install --no-deps $here" >&2
  exit 1
}
# Only what was built stays, and no links: pip would write through them into the sources.
find "$built" -mindepth 1 -maxdepth 1 ! -name msg ! -name srv ! -name '*.so' -exec rm -rf {} +
cat > "$built/__init__.py" <<EOF
"""Written by scripts/develop.sh: modules come from the source tree, messages from here."""

__file__ = __loader__.path = "$here/thfm_ros/__init__.py"
__path__.insert(0, "$here/thfm_ros")
with open(__file__) as _source:
    exec(compile(_source.read(), __file__, "exec"))
EOF
echo "$built uses the sources in $here/thfm_ros"
