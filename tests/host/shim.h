// SPDX-License-Identifier: BSD-2-Clause
// The host side of the kernel for unit tests: fake RAM with its struct pages, a WTD queue that the
// test runs by hand, a clock that the test sets.
#pragma once

#include "kernel/base.h"

// Makes `frames` frames of fake RAM (aligned, direct-mapped at DIRECT_BASE). Call first.
void shim_init(size_t frames);
void shim_finish(void); // frees it; fails the test if a frame or a pool object is still out
size_t shim_frames_free(void);
// Runs queued WTDs (both classes) until none is left; returns how many ran. Armed ones run when
// shim_advance moves the clock past their due time.
size_t shim_run(void);
void shim_advance(uint64_t ns);
