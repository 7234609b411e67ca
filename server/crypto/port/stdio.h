// SPDX-License-Identifier: BSD-2-Clause
// For Argon2's own sources: numbers into an array.
#pragma once

#include "kernel/kprintf.h"

#define sprintf(out, ...) ksnprintf(out, sizeof(out), __VA_ARGS__)
