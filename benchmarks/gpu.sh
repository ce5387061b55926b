#!/usr/bin/env bash
# One call on a machine with a GPU: it checks, measures, and trains for the time that is left.
#
#   benchmarks/gpu.sh OUT                      ten minutes; the same call again goes on with the training
#   STEPS=train benchmarks/gpu.sh OUT          one step alone
#   SMOKE=1 benchmarks/gpu.sh OUT              everything at tiny sizes, also on a CPU
#
#   step     what it does
#   doctor   `dreamer doctor`
#   tests    the tests that need a GPU
#   bench    `dreamer bench`, preset `paper`, in bfloat16 and float32
#   train    `walker_walk`, preset `paper`, eight environments beside the learner; SIGTERM ends it with a checkpoint
#
# Each step is logged in OUT/STEP.log, with one line in OUT/summary.txt. A step that fails does not end the others, but
# the exit status is then 1. OUT also gets bench.json, metrics.jsonl, config.json and curve.png. If no image can be
# rendered, the agent learns from states.
#
# Other settings: LIMIT (seconds for the whole call, 570), RUN (directory of the training run), BENCH and TRAIN (further
# options of these commands), PYTHON (3.11 or newer with the packages of pyproject.toml; nothing needs to be installed).
# On a machine without internet, missing packages come from .whl and .gl, which benchmarks/offline.py has filled
# elsewhere; they are unpacked under build/offline.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/gpu.sh OUT}
limit=${LIMIT:-570} steps=${STEPS:-doctor tests bench train} run=${RUN:-runs/gpu-walker_walk}
python=${PYTHON:-python3} unpacked=$PWD/build/offline failed=0
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"

# -- packages from .whl and .gl --------------------------------------------------------------------------------

newer() { # newer FOLDER TARGET: does FOLDER have anything that is newer than what was unpacked into TARGET?
    compgen -G "$1/*" >/dev/null && { [ ! -e "$2.done" ] || [ -n "$(find "$1" -newer "$2.done" -print -quit)" ]; }
}

if newer .whl "$unpacked/site"; then
    rm -rf "$unpacked/site" && mkdir -p "$unpacked"
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$unpacked/site" .whl/*.whl &&
        touch "$unpacked/site.done" || echo "The wheels in .whl do not fit $python: going on without them." >&2
fi
[ ! -d "$unpacked/site" ] || export PYTHONPATH="$PYTHONPATH:$unpacked/site"

if newer .gl "$unpacked/gl"; then
    rm -rf "$unpacked/gl" && mkdir -p "$unpacked/gl"
    for package in .gl/*.deb; do dpkg-deb --extract "$package" "$unpacked/gl" || break; done &&
        touch "$unpacked/gl.done" || echo "The packages in .gl could not be unpacked: going on without them." >&2
fi
# The machine's own libraries come first; a driver describes itself to EGL in one of these folders.
if [ -d "$unpacked/gl" ] && ! ldconfig -p | grep libEGL.so.1 >/dev/null; then
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$unpacked/gl/usr/lib/$(uname -m)-linux-gnu"
fi
driver=/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json
if [ -e "$driver" ] && ! compgen -G "/usr/share/glvnd/egl_vendor.d/*nvidia*" >/dev/null; then
    export __EGL_VENDOR_LIBRARY_FILENAMES=${__EGL_VENDOR_LIBRARY_FILENAMES:-$driver}
fi

"$python" -c "import tyro, torch" || {
    echo "Packages of pyproject.toml are missing: install them, or carry them along with benchmarks/offline.py." >&2
    exit 1
}

# -- the steps -------------------------------------------------------------------------------------------------

step() { # step NAME SECONDS COMMAND...: run a command for at most so long, then send it SIGTERM
    local name=$1 seconds=$2 begun=$SECONDS status=0
    shift 2
    [[ " $steps " == *" $name "* ]] || return 0
    if [ "$seconds" -gt 5 ]; then
        timeout --preserve-status --kill-after=45 "$seconds" "$@" >"$out/$name.log" 2>&1 || status=$?
    else
        status="no time left"
    fi
    echo "$name: $([ "$status" = 0 ] && echo ok || echo "failed ($status)"), $((SECONDS - begun)) s" |
        tee -a "$out/summary.txt"
    [ "$status" = 0 ] || failed=1
}

env=dmc:walker_walk obs=image envs=8 sizes=(--preset paper) collect=() repeats=() evaluation=(--eval-every 20000)
if [ -n "${SMOKE:-}" ]; then
    env=toy:dot envs=2 collect=(--collect-only) repeats=(--repeats 1 --rounds 2) evaluation=(--eval-every 200)
    sizes=(--preset debug --image-size 32 --time-limit 20 --batch-size 2 --batch-length 3 --horizon 2 --threads 1)
fi

# A driver that is not set up right may hang, so rendering is tried in a process of its own.
render="import os; from dreamer.config import EnvConfig; from dreamer.envs.make import make_env
make_env(EnvConfig(env='$env')).reset(seed=0); print(os.environ.get('MUJOCO_GL', ''))"
if backend=$(timeout --kill-after=5 75 "$python" -c "$render" 2>"$out/render.log"); then
    [ -z "$backend" ] || export MUJOCO_GL=$backend # so that no later process has to look for it
else
    obs=state run=$run-state failed=1
    echo "images: none can be rendered (render.log); learning from states" | tee -a "$out/summary.txt"
fi
task=("${sizes[@]}" --env "$env" --obs "$obs" --async-collect --num-envs "$envs")

step doctor 120 "$python" -m dreamer doctor "${task[@]}" --logdir "$run"

# Without the settings in pyproject.toml, which ask for plugins that may be missing.
mapfile -t files < <(grep -rl --include="test_*.py" "pytest.mark.gpu" tests)
step tests 120 "$python" -m pytest -c /dev/null --rootdir . -o pythonpath="$PWD/src $PWD/tests" \
    -p no:cacheprovider --disable-warnings --import-mode=importlib -q -m gpu "${collect[@]}" "${files[@]}"

# shellcheck disable=SC2086 # BENCH and TRAIN are lists of words
step bench 200 "$python" -m dreamer bench "${task[@]}" --precisions bfloat16 float32 "${repeats[@]}" \
    --json "$out/bench.json" ${BENCH:-}

# Videos need ffmpeg, which may be missing. A minute is kept for the last checkpoint and the curve.
# shellcheck disable=SC2086
step train $((limit - SECONDS - 60)) "$python" -m dreamer train "${task[@]}" "${evaluation[@]}" --video-every 0 \
    --logdir "$run" ${TRAIN:-}
if [[ " $steps " == *" train "* && -e $run/metrics.jsonl ]]; then
    cp "$run/metrics.jsonl" "$run/config.json" "$out"
    ! grep -q eval/return "$run/metrics.jsonl" ||
        "$python" -m dreamer plot "$run" --out "$out/curve.png" >"$out/plot.log" 2>&1
fi
exit "$failed"
