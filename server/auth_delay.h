// SPDX-License-Identifier: BSD-2-Clause
// Wrong passwords cost time: after the first three failures an address waits a second, then two, four ... up
// to a minute; a user's name waits up to eight seconds, wherever the attempts come from, but not for an
// address that lately had a right password (or others could lock the user out). What is not heard of for
// ten minutes is forgotten. The table is bounded: a full set forgets who has been quiet longest. Fast WTD
// context.
#pragma once

#include "kernel/base.h"

struct auth_source {
	uint64_t address[2]; // http_address.c's key: an IPv4 address or an IPv6 /64
	uint64_t user;	     // a keyed hash of the name
};
// Whether this attempt has to wait: it is refused, not counted.
bool auth_delayed(const struct auth_source *source);
void auth_failed(const struct auth_source *source);
void auth_succeeded(const struct auth_source *source);
