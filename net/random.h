// SPDX-License-Identifier: BSD-2-Clause
// The stack's unpredictable numbers. net_random32 itself is declared in net/lwip/port/arch/cc.h.
#pragma once

// Boot, before lwIP's start: draws the keys. Tests call it again to start afresh.
void net_random_init(void);
