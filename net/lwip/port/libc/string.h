// SPDX-License-Identifier: BSD-2-Clause
// For lwIP's own sources: the C library's names, ours.
#pragma once

#include "kernel/kstring.h"
