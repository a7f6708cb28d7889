// SPDX-License-Identifier: Apache-2.0
//
// The parts of validate_plan, by subject, for the files of this folder. Each may rely on those
// before it.
#pragma once

#include <string>

#include "plan/plan.h"

namespace stator {

/// "steps[3]".
std::string at(const char* list, size_t index);
Error invalid(const std::string& where, const std::string& what);
/// "steps[3].kernel: kernel 17 of 12" unless 0 <= index < count.
Status check_index(const std::string& where, const char* noun, int64_t index, size_t count);
/// Size slot `slot` of a program.
Status check_slot(const std::string& where, const SizeProgram& program, SizeSlot slot);

Status check_size_program(const std::string& where, const SizeProgram& program);
/// Buffers, inputs and outputs.
Status check_buffers(const Plan& plan);
Status check_symbols(const Plan& plan);
/// Kernels and what they rely on.
Status check_kernels(const Plan& plan);
/// Steps, the lives of what they use, and groups.
Status check_steps(const Plan& plan);

}  // namespace stator
