"""Compiled programs are counted by instruction, and two of them compared."""

from __future__ import annotations

import pytest

from benchmarks.weak_scaling import Work, compare, instructions_of

PROGRAM = """HloModule jit_train, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%body (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0}) parameter(0)
  %number.1 = s32[] get-tuple-element(%arg), index=0
  %values = f32[4]{0} get-tuple-element(%arg), index=1
  %all-reduce.2 = f32[4]{0} all-reduce(%values), channel_id=1, to_apply=%add
  ROOT %out = (s32[], f32[4]{0}) tuple(%number.1, %all-reduce.2)
}

ENTRY %main (given: f32[4]) -> f32[4] {
  %given = f32[4]{0} parameter(0), metadata={op_name="x = add(y)"}
  %while.7 = (s32[], f32[4]{0}, /*index=5*/pred[3]{0}) while(%start), condition=%test, body=%body
  ROOT %dot.1 = f32[4]{0} dot(%given, %given), lhs_contracting_dims={0}
}
"""


def test_every_instruction_of_a_program_is_counted_once_by_its_kind() -> None:
    assert instructions_of(PROGRAM) == {
        "parameter": 2, "get-tuple-element": 2, "all-reduce": 1, "tuple": 1, "while": 1, "dot": 1
    }  # fmt: skip


def test_what_devices_tell_each_other_and_what_there_is_more_of_lies_outside() -> None:
    alone = Work(100.0, {"dot": 80, "copy": 10, "add": 6})
    found = compare(alone, Work(100.0, {"dot": 80, "copy": 13, "add": 3, "all-reduce": 4}), 8)
    assert (found.work, found.outside, found.communication) == (8.0, pytest.approx(0.07), 4)
    assert compare(alone, Work(150.0, alone.instructions), 8).work == 12.0
