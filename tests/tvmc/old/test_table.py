"""Every flag of the old ``tvmc`` is known."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tvmq.tvmc.main import make_parser
from tvmq.tvmc.old.table import COMPILE, RUN, TUNE

DOCUMENT = Path(__file__).parents[3] / "docs" / "old-tvmc.md"

# Of all releases from 0.8 to 0.19, as their own parsers had them.
SHARED = "-v --verbose --target --input-shapes --model-format --tuning-records --desired-layout -o --output "
SHARED += (
    "--mixed-precision --mixed-precision-ops --mixed-precision-calculation-type --mixed-precision-acc-type "
)
SHARED += "--desired-layout-ops --target-llvm-mattr --target-llvm-mcpu --target-llvm-mtriple --target-llvm-mfloat-abi "
SHARED += "--target-llvm-mabi --target-llvm-num-cores --target-llvm-fast-math --target-llvm-fast-math-nnan "
SHARED += "--target-llvm-fast-math-ninf --target-llvm-fast-math-nsz --target-llvm-fast-math-arcp "
SHARED += "--target-llvm-fast-math-contract --target-llvm-fast-math-reassoc --target-llvm-opt-level "
SHARED += "--target-llvm-cl-opt --target-llvm-jit "
FLAGS = {
    "compile": SHARED
    + "--cross-compiler --cross-compiler-options --dump-code --dump-offloads -f --output-format "
    "--pass-config --executor --executor-graph-link-params --executor-aot-link-params --executor-aot-unpacked-api "
    "--executor-aot-interface-api --executor-aot-workspace-byte-alignment --executor-aot-constant-byte-alignment "
    "--runtime --runtime-cpp-system-lib --runtime-crt-system-lib -O --opt-level --disabled-pass --module-name "
    "--print-pass-times --print-ir-before --print-ir-after --workspace-pools --workspace-pools-targets "
    "--workspace-pools-size-hint-bytes --workspace-pools-clock-frequency-hz "
    "--workspace-pools-read-bandwidth-bytes-per-cycle --workspace-pools-write-bandwidth-bytes-per-cycle "
    "--workspace-pools-read-latency-cycles --workspace-pools-write-latency-cycles "
    "--workspace-pools-target-burst-bytes",
    "tune": SHARED + "--early-stopping --min-repeat-ms --number --parallel --repeat --rpc-key --rpc-tracker "
    "--target-host --timeout --trials --enable-autoscheduler --tasks --cache-line-bytes --num-cores "
    "--vector-unit-bytes --max-shared-memory-per-block --max-local-memory-per-block --max-threads-per-block "
    "--max-vthread-extent --warp-size --include-simple-tasks --log-estimated-latency --tuner",
    "run": "-v --verbose --device --fill-mode -i --inputs -o --outputs --output --print-time --print-top --profile "
    "--end-to-end --repeat --number --rpc-key --rpc-tracker --list-options --project-option",
}
TUNERS = "ga gridsearch random xgb xgb_knob xgb_itervar xgb_curve xgb_rank xgb_rank_knob xgb_rank_itervar "
TUNERS += "xgb_rank_curve xgb_rank_binary xgb_rank_binary_knob xgb_rank_binary_itervar xgb_rank_binary_curve"


def parser_of(command):
    (choices,) = (action.choices for action in make_parser()._actions if action.choices)
    return choices[command]


@pytest.mark.parametrize("command", FLAGS)
def test_every_flag_is_known(command):
    known = parser_of(command)._option_string_actions
    assert [flag for flag in FLAGS[command].split() if flag not in known] == []


@pytest.mark.parametrize("tuner", TUNERS.split())
def test_every_tuner_is_known(tuner):
    assert parser_of("tune").parse_args(["m.onnx", "--tuner", tuner]).tuner == tuner


@pytest.mark.parametrize("command", ["compile", "tune"])
def test_help_sets_them_apart(command):
    text = parser_of(command).format_help()
    own, _, old = text.partition("from the old tvmc:")
    assert "--mixed-precision" in old and "--mixed-precision" not in own
    assert "--target-llvm-mcpu" in own


def test_parameters_of_python():
    """Those of TVM 0.19."""
    from tvmq import tvmc

    names = "target opt_level executor runtime tuning_records package_path cross cross_options output_format "
    names += (
        "dump_code dump_offloads target_host disabled_pass pass_context_configs additional_target_options "
    )
    names += "use_vm mod_name workspace_pools print_pass_times print_ir_before print_ir_after instruments "
    layout = "desired_layout desired_layout_ops mixed_precision mixed_precision_ops "
    layout += "mixed_precision_calculation_type mixed_precision_acc_type"
    tune = "target tuning_records prior_records enable_autoscheduler rpc_key hostname port trials target_host tuner "
    tune += (
        "min_repeat_ms early_stopping timeout repeat number parallel hardware_params include_simple_tasks "
    )
    tune += "log_estimated_latency additional_target_options tasks_filter "
    run = "device hostname port rpc_key inputs fill_mode benchmark repeat number profile end_to_end"
    for function, expected in ((tvmc.compile, names + layout), (tvmc.tune, tune + layout), (tvmc.run, run)):
        assert list(inspect.signature(function).parameters)[1:] == expected.split()


@pytest.mark.parametrize("flag", sorted({flag.name for flag in (*COMPILE, *TUNE, *RUN)}))
def test_what_has_nothing_to_act_on_is_documented(flag):
    text = DOCUMENT.read_text()
    families = [flag[:end] + "..." for end in range(len(flag))]
    assert f"`{flag}`" in text or any(
        f"`{family}`" in text for family in families if len(family) > len("--...")
    )
