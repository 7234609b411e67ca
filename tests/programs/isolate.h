// SPDX-License-Identifier: BSD-2-Clause
// The parts of isolate.
#pragma once

#include <stdint.h>

// One call of the kernel's table with each argument bad in every way; `kernel` is an address of the kernel's data. 0:
// the program is as it was.
int bad_arguments(long call, uintptr_t kernel);
// So many short lives, of kinds and ends that the seed picks. 0: each ended as it had to.
int swarm(uint64_t seed, unsigned count);
