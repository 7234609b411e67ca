// SPDX-License-Identifier: BSD-2-Clause
// How long packets may be on a card's link, see mtu.c.
#pragma once

#include "kernel/base.h"

#define MTU_USUAL 1500U // RFC 894, 2464

struct iface;
// The card has its interface, and no address yet: what the command line says. Thread context with WTDs disabled.
void mtu_begin(struct iface *iface);
// Whether the link is one for IPv6.
bool mtu_takes_ip6(const struct iface *iface);
